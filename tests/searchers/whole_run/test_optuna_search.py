"""Random and TPE search: which sizes are drawn, and which trainings are ended early."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from searchers.base import SearchSpace
from searchers.testing import ToyProblem
from searchers.testing.problem import OPTIMUM
from searchers.whole_run.optuna_search import RandomSearch, TPESearch


def drawn(low: int, high: int, seed: int, n_trials: int | None = None) -> tuple[int, ...]:
    """The sizes of a random search of a space of two grid sizes."""
    space = SearchSpace(low, high, (low, high))
    return tuple(training.latent_dim for training in RandomSearch(n_trials=n_trials).expected(space, 1, seed))


def test_random_sizes_are_log_uniform() -> None:
    """Half of the sizes of 2..32 fall in each half of the logarithmic range: 2..7 and 8..32."""
    sizes = np.concatenate([drawn(2, 32, seed, n_trials=1) for seed in range(300)])
    assert sizes.min() == 2 and sizes.max() > 28
    edges = math.log(1.5), math.log(7.5), math.log(32.5)  # Optuna rounds a log-uniform draw in [1.5, 32.5]
    expected = (edges[1] - edges[0]) / (edges[2] - edges[0])
    assert np.mean(sizes < 8) == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 300))
    assert abs(np.mean(sizes < 8) - 6 / 31) > 0.2  # not uniform


def test_random_draws_no_size_twice() -> None:
    for seed in range(20):
        sampler = optuna.create_study(sampler=RandomSampler(seed=seed))
        draws = [sampler.ask().suggest_int("latent_dim", 2, 9, log=True) for _ in range(200)]
        expected = list(dict.fromkeys(draws))
        assert sorted(expected) == list(range(2, 10))
        for n_trials in (1, 5, 8, 9):  # of more than there are it trains all
            assert list(drawn(2, 9, seed, n_trials)) == expected[:n_trials]
        assert list(drawn(2, 9, seed)) == expected[:2]  # as many as the grid has


def test_random_trains_the_sizes_that_it_expects() -> None:
    toy = ToyProblem(seed=3, epochs=2, space=SearchSpace(2, 5, (2, 5)))
    RandomSearch(n_trials=9).search(toy)
    assert tuple(asked.latent_dim for asked in toy.asked) == drawn(2, 5, 3, n_trials=9) and len(toy.asked) == 4


def test_tpe_learns_from_what_it_is_told() -> None:
    """Of thirty sizes from 2 to 512, those after the ten random ones lie closer to the optimum, in octaves."""
    toy = ToyProblem(epochs=1, space=SearchSpace(2, 512, (2, 512)))
    TPESearch(n_trials=30, n_startup=10).search(toy)
    octaves = [abs(math.log2(asked.latent_dim / toy.optimum)) for asked in toy.asked]
    assert np.mean(octaves[10:]) < 0.7 * np.mean(octaves[:10])


PRUNED = TPESearch(n_trials=12, n_startup=3, objective="elbo", pruner="median", wait=0.25)


def _distance(size: int) -> float:
    """What the toy's ELBO loses at this size, at any epoch."""
    return abs(math.log2(size / OPTIMUM))


def test_the_median_pruner_ends_what_is_worse_than_the_median_of_those_before() -> None:
    ended = []
    for seed in range(3):
        toy = ToyProblem(seed=seed, epochs=12)
        choice = PRUNED.search(toy)
        completed: list[float] = []
        for trial in toy.trials:
            loss = _distance(trial.latent_dim)
            is_worse = len(completed) >= 3 and loss > np.median(completed)
            assert len(trial.history) == (3 if is_worse else 12)
            assert trial.history["ctl_pruned"].tolist() == [0.0] * (len(trial.history) - 1) + [float(is_worse)]
            ended += [trial] if is_worse else []
            completed += [] if is_worse else [loss]
        assert len(choice.trial.history) == 12 and _distance(choice.latent_dim) == min(completed)
        assert choice.pareto == ()  # it has not compared all of its trainings
    assert len(ended) > 6


def test_hyperband_ends_trainings_at_its_rungs_alone() -> None:
    """Of 27 epochs, from 3 on, they are 3 and 9; a bracket's first training meets none before it."""
    lengths: list[int] = []
    for seed in range(3):
        toy = ToyProblem(seed=seed, epochs=27)
        choice = TPESearch(n_trials=12, objective="elbo", pruner="hyperband", wait=3 / 27).search(toy)
        lengths += [len(trial.history) for trial in toy.trials]
        assert len(toy.trials[0].history) == len(choice.trial.history) == 27
    assert set(lengths) == {3, 9, 27}


def test_without_a_pruner_one_objective_trains_all_in_full() -> None:
    toy = ToyProblem(epochs=2, space=SearchSpace(2, 512, (2, 512)))
    choice = TPESearch(n_trials=12, objective="elbo").search(toy)
    assert {len(trial.history) for trial in toy.trials} == {2} and choice.pareto
    assert [asked.controller for asked in toy.asked] == [None] * 12  # shared with other searches


def test_a_metric_that_falls_is_minimised() -> None:
    by_nll, by_elbo = (
        [len(trial.history) for trial in _searched(objective).trials] for objective in ("recon_nll", "elbo")
    )
    assert by_nll == by_elbo and min(by_nll) == 3


def _searched(objective: Any) -> ToyProblem:
    toy = ToyProblem(epochs=12)
    replace(PRUNED, objective=objective).search(toy)
    return toy
