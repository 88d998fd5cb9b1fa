"""Random and TPE search: which sizes are drawn."""

import math

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from searchers.base import SearchSpace
from searchers.testing import ToyProblem
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
