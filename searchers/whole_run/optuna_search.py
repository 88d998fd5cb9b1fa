"""Random and TPE search over the latent size by Optuna's samplers, as a study of four objectives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection

from searchers.base import Choice, Problem, Searcher
from searchers.parts.ranges import Count, Size
from searchers.selection import HIGHER_IS_BETTER, METRICS, Weights, choose, final_metrics

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

    @property
    def n_trainings(self) -> int:
        return min(self.sizes.n_trials, self.sizes.high - self.sizes.low + 1)

    def known_sizes(self, seed: int) -> tuple[int, ...]:
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        drawn: dict[int, None] = {}  # in the order in which they came
        while len(drawn) < self.n_trainings:
            drawn[_propose(study.ask(), self.sizes)] = None
        return tuple(drawn)

    def search(self, problem: Problem) -> Choice:
        sampler = RandomSampler(seed=problem.seed)
        return _run_study(problem, sampler, self.sizes, self.weights, self.known_sizes(problem.seed))


@dataclass(frozen=True)
class TPESearch(Searcher):
    """Sizes proposed by Optuna's multi-objective TPESampler after `n_startup` random ones."""

    sizes: SizeRange = SizeRange()
    weights: Weights = Weights()
    n_startup: Count = 3

    @property
    def n_trainings(self) -> int:
        return self.sizes.n_trials

    def search(self, problem: Problem) -> Choice:
        sampler = TPESampler(seed=problem.seed, n_startup_trials=self.n_startup)
        return _run_study(problem, sampler, self.sizes, self.weights)


def _propose(proposal: optuna.Trial, sizes: SizeRange) -> int:
    return proposal.suggest_int("latent_dim", sizes.low, sizes.high, log=True)


def _run_study(
    problem: Problem, sampler: BaseSampler, sizes: SizeRange, weights: Weights, drawn: Sequence[int] = ()
) -> Choice:
    """drawn: the sizes to train; without them the sampler proposes `sizes.n_trials`."""
    directions = [
        StudyDirection.MAXIMIZE if metric in HIGHER_IS_BETTER else StudyDirection.MINIMIZE for metric in METRICS
    ]
    study = problem.create_study(sampler, directions)
    study.set_user_attr("metrics", list(METRICS))
    for size in drawn:
        study.enqueue_trial({"latent_dim": size})
    trials = []
    for _ in range(len(drawn) or sizes.n_trials):
        proposal = study.ask()
        trial = problem.train(_propose(proposal, sizes))
        values = list(final_metrics(trial.history).values())
        if np.isfinite(values).all():
            study.tell(proposal, values)
        else:
            study.tell(proposal, state=optuna.trial.TrialState.FAIL)
        trials.append(trial)
    return choose(trials, weights)
