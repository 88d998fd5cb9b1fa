"""What a suite would run and what that costs, printed instead of running it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.suite.estimate import measured_rate, rates, search_flops, task_flops
from benchmark.suite.placement import Placement, longest_first, place
from benchmark.suite.plan import Prepared, SearchSpec
from benchmark.text import printable, short_number

COLUMNS = ("searcher", "seeds", "to run", "trainings a search", "TFLOPs a search")
LONG_HOURS = 2.0
SLOWEST = 1e9  # FLOPs per second that a worker reaches on any machine


@dataclass(frozen=True)
class Row:
    """A searcher. flops: of one search, the mean over its seeds; hours: of one search, None where not known."""

    searcher: str
    seeds: tuple[int, ...]
    to_run: int
    trainings: int
    flops: float
    hours: float | None


@dataclass(frozen=True)
class DryRun:
    """A suite before it runs.

    rows: the searchers, the most expensive search first. done: of all `searches`. flops and hours: of those to go.
    placement: of them on the workers, in hours; None where either is not known. tasks: what is placed, in a word.
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
    image_shape: tuple[int, ...],
    n_images: int,
    done: set[str],
    speed: float | None,
    workers: int,
) -> DryRun:
    """The plan of specs that share data and backbone. done: search ids. speed: FLOPs per second of one worker."""
    hourly = None if speed is None else 3600 * speed
    flops = {spec.search_id: search_flops(spec, image_shape, n_images) for spec in specs}
    rows = []
    for name in dict.fromkeys(spec.searcher for spec in specs):
        own = [spec for spec in specs if spec.searcher == name]
        mean = sum(flops[spec.search_id] for spec in own) / len(own)
        seeds, to_run = tuple(spec.seed for spec in own), sum(spec.search_id not in done for spec in own)
        rows.append(Row(name, seeds, to_run, own[0].n_trainings(), mean, mean / hourly if hourly else None))
    pending = [spec for spec in specs if spec.search_id not in done]
    total = sum(flops[spec.search_id] for spec in pending)
    placement = None
    if hourly and workers and pending:
        costs = [cost / hourly for cost in task_flops(pending, image_shape, n_images)]
        placement = place([costs[index] for index in longest_first(costs)], workers)
    return DryRun(
        rows=tuple(rows[index] for index in longest_first([row.flops for row in rows])),
        searches=len(specs),
        done=len(specs) - len(pending),
        flops=total,
        hours=total / hourly if hourly else None,
        placement=placement,
        tasks="task" if any(spec.ahead for spec in pending) else "search",
    )


def print_plan(
    specs: Sequence[SearchSpec],
    image_shape: tuple[int, ...],
    n_images: int,
    done: set[str],
    searches: pd.DataFrame,
    workers: int,
) -> None:
    """A row a searcher on the terminal, the totals, and where the speed is from.

    specs: of one protocol, their epochs whole (`with_epochs`). image_shape, n_images: of the training split. done: ids
    of the searches that are. searches: `ResultsStore.searches()`. workers: tasks at a time, 0 where there is no room.
    Where no finished search tells a CPU's speed, it is measured, which takes a second.
    """
    pending = [spec for spec in specs if spec.search_id not in done]
    speed, source = _speed(pending, image_shape, searches)
    plan = plan_data(specs, image_shape, n_images, done, speed, workers)
    unit = "CPU" if all(spec.device == "cpu" for spec in specs) else "GPU"
    table = Table(title="estimates, mostly from above", box=SIMPLE, padding=(0, 1))
    for name in (*COLUMNS, f"hours a search ({unit})"):
        table.add_column(escape(printable(name)), justify="left" if name == "searcher" else "right", no_wrap=True)
    for row in plan.rows:
        cells = [printable(row.searcher), " ".join(map(str, row.seeds)), str(row.to_run), str(row.trainings)]
        table.add_row(
            *map(escape, cells), short_number(row.flops / 1e12), "–" if row.hours is None else short_number(row.hours)
        )
    console = Console()
    console.width = max(console.width, 160)  # rather a wrapped line than a cut name
    console.print(table)
    for line in (summary(plan, workers, unit), source):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(plan: DryRun, workers: int, unit: str) -> str:
    """The totals in a line. unit: CPU or GPU."""
    counts = f"{plan.searches} searches, {plan.done} done"
    if plan.done == plan.searches:
        return counts
    line = f"{counts}; {short_number(plan.flops / 1e12)} TFLOPs"
    line += f" and about {short_number(plan.hours)} {unit} hours to go" if plan.hours is not None else " to go"
    if plan.placement is not None:
        line += f"; on {workers} at a time about {short_number(plan.placement.makespan)} hours"
        line += f", of which the longest {plan.tasks} takes {short_number(plan.placement.longest)}"
    return line


def long_suite(
    specs: Sequence[SearchSpec], prepared: Prepared, workers: int, searches: Callable[[], pd.DataFrame]
) -> str | None:
    """A line on a suite that is estimated to take more than LONG_HOURS, with cheaper ways; None for any other.

    specs: the searches to run. workers: tasks at a time, 0 where there is no room. searches: gives
    `ResultsStore.searches()`. Suites so small that no machine takes that long cost no measurement.
    """
    if not specs:
        return None
    costs = task_flops(specs, prepared.image_shape, prepared.n_images)
    flops = place([costs[index] for index in longest_first(costs)], max(1, workers)).makespan
    if flops < SLOWEST * 3600 * LONG_HOURS:
        return None
    speed, _ = _speed(specs, prepared.image_shape, searches())
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


def _speed(
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
