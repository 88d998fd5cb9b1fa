"""Random and TPE search over the latent size by Optuna's samplers, as a study of four objectives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection

from searchers.base import Choice, Expected, Problem, Searcher, SearchSpace
from searchers.parts.ranges import Count, Size
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER, Weights, last_means
from searchers.selection import choose

optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every study and trial


@dataclass(frozen=True)
class SizeRange:
    """A log-uniform range of sizes, low <= size <= high, and how many of them to train."""

    low: Size = 2
    high: Size = 64
    n_trials: Count = 5

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; expected low <= high")


@dataclass(frozen=True)
class RandomSearch(Searcher):
    """Different sizes drawn by Optuna's RandomSampler: a size that comes again is drawn anew while others are left."""

    sizes: SizeRange = SizeRange()
    weights: Weights = Weights()

    def _drawn(self, seed: int) -> tuple[int, ...]:
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        drawn: dict[int, None] = {}  # in the order in which they came
        while len(drawn) < min(self.sizes.n_trials, self.sizes.high - self.sizes.low + 1):
            drawn[_propose(study.ask(), self.sizes)] = None
        return tuple(drawn)

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(size, epochs, certain=True) for size in self._drawn(seed)]

    def search(self, problem: Problem) -> Choice:
        return choose([problem.train(size) for size in self._drawn(problem.seed)], self.weights)


@dataclass(frozen=True)
class TPESearch(Searcher):
    """Sizes proposed by Optuna's multi-objective TPESampler after `n_startup` random ones."""

    sizes: SizeRange = SizeRange()
    weights: Weights = Weights()
    n_startup: Count = 3

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(self.sizes.high, epochs)] * self.sizes.n_trials

    def search(self, problem: Problem) -> Choice:
        directions = [
            StudyDirection.MAXIMIZE if metric in HIGHER_IS_BETTER else StudyDirection.MINIMIZE
            for metric in DECISION_METRICS
        ]
        sampler = TPESampler(seed=problem.seed, n_startup_trials=self.n_startup)
        study = optuna.create_study(sampler=sampler, directions=directions)
        trials = []
        for _ in range(self.sizes.n_trials):
            proposal = study.ask()
            trial = problem.train(_propose(proposal, self.sizes))
            values = list(last_means(trial.history).values())
            if np.isfinite(values).all():
                study.tell(proposal, values)
            else:
                study.tell(proposal, state=optuna.trial.TrialState.FAIL)
            trials.append(trial)
        return choose(trials, self.weights)


def _propose(proposal: optuna.Trial, sizes: SizeRange) -> int:
    return proposal.suggest_int("latent_dim", sizes.low, sizes.high, log=True)
