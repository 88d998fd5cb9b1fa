"""Successive halving, synchronous and not: how epochs are shared out, and which sizes go on when."""

import itertools
import math
import random

import pytest
from curve_problem import CurveProblem

from searchers.base import SearchSpace
from searchers.testing import ToyProblem
from searchers.whole_run.halving import Halving

EPOCHS = 12


@pytest.mark.parametrize("n_sizes", range(1, 10))
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_survivors_epochs_are_a_full_trainings(factor: int, n_sizes: int) -> None:
    space = SearchSpace(2, 32, tuple(range(2, 2 + n_sizes)))
    for epochs in (1, 2, 3, 4, 7, 12):
        toy = ToyProblem(space=space, epochs=epochs)
        choice = Halving(factor).search(toy)
        full = [one for one in toy.trainings if one.age == epochs]
        assert toy.trainings[choice.trial.number] in full and len(full) >= min(2, n_sizes)
        assert epochs <= factor or len(full) <= factor
        expected = Halving(factor).expected(space, epochs, 0)
        assert [one.epochs for one in expected] == [asked.epochs for asked in toy.asked]


def test_five_sizes_cost_six_tenths_of_the_grid() -> None:
    toy = ToyProblem(epochs=150)
    Halving().search(toy)
    assert [(asked.epochs, asked.continues) for asked in toy.asked] == [(50, False)] * 5 + [(100, True)] * 2


def _search(early: dict[int, float], late: dict[int, float]) -> tuple[CurveProblem, int]:
    toy = CurveProblem(lambda size, age: (late if age == EPOCHS else early)[size], epochs=EPOCHS)
    return toy, Halving().search(toy).latent_dim


LATE = {2: 0.5, 4: 0.2, 8: 0.02, 16: 0.0, 32: 0.01}


def test_sizes_that_nearly_tie_early_do_not_lose_to_larger_ones_that_lead() -> None:
    toy, chosen = _search({2: 0.8, 4: 0.3, 8: 0.04, 16: 0.01, 32: 0.0}, LATE)
    assert toy.sizes[5:] == [32, 8] and chosen == 8  # by rank alone 32 and 16 would go on


def test_the_lowest_loss_goes_on_where_smaller_sizes_tie_early() -> None:
    toy, chosen = _search({2: 0.51, 4: 0.52, 8: 0.5, 16: 0.52, 32: 0.53}, LATE)
    assert toy.sizes[5:] == [8, 2] and chosen == 8


def test_sizes_beyond_the_margin_follow_by_their_distance() -> None:
    toy, _ = _search({2: 0.8, 4: 0.3, 8: 0.2, 16: 0.0, 32: 0.1}, LATE)
    assert toy.sizes[5:] == [16, 32]


def test_without_a_gap_nothing_ties() -> None:
    toy, _ = _search({2: 1.3, 4: 1.2, 8: 1.02, 16: 1.01, 32: 1.0}, LATE)
    assert toy.sizes[5:] == [32, 16]


def test_a_size_that_has_diverged_neither_goes_on_nor_wins() -> None:
    early = dict.fromkeys(LATE, math.nan) | {8: 0.1}
    toy, chosen = _search(early, LATE)
    assert toy.sizes[5:] == [8] and chosen == 8  # no other is left to go on
    toy, chosen = _search({2: 0.9, 4: 0.3, 8: 0.04, 16: 0.5, 32: 0.0}, LATE | {8: math.nan})
    assert toy.sizes[5:] == [32, 8] and chosen == 32


def test_where_all_have_diverged_it_says_so() -> None:
    with pytest.raises(ValueError, match="none of 5 trainings has finite metrics"):
        _search(dict.fromkeys(LATE, math.nan), LATE)


def test_of_sizes_that_are_worth_nothing_none_is_shown() -> None:
    toy = CurveProblem(lambda size, _: 1 + 0.001 * size)
    choice = Halving().search(toy)
    assert choice.latent_dim == 2 and choice.evidence and not choice.evidence.is_shown


# --- asynchronous

ASHA = Halving(asynchronous=True)


def test_a_size_goes_on_as_soon_as_it_is_among_the_best_third_so_far() -> None:
    """In the order of seed 0, 32 is the best of the first three and of the first four, and 8 of all."""
    order = random.Random(0).sample((2, 4, 8, 16, 32), 5)
    assert order == [16, 32, 2, 4, 8]
    early = {16: 0.5, 32: 0.3, 2: 0.9, 4: 0.4, 8: 0.2}
    toy = CurveProblem(lambda size, age: (LATE if age == EPOCHS else early)[size], epochs=EPOCHS)
    choice = ASHA.search(toy)
    steps = [(asked.latent_dim, asked.epochs, asked.continues) for asked in toy.asked]
    first = [(size, 4, False) for size in order]
    assert steps == [*first[:3], (32, 8, True), *first[3:], (8, 8, True)]
    assert choice.latent_dim == 8 and choice.pareto == ()


@pytest.mark.parametrize("factor", [2, 3])
def test_promotions_are_those_of_the_definition(factor: int) -> None:
    """Whatever the losses: who goes on is among the best 1 / factor then, and no one who is waits."""
    rng = random.Random(1)
    n_promoted = 0
    for _ in range(40):
        sizes = tuple(range(2, 2 + rng.randint(1, 12)))
        loss = {(size, rung): rng.random() for size in sizes for rung in range(5)}
        ends = sorted({max(1, round(27 / factor**k)) for k in range(5)})
        toy = CurveProblem(lambda size, age, loss=loss, ends=ends: loss[size, ends.index(age)], sizes, epochs=27)
        toy.seed = rng.randint(0, 99)
        Halving(factor, asynchronous=True).search(toy)
        rungs: dict[int, list[int]] = {}  # the sizes that have reached each age, in order
        ages = sorted({training.age for training in toy.trainings})
        for asked, training in zip(toy.asked, toy.trainings, strict=True):
            waiting = set()
            for age, higher in itertools.pairwise(ages):
                reached = sorted((loss[size, ends.index(age)], size) for size in rungs.get(age, ()))
                best = {size for _, size in reached[: len(reached) // factor]}
                waiting |= {(age, size) for size in best - set(rungs.get(higher, ()))}
            started = (training.age - asked.epochs, asked.latent_dim)
            assert started in waiting if asked.continues else not waiting
            rungs.setdefault(training.age, []).append(asked.latent_dim)
            n_promoted += asked.continues
        assert sorted(rungs[ages[0]]) == list(sizes)
    assert n_promoted > 40


def test_asynchronous_halving_of_five_sizes_costs_less_where_no_early_one_is_beaten() -> None:
    """The first rung and one full training: 350 of the grid's 750 epochs, where halving takes 450."""
    toy = CurveProblem(lambda size, _: 0.0 if size == 2 else 0.5, epochs=150)  # 2 is among the first three
    ASHA.search(toy)
    assert sum(asked.epochs for asked in toy.asked) == 350
    assert [one.epochs for one in ASHA.expected(toy.space, 150, 0)] == [asked.epochs for asked in toy.asked]


def test_asynchronously_a_size_that_has_diverged_does_not_go_on() -> None:
    early = dict.fromkeys(LATE, math.nan) | {8: 0.1}
    toy = CurveProblem(lambda size, age: (LATE if age == EPOCHS else early)[size], epochs=EPOCHS)
    choice = ASHA.search(toy)
    assert [asked.latent_dim for asked in toy.asked if asked.continues] == [8] and choice.latent_dim == 8
    with pytest.raises(ValueError, match="none of 5 trainings has finite metrics"):
        ASHA.search(CurveProblem(lambda *_: math.nan))
