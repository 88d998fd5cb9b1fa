"""Sparsity: an over-provisioned ELBO training switches latents off by itself; those are removed (1812.07238)."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Problem, Searcher


@dataclass(frozen=True)
class Sparsity(Searcher):
    """latent_dim: the size to start from. stable_epochs: how long the active set must not change before a removal.

    A latent is inactive when var(mean_j) < max_mean_variance and mean(var_j) > min_variance_mean over the
    validation data (the paper's table I: 1e-4 and 0.96 or more).
    """

    latent_dim: int = 64
    stable_epochs: int = 5
    max_mean_variance: float = 0.01
    min_variance_mean: float = 0.9

    def __post_init__(self) -> None:
        if self.latent_dim < 2 or self.stable_epochs < 1:
            raise ValueError(
                f"latent_dim is {self.latent_dim} and stable_epochs {self.stable_epochs}; "
                "expected at least 2 and at least 1"
            )
        for name in ("max_mean_variance", "min_variance_mean"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a variance above 0")

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(self.latent_dim, SparsityController(self)))


class SparsityController(Controller):
    """Removes the inactive latents whenever the active set has been the same for `stable_epochs` epochs."""

    def __init__(self, settings: Sparsity) -> None:
        super().__init__()
        self.settings = settings
        self._traces: dict[str, float] = {}

    def _active(self, epoch: pd.Series) -> tuple[int, ...]:
        off = epoch["latent_mean_variance"] < self.settings.max_mean_variance
        noise = epoch["latent_variance_mean"] > self.settings.min_variance_mean
        return tuple(np.flatnonzero(~(off & noise)).tolist())

    def after_epoch(self, history: pd.DataFrame) -> Decision:
        last = history.iloc[-1]
        active = self._active(last)
        law = float(np.mean(last["latent_mean_variance"] + last["latent_variance_mean"]))  # 1 by equation 13
        self._traces = {"active": float(len(active)), "variance_law": law}
        recent = history.tail(self.settings.stable_epochs)
        stable = len(recent) == self.settings.stable_epochs and all(
            epoch["latent_dim"] == last["latent_dim"] and self._active(epoch) == active
            for _, epoch in recent.iterrows()
        )
        if stable and 2 <= len(active) < last["latent_dim"]:
            return Decision(keep=active)
        return KEEP_ALL

    def traces(self) -> dict[str, float]:
        return self._traces
