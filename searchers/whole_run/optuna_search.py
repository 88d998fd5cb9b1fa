"""Random and TPE search over the latent size by Optuna's samplers and pruners."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import optuna
import pandas as pd
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from searchers.base import Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.ranges import Count, Share
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

    @property
    def reads_epochs(self) -> bool:
        return False

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
    """Sizes of the space proposed by Optuna's TPESampler after `n_startup` random ones; the rule in force chooses.

    n_trials: as in RandomSearch. objective: what the sampler is told of a training; None tells it the four metrics of
    the choice among trainings. pruner: Optuna's, which ends trainings whose objective is bad early, and needs one:
    `median`, where the best value so far is worse than the median of `n_startup` or more trainings at that epoch; or
    `hyperband` (1603.06560), successive halvings from different first rungs, by which of them the training's number
    decides; with few trainings a bracket has hardly two to compare. wait: the share of the epochs before which none is
    ended, Hyperband's least resource. The choice is among trainings that were not ended.
    """

    n_trials: Count | None = None
    n_startup: Count = 3
    objective: Literal["elbo", "recon_nll", "recon_sse", "fid_recon", "fid_gen", "silhouette"] | None = None
    pruner: Literal["none", "median", "hyperband"] = "none"
    wait: Share = 0.1

    def __post_init__(self) -> None:
        if self.pruner != "none" and self.objective is None:
            got = f"pruner is {self.pruner} and objective None"
            raise ValueError(f"{got}; expected one objective, as elbo: Optuna prunes by one alone")

    @property
    def reads_epochs(self) -> bool:
        return self.pruner != "none"

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        n_trials = self.n_trials or len(space.sizes)
        n_full = n_trials if self.pruner == "none" else min(self.n_startup, n_trials)
        ended = Expected(space.high, max(1, epochs // 2))  # half-way, on average
        return [Expected(space.high, epochs)] * n_full + [ended] * (n_trials - n_full)

    def search(self, problem: Problem) -> Choice:
        metrics = DECISION_METRICS if self.objective is None else (self.objective,)
        study = optuna.create_study(
            study_name="latentbench",  # which Hyperband's brackets follow from
            sampler=TPESampler(seed=problem.seed, n_startup_trials=self.n_startup),
            pruner=self._pruner(problem.epochs),
            directions=[
                StudyDirection.MAXIMIZE if metric in HIGHER_IS_BETTER else StudyDirection.MINIMIZE for metric in metrics
            ],
        )
        trials = []
        for _ in range(self.n_trials or len(problem.space.sizes)):
            proposal = study.ask()
            size, is_pruned = _propose(proposal, problem.space), False
            if self.objective is None or self.pruner == "none":
                trial = problem.train(size)
            else:
                controller = PruningController(proposal, self.objective, problem.epochs)
                trial = problem.train(size, controller)
                is_pruned = controller.is_pruned(trial.history)
            values = [trial.assessment.metrics[metric] for metric in metrics]
            if not np.isfinite(values).all():
                study.tell(proposal, state=TrialState.FAIL)
            elif is_pruned:
                study.tell(proposal, state=TrialState.PRUNED)
                continue
            else:
                study.tell(proposal, values)
            trials.append(trial)
        found = choose(problem, trials)
        if self.pruner == "none":
            return found
        return Choice(found.trial, as_good=found.as_good, evidence=found.evidence)  # it has not compared all

    def _pruner(self, epochs: int) -> BasePruner:
        first = max(1, round(self.wait * epochs))
        if self.pruner == "median":
            return MedianPruner(n_startup_trials=self.n_startup, n_warmup_steps=first)
        return HyperbandPruner(min_resource=first, max_resource=epochs) if self.pruner == "hyperband" else NopPruner()


class PruningController(Controller):
    """Plain training that tells Optuna the objective after every epoch and ends where its pruner says so.

    A search that is run again tells it all over from the history, epoch by epoch, since Hyperband remembers its rungs.
    """

    def __init__(self, proposal: optuna.Trial, objective: str, epochs: int) -> None:
        super().__init__()
        self._proposal, self._objective, self._epochs = proposal, objective, epochs
        self._told, self._is_pruned = 0, False

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return Decision(stop=self.is_pruned(history))

    def is_pruned(self, history: pd.DataFrame) -> bool:
        """Tells Optuna the epochs that it does not know; whether the training is ended after the last of them."""
        for value in history[self._objective].iloc[self._told :]:
            self._told += 1
            self._proposal.report(float(value), step=self._told)
            self._is_pruned = self._told < self._epochs and self._proposal.should_prune()
        return self._is_pruned

    def traces(self) -> dict[str, float]:
        return {"pruned": float(self._is_pruned)}


def _propose(proposal: optuna.Trial, space: SearchSpace) -> int:
    return proposal.suggest_int("latent_dim", space.low, space.high, log=True)
