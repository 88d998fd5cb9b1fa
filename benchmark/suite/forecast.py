"""Forecasts a suite: its cost, and how long its tasks take on several equal workers."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.suite.estimate import item_flops, measured_rate, rates, search_flops
from benchmark.suite.plan import Prepared, SearchSpec
from benchmark.suite.work import WorkItem
from benchmark.text import short_number

LONG_HOURS = 2.0
SLOWEST = 1e9  # FLOPs per second that a worker reaches on any machine


@dataclass(frozen=True)
class Placement:
    """The result of a simulation, in the costs' unit.

    makespan: when the last task ends. busy: the share of the workers' time until then that is spent on tasks, 0 to 1.
    longest: the most expensive task. bound: a lower bound on the makespan: the longest task, or the total divided by
    the number of workers.
    """

    makespan: float
    busy: float
    longest: float
    bound: float


def longest_first(costs: Sequence[float]) -> list[int]:
    """The tasks' indices, the most expensive task first; equal ones keep their order.

    In this order the makespan is at most 4/3 - 1/(3 workers) of the shortest possible one (Graham 1969).
    """
    return sorted(range(len(costs)), key=lambda index: -costs[index])


def place(costs: Sequence[float], workers: int) -> Placement:
    """Simulates handing out the tasks in this order, each to the worker that is free first.

    costs: of each task, in any unit of time. Raises ValueError for fewer than one worker or a cost below 0.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    if costs and not min(costs) >= 0:
        raise ValueError(f"the least cost is {min(costs)}; expected at least 0")
    free_at = [0.0] * min(workers, max(1, len(costs)))
    for cost in costs:
        heapq.heapreplace(free_at, free_at[0] + cost)
    makespan, total, longest = max(free_at), sum(costs), max(costs, default=0.0)
    busy = total / (workers * makespan) if makespan else 0.0
    return Placement(makespan, busy, longest, max(total / workers, longest))


@dataclass(frozen=True)
class Row:
    """A searcher's row: FLOPs and hours of one search, as the mean over its seeds; hours are None if not known."""

    searcher: str
    seeds: tuple[int, ...]
    to_run: int
    trainings: int
    flops: float
    hours: float | None


@dataclass(frozen=True)
class DryRun:
    """A suite before it runs.

    rows: the searchers, the most expensive search first. done: how many of the `searches` are done. flops and hours: of
    the others; a training that several searches share counts once. placement: of these on the workers, in hours. hours
    and placement are None where the speed is not known. tasks: the word for what is placed.
    """

    rows: tuple[Row, ...]
    searches: int
    done: int
    flops: float
    hours: float | None
    placement: Placement | None
    tasks: str


def plan_data(
    specs: Sequence[SearchSpec],
    items: Sequence[WorkItem],
    image_shape: tuple[int, ...],
    n_images: int,
    done: set[str],
    speed: float | None,
    workers: int,
) -> DryRun:
    """The plan of specs that share data and backbone.

    items: what is to do, of the specs that are not done. done: search ids. speed: FLOPs per second of one worker.
    """
    hourly = None if speed is None else 3600 * speed
    flops = {spec.search_id: search_flops(spec, image_shape, n_images) for spec in specs}
    rows = []
    for name in dict.fromkeys(spec.searcher for spec in specs):
        own = [spec for spec in specs if spec.searcher == name]
        mean = sum(flops[spec.search_id] for spec in own) / len(own)
        seeds, to_run = tuple(spec.seed for spec in own), sum(spec.search_id not in done for spec in own)
        rows.append(Row(name, seeds, to_run, len(own[0].planned()), mean, mean / hourly if hourly else None))
    pending = [spec for spec in specs if spec.search_id not in done]
    item_costs = item_flops(items, pending, image_shape, n_images)
    total = sum(item_costs)
    placement = None
    if hourly and workers and pending:
        costs = [cost / hourly for cost in item_costs]
        placement = place([costs[index] for index in longest_first(costs)], workers)
    return DryRun(
        rows=tuple(rows[index] for index in longest_first([row.flops for row in rows])),
        searches=len(specs),
        done=len(specs) - len(pending),
        flops=total,
        hours=total / hourly if hourly else None,
        placement=placement,
        tasks="task" if any(item.trainings for item in items) else "search",
    )


def long_suite(
    specs: Sequence[SearchSpec],
    items: Sequence[WorkItem],
    prepared: Prepared,
    workers: int,
    searches: Callable[[], pd.DataFrame],
) -> str | None:
    """A line on a suite that is estimated to take more than LONG_HOURS, with cheaper ways; None for any other.

    specs: the searches to run, and their items. workers: tasks at a time, 0 where there is no room. searches: gives
    `ResultsStore.searches()`. Suites so small that no machine takes that long cost no measurement.
    """
    if not specs:
        return None
    costs = item_flops(items, specs, prepared.image_shape, prepared.n_images)
    flops = place([costs[index] for index in longest_first(costs)], max(1, workers)).makespan
    if flops < SLOWEST * 3600 * LONG_HOURS:
        return None
    speed, _ = speed_of(specs, prepared.image_shape, searches())
    if speed is None or flops / speed <= 3600 * LONG_HOURS:
        return None
    cheaper = {
        "--searchers sparsity": any(spec.searcher != "sparsity" for spec in specs),
        "--scale 0.1": True,
        "--seeds 0": len({spec.seed for spec in specs}) > 1,
        "a GPU": specs[0].device == "cpu",
    }
    ways = ", ".join(way for way, helps in cheaper.items() if helps)
    return (
        f"this suite is estimated to take about {short_number(flops / speed / 3600)} hours; cheaper: {ways} "
        "(with make: SEARCHERS=sparsity, SCALE=0.1, SEEDS=0); --dry-run shows what each searcher costs"
    )


def speed_of(
    pending: Sequence[SearchSpec], image_shape: tuple[int, ...], searches: pd.DataFrame
) -> tuple[float | None, str]:
    """FLOPs per second of one worker, and a line on where that is from."""
    if not pending:
        return None, "no search has to run"
    first = pending[0]
    known = rates(searches, first.backbone.name, first.device)
    if len(known):
        return float(known.median()), f"speed: median of {len(known)} finished search{'es' * (len(known) > 1)}"
    if first.device == "cpu":
        return measured_rate(first, image_shape), "speed: measured now on training steps, evaluations not in it"
    return None, "no finished search on a GPU in this results folder tells the speed; hours are not known"
