"""Successive halving: how epochs are shared out, and which sizes go on."""

import math

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
