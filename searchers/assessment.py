"""What a model is worth, and what speaks for a chosen size. Without torch, as the store reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Assessment:
    """What a model with `size` latents is worth on one split, by repeated draws of z.

    All sizes and models of a seed are assessed with the same noise, so their differences are those of the models.

    metrics: `FINAL_METRICS` of `searchers.quantities`, and others that the data or the user have. errors: the standard
    errors of `DRAWN_METRICS` over the draws. losses: -ELBO of each image in nats, [N]. higher: the user's own metrics
    of which higher values are better.
    """

    size: int
    metrics: dict[str, float]
    errors: dict[str, float]
    losses: NDArray[np.float64]
    higher: frozenset[str] = frozenset()

    @property
    def loss(self) -> float:
        """L, -ELBO in nats per image; infinite where that of an image is not finite."""
        return float(self.losses.mean()) if np.isfinite(self.losses).all() else math.inf


@dataclass(frozen=True)
class Evidence:
    """What speaks for a size that a rule chose.

    loss: how much higher its -ELBO is than the reference size's, and limit: the upper limit of that (paired over the
    validation images, one-sided 95 %), both in parts of the gap. gap: what latents are worth, in nats: the NLL without
    latents less the reference's -ELBO. shares: for each size in `Choice.as_good`, the share of resamplings of the
    images (with `mean-rank`, of the evaluation noise) that choose it. is_shown: False where no limit was below the
    margin and the size was chosen by its mean loss.
    """

    rule: str
    loss: float
    limit: float
    gap: float
    shares: tuple[float, ...]
    is_shown: bool
