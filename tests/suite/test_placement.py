"""Placement: closed forms, longest-first against the true optimum, and what it gains on the given order."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from benchmark.suite.forecast import longest_first, place


def ordered(costs: Sequence[float]) -> list[float]:
    return [costs[index] for index in longest_first(costs)]


def optimum(costs: Sequence[float], workers: int) -> float:
    """The shortest makespan of all assignments."""
    assignments = np.array(list(product(range(workers), repeat=len(costs))))
    loads = np.stack([(assignments == worker) @ np.asarray(costs) for worker in range(workers)])
    return float(loads.max(0).min())


@pytest.mark.parametrize(
    "costs, workers, makespan, busy, longest, bound",
    [
        ([2.0, 3.0, 4.0], 1, 9.0, 1.0, 4.0, 9.0),
        ([1.0] * 8, 4, 2.0, 1.0, 1.0, 2.0),
        ([1.0] * 5, 4, 2.0, 5 / 8, 1.0, 5 / 4),
        ([7.0], 4, 7.0, 1 / 4, 7.0, 7.0),
        ([6.0, 1.0, 1.0, 1.0], 2, 6.0, 9 / 12, 6.0, 6.0),
        ([1.0, 1.0, 2.0], 2, 3.0, 4 / 6, 2.0, 2.0),  # in the given order
        ([], 3, 0.0, 0.0, 0.0, 0.0),
        ([0.0, 0.0], 2, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_closed_forms(
    costs: list[float], workers: int, makespan: float, busy: float, longest: float, bound: float
) -> None:
    placement = place(costs, workers)
    assert placement.makespan == makespan and placement.busy == pytest.approx(busy)
    assert placement.longest == longest and placement.bound == bound


def test_longest_first_is_stable() -> None:
    assert longest_first([1.0, 3.0, 1.0, 3.0, 2.0]) == [1, 3, 4, 0, 2]
    assert longest_first([]) == []


def test_longest_first_beats_an_order_that_keeps_the_longest_for_the_end() -> None:
    costs = [1.0, 1.0, 1.0, 1.0, 4.0]
    assert place(costs, 2).makespan == 6 and place(ordered(costs), 2).makespan == 4


@pytest.mark.parametrize("workers", [2, 3])
def test_longest_first_keeps_grahams_guarantee(workers: int) -> None:
    rng = np.random.default_rng(workers)
    exceeded = 0
    for _ in range(60):
        costs = rng.integers(1, 30, size=rng.integers(1, 9)).astype(float).tolist()
        best, ours = optimum(costs, workers), place(ordered(costs), workers)
        assert ours.bound <= best <= ours.makespan <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9
        exceeded += ours.makespan > best
    assert exceeded  # or the bound is not tried


def test_the_guarantee_is_reached() -> None:
    costs = [5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 3.0]  # Graham's example for three workers: 11 where 9 is possible
    assert place(ordered(costs), 3).makespan == 11 and optimum(costs, 3) == 9


@pytest.mark.parametrize("costs, workers", [([1.0], 0), ([1.0, -1.0], 2), ([math.nan], 2)])
def test_what_cannot_be_placed_is_said(costs: list[float], workers: int) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        place(costs, workers)
