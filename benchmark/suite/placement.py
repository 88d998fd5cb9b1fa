"""Where a suite's tasks end up on equal workers: a simulation of handing each free worker the next task."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """What a simulation gives, in the costs' unit.

    makespan: until the last task has ended. busy: the share of the workers' time until then in which they have a task,
    0 to 1. longest: the most expensive task. bound: what no placement can be faster than: that task, or the total
    divided by the workers.
    """

    makespan: float
    busy: float
    longest: float
    bound: float


def longest_first(costs: Sequence[float]) -> list[int]:
    """The tasks' indices, the most expensive one first; equal ones stay in their order.

    Placed in this order the makespan is at most 4/3 - 1/(3 workers) of the shortest one (Graham 1969).
    """
    return sorted(range(len(costs)), key=lambda index: -costs[index])


def place(costs: Sequence[float], workers: int) -> Placement:
    """Hands the tasks out in the given order, each to the worker that is free first.

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
