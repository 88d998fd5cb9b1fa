"""Random and TPE search over the latent size by Optuna's samplers, as a study of four objectives."""

from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection

from searchers.base import Choice, Problem, Searcher
from searchers.selection import HIGHER_IS_BETTER, METRICS, Weights, choose, final_metrics

optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every study and trial


@dataclass(frozen=True)
class SizeRange:
    """A log-uniform range of sizes, low <= size <= high, and how many of them to train."""

    low: int = 2
    high: int = 64
    n_trials: int = 5

    def __post_init__(self) -> None:
        if not 2 <= self.low <= self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; expected 2 <= low <= high")
        if self.n_trials < 1:
            raise ValueError(f"n_trials is {self.n_trials}; expected at least 1")


@dataclass(frozen=True)
class RandomSearch(Searcher):
    """Sizes drawn by Optuna's RandomSampler."""

    sizes: SizeRange = SizeRange()
    weights: Weights = Weights()

    @property
    def n_trainings(self) -> int:
        return self.sizes.n_trials

    def known_sizes(self, seed: int) -> tuple[int, ...]:
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        return tuple(_propose(study.ask(), self.sizes) for _ in range(self.sizes.n_trials))

    def search(self, problem: Problem) -> Choice:
        return _run_study(problem, RandomSampler(seed=problem.seed), self.sizes, self.weights)


@dataclass(frozen=True)
class TPESearch(Searcher):
    """Sizes proposed by Optuna's multi-objective TPESampler after `n_startup` random ones."""

    sizes: SizeRange = SizeRange()
    weights: Weights = Weights()
    n_startup: int = 3

    def __post_init__(self) -> None:
        if self.n_startup < 1:
            raise ValueError(f"n_startup is {self.n_startup}; expected at least 1")

    @property
    def n_trainings(self) -> int:
        return self.sizes.n_trials

    def search(self, problem: Problem) -> Choice:
        sampler = TPESampler(seed=problem.seed, n_startup_trials=self.n_startup)
        return _run_study(problem, sampler, self.sizes, self.weights)


def _propose(proposal: optuna.Trial, sizes: SizeRange) -> int:
    return proposal.suggest_int("latent_dim", sizes.low, sizes.high, log=True)


def _run_study(problem: Problem, sampler: BaseSampler, sizes: SizeRange, weights: Weights) -> Choice:
    directions = [
        StudyDirection.MAXIMIZE if metric in HIGHER_IS_BETTER else StudyDirection.MINIMIZE for metric in METRICS
    ]
    study = problem.create_study(sampler, directions)
    study.set_user_attr("metrics", list(METRICS))
    trials = []
    for _ in range(sizes.n_trials):
        proposal = study.ask()
        trial = problem.train(_propose(proposal, sizes))
        values = list(final_metrics(trial.history).values())
        if np.isfinite(values).all():
            study.tell(proposal, values)
        else:
            study.tell(proposal, state=optuna.trial.TrialState.FAIL)
        trials.append(trial)
    return choose(trials, weights)
