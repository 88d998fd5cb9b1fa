"""Random and TPE search over the latent size by Optuna's samplers, as a study of four objectives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection

from searchers.base import Choice, Expected, Problem, Searcher, SearchSpace
from searchers.parts.ranges import Count
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER
from searchers.selection import choose

optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every study and trial


@dataclass(frozen=True)
class RandomSearch(Searcher):
    """Different sizes drawn log-uniformly from the space by Optuna's RandomSampler; one that comes again is left out.

    n_trials: how many sizes to train, all if there are fewer; None: as many as
    the space has sizes for grid search.
    """

    n_trials: Count | None = None

    def _drawn(self, space: SearchSpace, seed: int) -> tuple[int, ...]:
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        n_trials = min(self.n_trials or len(space.sizes), space.high - space.low + 1)
        drawn: dict[int, None] = {}  # in the order in which they came
        while len(drawn) < n_trials:
            drawn[_propose(study.ask(), space)] = None
        return tuple(drawn)

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(size, epochs, certain=True) for size in self._drawn(space, seed)]

    def search(self, problem: Problem) -> Choice:
        return choose(problem, [problem.train(size) for size in self._drawn(problem.space, problem.seed)])


@dataclass(frozen=True)
class TPESearch(Searcher):
    """Sizes of the space proposed by Optuna's multi-objective TPESampler after `n_startup` random ones.

    n_trials: as in RandomSearch.
    """

    n_trials: Count | None = None
    n_startup: Count = 3

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(space.high, epochs)] * (self.n_trials or len(space.sizes))

    def search(self, problem: Problem) -> Choice:
        directions = [
            StudyDirection.MAXIMIZE if metric in HIGHER_IS_BETTER else StudyDirection.MINIMIZE
            for metric in DECISION_METRICS
        ]
        sampler = TPESampler(seed=problem.seed, n_startup_trials=self.n_startup)
        study = optuna.create_study(sampler=sampler, directions=directions)
        trials = []
        for _ in range(self.n_trials or len(problem.space.sizes)):
            proposal = study.ask()
            trial = problem.train(_propose(proposal, problem.space))
            values = [trial.assessment.metrics[metric] for metric in DECISION_METRICS]
            if np.isfinite(values).all():
                study.tell(proposal, values)
            else:
                study.tell(proposal, state=optuna.trial.TrialState.FAIL)
            trials.append(trial)
        return choose(problem, trials)


def _propose(proposal: optuna.Trial, space: SearchSpace) -> int:
    return proposal.suggest_int("latent_dim", space.low, space.high, log=True)
