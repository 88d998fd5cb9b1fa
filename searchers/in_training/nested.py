"""Nested: one training gives the quality of every size, picks one, and hands over its model (our own method)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Evidence, Model, Problem, Searcher
from searchers.masking import at_least
from searchers.parts.objectives import VAE, Loss, elbo_loss, kl_per_dim, reparameterise
from searchers.parts.ranges import Share
from searchers.quantities import ACTIVE
from searchers.selection import Pick, pick

N_SIZES = 12  # about as many sizes are compared, log-spaced over the space
CHECKS = 3  # comparisons by the first end of the nested phase; the last two have to agree
DECODED = 0.3  # images that the first three comparisons decode, as a share of those that a training sees


@dataclass(frozen=True)
class Nested(Searcher):
    """Nested dropout on a VAE (Rippel et al. 2014, 1402.0915): each image's ELBO is that of its first k latents only.

    So all sizes are trained at once, as the mean of their ELBOs. When the rule in force has chosen the same of about 12
    log-spaced sizes, or one beside it, twice in a row, the first latents stay and the rest of the training is a plain
    one of that size, from which those out of use go before the last epoch. With `mean-rank` the comparisons need every
    metric and cost far more than the training's twentieth, or a tenth where it goes on to the latest; with other rules
    they take losses alone, and no size is refused for its samples.

    share: of the epochs after which the size is chosen at the earliest, and longest: at the latest. law: of k over
    1, ..., n, drawn anew for each image and step. grow: doubles the latents while the largest size is chosen; the
    answer may then be above the space. What differs between trainings a single one cannot show: run several seeds.
    """

    share: Share = 0.4
    longest: Share = 0.7
    law: Literal["uniform", "log-uniform"] = "uniform"
    grow: bool = False

    def __post_init__(self) -> None:
        if self.longest < self.share:
            raise ValueError(f"share is {self.share} and longest {self.longest}; expected share <= longest")

    def search(self, problem: Problem) -> Choice:
        trial = problem.train(problem.space.high, NestedController(self, problem))
        compared = trial.history.reindex(columns=["ctl_size"]).dropna()
        if compared.empty:  # too few epochs for one
            return Choice(trial, settled=False)
        found = trial.history.loc[compared.index[-1]].filter(like="ctl_").dropna()
        kept = {found["ctl_size"]: trial.latent_dim}  # without those out of use
        shares = found.filter(like="ctl_share_").rename(lambda name: int(name.removeprefix("ctl_share_")))
        shares = shares.groupby(lambda size: kept.get(size, size)).sum()
        evidence = Evidence(
            rule=problem.rule.rule,
            loss=float(found.get("ctl_loss", math.nan)),
            limit=float(found.get("ctl_limit", math.nan)),
            gap=float(found["ctl_gap"]),
            shares=tuple(float(share) for share in shares),
            is_shown=bool(found["ctl_shown"]),
        )
        return Choice(trial, settled=bool(found["ctl_stable"]), as_good=tuple(shares.index), evidence=evidence)


class NestedController(Controller):
    """Trains all sizes at once until the choice is stable, then the chosen one alone.

    is_chosen: whether the size is. previous: the place of the size chosen last among those compared; -1 before.
    """

    is_chosen: Tensor
    previous: Tensor

    def __init__(self, settings: Nested, problem: Problem) -> None:
        super().__init__()
        self.settings, self.rule, self.no_latents_nll = settings, problem.rule, problem.no_latents_nll
        self.epochs, self.low, self.high = problem.epochs, problem.space.low, problem.space.high
        self.first = max(1, min(round(settings.share * self.epochs), self.epochs - 1))
        self.last = max(self.first, min(round(settings.longest * self.epochs), self.epochs - 1))
        self.step = max(1, round(self.first / (CHECKS + 1)))
        self.register_buffer("is_chosen", torch.tensor(False))
        self.register_buffer("previous", torch.tensor(-1))
        self._traces: dict[str, float] = {}

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        if vae.latent_dim < self.high:  # the others have been removed
            return elbo_loss(vae, x, generator)
        mean, logvar = vae.encode(x)
        z = reparameterise(mean, logvar, generator)
        n, u = vae.latent_dim, torch.empty_like(mean[:, :1]).uniform_(generator=generator)  # [B, 1]
        below = u * n if self.settings.law == "uniform" else (n + 1) ** u - 1
        is_kept = (torch.arange(n, device=u.device) <= below) | self.is_chosen  # [B, n]
        kl = kl_per_dim(mean, logvar) * is_kept
        return Loss(vae.likelihood.nll(vae.decode(z * is_kept), x) + kl.sum() / len(x))

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self._traces = {}
        epoch, n = len(history), int(history["latent_dim"].iloc[-1])
        if self.is_chosen and epoch == self.epochs - 1:
            return self._without_unused(history.iloc[-1])
        is_due = (epoch - self.first) % self.step == 0 and epoch >= self.first - (CHECKS - 1) * self.step
        if self.is_chosen or epoch >= self.epochs or not (is_due or epoch == self.last):
            return KEEP_ALL
        sizes = log_spaced(self.low, n)
        images = float(history["images_seen"].iloc[-1]) / epoch * self.epochs
        found = self._compare(model, sizes, decodes=round(DECODED * images / (CHECKS * len(sizes))))
        is_stable = bool(self.previous >= 0) and abs(found.place - int(self.previous)) <= 1
        self.previous.fill_(found.place)
        evidence = found.evidence
        self._traces = {
            **{"size": sizes[found.place], "stable": float(is_stable), "shown": float(evidence.is_shown)},
            **{"loss": evidence.loss, "limit": evidence.limit, "gap": evidence.gap},
            **{f"share_{size}": share for size, share in zip(found.as_good, evidence.shares, strict=True)},
        }
        if epoch < self.first:
            return KEEP_ALL
        if self.settings.grow and sizes[found.place] == n and epoch + self.step <= self.last:
            self.previous.fill_(-1)
            return Decision(add=n)
        if not is_stable and epoch < self.last:
            return KEEP_ALL
        self.is_chosen.fill_(True)
        return Decision(keep=tuple(range(sizes[found.place])))

    def _without_unused(self, last: pd.Series) -> Decision:
        """Keeps the latents that are in use, and of too few for the space those of the highest KL too."""
        kept = at_least(self.low, np.asarray(last["latent_mean_variance"]) > ACTIVE, last["latent_kl"])
        return KEEP_ALL if kept.all() else Decision(keep=tuple(np.flatnonzero(kept).tolist()))

    def _compare(self, model: Model, sizes: Sequence[int], decodes: int) -> Pick:
        """Chooses among the first latents, as many as each size says."""
        if self.rule.rule == "mean-rank":
            assessments = [model.evaluate(range(size)) for size in sizes]
        else:
            assessments = model.losses([range(size) for size in sizes], decodes)
        return pick(assessments, self.rule, self.no_latents_nll, nested=True)

    def traces(self) -> dict[str, float]:
        return self._traces


def log_spaced(low: int, high: int) -> list[int]:
    """At most 12 different sizes from low to high, with about equal ratios; fewer where there are not as many."""
    return [int(size) for size in np.unique(np.geomspace(low, high, N_SIZES).round())]
