"""Sparsity: trains with too many latents and removes those that the ELBO has switched off (1812.07238)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.masking import LEAST, at_least
from searchers.parts.ranges import Count, Positive, Share, Size


@dataclass(frozen=True)
class Sparsity(Searcher):
    """start_latent_dim: the size to start from; None means the space's largest.

    stable_epochs: epochs for which the active set must not change before a removal. A latent is inactive if
    var(mean_j) < max_mean_variance and mean(var_j) > min_variance_mean over the validation data (in the paper's table I
    1e-4, and 0.96 or more). If fewer than two are active at the end, the two with the highest KL stay, since no smaller
    size can be trained.
    reading: of the active set: `variances`, those bounds; or `soft-count`, the n0 - sum_j mean(var_j) latents, rounded
    up, of the smallest mean(var_j): what FONDUE's criterion (2209.12806) leaves of n0 latents. It is read once, and too
    low by the sum over the latents in use, so by one or more where there are many.
    wait: the share of the epochs before which none is removed; None does not wait. An active set that is stable early
    may lack latents that are learned late (docs/learning.md).
    """

    start_latent_dim: Size | None = None
    stable_epochs: Count = 5
    max_mean_variance: Positive = 0.01
    min_variance_mean: Positive = 0.9
    wait: Share | None = None
    reading: Literal["variances", "soft-count"] = "variances"

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(self.start_latent_dim or space.high, epochs)]

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        controller = SparsityController(self, start, problem.epochs)
        trial = problem.train(start, controller)
        return Choice(trial, settled=controller.settled(trial.history))


class SparsityController(Controller):
    """Removes the inactive latents once the active set has stayed the same for `stable_epochs` epochs.

    start, epochs: of the training. With fewer than two active latents it waits for the last possible removal, since a
    network that learns slowly uses no latent at first.
    """

    def __init__(self, settings: Sparsity, start: int, epochs: int) -> None:
        super().__init__()
        self.settings, self.start = settings, start
        self.epochs = epochs
        self.first = min((settings.wait or 0) * epochs, epochs - 1)
        self._traces: dict[str, float] = {}

    def _active(self, epoch: pd.Series) -> tuple[int, ...]:
        if self.settings.reading == "soft-count":
            variances = np.asarray(epoch["latent_variance_mean"])
            is_read = len(variances) < self.start  # again, it would fall with every reading until few are left
            count = len(variances) if is_read else max(0, int(np.ceil(len(variances) - variances.sum())))
            return tuple(sorted(np.argsort(variances, kind="stable")[:count].tolist()))
        off = epoch["latent_mean_variance"] < self.settings.max_mean_variance
        noise = epoch["latent_variance_mean"] > self.settings.min_variance_mean
        return tuple(np.flatnonzero(~(off & noise)).tolist())

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        last = history.iloc[-1]
        active = self._active(last)
        law = float(np.mean(last["latent_mean_variance"] + last["latent_variance_mean"]))  # 1 by equation 13
        self._traces = {"active": float(len(active)), "variance_law": law}
        recent = history.tail(self.settings.stable_epochs)
        stable = len(recent) == self.settings.stable_epochs and all(
            epoch["latent_dim"] == last["latent_dim"] and self._active(epoch) == active
            for _, epoch in recent.iterrows()
        )
        if stable and len(history) >= self.first and 2 <= len(active) < last["latent_dim"]:
            return Decision(keep=active)
        if len(active) < 2 < last["latent_dim"] and len(history) >= self.epochs - 1:
            in_use = np.isin(np.arange(len(last["latent_kl"])), active)
            return Decision(keep=tuple(np.flatnonzero(at_least(LEAST, in_use, last["latent_kl"])).tolist()))
        return KEEP_ALL

    def settled(self, history: pd.DataFrame) -> bool:
        """Whether the same latents were active in the last `stable_epochs` epochs, and no others are left."""
        recent = [epoch for _, epoch in history.tail(self.settings.stable_epochs).iterrows()]
        active = {tuple(np.asarray(epoch["latent_id"])[list(self._active(epoch))].tolist()) for epoch in recent}
        is_stable = len(recent) == self.settings.stable_epochs and len(active) == 1
        return is_stable and int(recent[-1]["latent_dim"]) == max(2, len(active.pop()))

    def traces(self) -> dict[str, float]:
        return self._traces
