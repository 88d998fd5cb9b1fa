"""The tolerance search: which sizes it trains, and that it finds what the grid finds."""

import math
from typing import Any

import numpy as np
import pytest
from curve_problem import CurveProblem

from searchers.rule import Rule
from searchers.whole_run.grid import Grid
from searchers.whole_run.tolerance import Tolerance

DEEP = {2: 0.6, 4: 0.07, 8: 0.02, 16: 0.002, 32: 0.0}  # 8 is the first that loses less than 5 % of the gap


def _deep(**changes: Any) -> CurveProblem:
    return CurveProblem(lambda size, _: DEEP[size], **changes)


@pytest.mark.parametrize(
    ("rule", "trained", "chosen"),
    [
        ("smallest-good", [32, 2, 4, 8], 8),
        ("tolerance", [32, 2, 4, 8], 8),
        ("knee", [32, 2, 4, 8, 16], 4),  # none is as low as the largest; the knee is of all
        ("mean-rank", [32, 2, 4, 8, 16], 8),  # none ranks as high; of all, 8 ties with the larger ones
    ],
)
def test_ascending_under_each_rule(rule: Rule, trained: list[int], chosen: int) -> None:
    toy, grid = _deep(rule=rule), _deep(rule=rule)
    choice = Tolerance().search(toy)
    assert (toy.sizes, choice.latent_dim) == (trained, chosen)
    assert Grid().search(grid).latent_dim == chosen


def test_ascending_finds_what_the_grid_finds_with_fewer_trainings() -> None:
    """Where the loss falls with the size, whatever its noise over the images."""
    rng = np.random.default_rng(0)
    fewer = 0
    for _ in range(60):
        losses = dict(zip(DEEP, rng.uniform(0.1, 0.9) * rng.uniform(0.05, 0.7) ** np.arange(5), strict=True))
        noise = float(rng.choice([0.0, 3.0, 10.0]))
        toy, grid = (CurveProblem(lambda size, _, of=losses: of[size], noise=noise) for _ in range(2))
        choice, expected = Tolerance().search(toy), Grid().search(grid)
        assert choice.latent_dim == expected.latent_dim
        assert len(toy.asked) <= len(grid.asked)
        fewer += len(toy.asked) < len(grid.asked)
    assert fewer > 20


def test_a_size_that_is_not_shown_to_be_enough_is_not_where_it_stops() -> None:
    toy = _deep(noise=30.0)  # standard errors of about 3 % of the gap
    choice = Tolerance().search(toy)
    assert toy.sizes == [32, 2, 4, 8, 16]
    assert choice.latent_dim == 8 and choice.evidence and not choice.evidence.is_shown  # by its mean, as the grid


@pytest.mark.parametrize("answer", range(2, 33))
def test_bisection_finds_every_size_of_the_range(answer: int) -> None:
    toy = CurveProblem(lambda size, _: max(0, answer - size) * 0.06)
    choice = Tolerance("bisection").search(toy)
    assert choice.latent_dim == answer
    assert toy.sizes[0] == 32 and len(set(toy.sizes)) == len(toy.sizes) <= 1 + math.ceil(math.log2(31))


@pytest.mark.parametrize("order", ["ascending", "bisection"])
def test_what_it_expects_comes_if_every_size_is_good(order: Any) -> None:
    toy = CurveProblem(lambda size, _: 0.0)
    Tolerance(order).search(toy)
    expected = Tolerance(order).expected(toy.space, toy.epochs, 0)
    sizes = [one.latent_dim for one in expected]
    assert sizes[: len(toy.sizes)] == toy.sizes and [one.certain for one in expected][:2] == [True, False]
    assert len(sizes) == {"ascending": 3, "bisection": 6}[order]


def test_bisection_compares_with_the_best_larger_size() -> None:
    """The anchor has learned badly: 4 is no worse than it, and far from what 9 reaches."""
    toy = CurveProblem(lambda size, _: abs(math.log2(size / 9)) * 0.2)
    assert Tolerance("bisection").search(toy).latent_dim == 8


@pytest.mark.parametrize(
    ("losses", "trained", "chosen"),
    [
        ((0.0, 0.0, 0.0, 0.0, 0.01), [32, 2, 4], 2),
        ((0.06, 0.0, 0.04, 0.02, 0.09), [32, 2, 4, 8], 4),  # as seen on digits: 2 is better than an anchor that is poor
        ((0.5, 0.3, 0.2, 0.1, 0.6), [32, 2, 4, 8, 16], 16),
    ],
)
def test_a_size_that_beats_the_anchor_must_beat_the_next_one_too(
    losses: tuple[float, ...], trained: list[int], chosen: int
) -> None:
    toy = CurveProblem(lambda size, _: dict(zip(DEEP, losses, strict=True))[size])
    assert Tolerance().search(toy).latent_dim == chosen
    assert toy.sizes == trained


@pytest.mark.parametrize(
    ("order", "diverged", "trained", "chosen"),
    [
        ("ascending", {32}, [32, 16, 2, 4, 8], 8),  # any size is better than an anchor that has diverged
        ("ascending", {32, 16}, [32, 16, 8, 2, 4], 8),
        ("ascending", {2, 4, 8}, [32, 2, 4, 8, 16], 16),
        ("bisection", {32}, [32, 16, 9, 5, 7, 8], 8),
        ("bisection", {17}, [32, 17, 25, 21, 19, 18], 18),
    ],
)
def test_what_has_diverged_is_neither_anchor_nor_good(
    order: Any, diverged: set[int], trained: list[int], chosen: int
) -> None:
    def loss(size: int, _: int) -> float:
        return math.nan if size in diverged else max(0, 8 - size) * 0.06

    toy = CurveProblem(loss)
    assert Tolerance(order).search(toy).latent_dim == chosen
    assert toy.sizes == trained


@pytest.mark.parametrize("order", ["ascending", "bisection"])
def test_of_sizes_that_are_worth_nothing_the_lowest_loss_wins_and_nothing_is_shown(order: Any) -> None:
    toy = CurveProblem(lambda size, _: 1 + 0.001 * size)
    choice = Tolerance(order).search(toy)
    assert choice.latent_dim == 2 and choice.evidence and not choice.evidence.is_shown
    assert toy.sizes == {"ascending": [32, 2, 4, 8, 16], "bisection": [32, 17, 9, 5, 3, 2]}[order]
