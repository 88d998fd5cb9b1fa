"""RRAE: an autoencoder whose codes are cut to a rank that falls while the error allows it (2405.13980)."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Controller, Decision, Model, Problem
from searchers.from_autoencoder.autoencoder import FromAutoencoder, map_codes, remove_noise
from searchers.parts.objectives import VAE, Loss
from searchers.parts.ranges import Positive, Share

MEMORY = 0.99  # of the average over steps of the codes' Gram matrix, whose axes are cut at evaluation


@dataclass(frozen=True)
class RRAE(FromAutoencoder):
    """The smallest rank at which the squared error is back to what it was without a cut (Mounayer et al. 2024).

    At the full rank it trains until the loss stagnates, and notes it. Then the rank falls by one after each epoch whose
    loss is not above the noted one, and when the loss stagnates above it the rank before is the answer. patience: the
    epochs, as a share of a training, over which a loss that falls by less than `stagnation` stagnates (the paper: 5 %
    over 50 checks; 500 steps at a rank).
    """

    patience: Share = 0.05
    stagnation: Positive = 0.05

    def controller(self, latent_dim: int, problem: Problem) -> "RRAEController":
        return RRAEController(self, latent_dim, max(1, round(self.patience * problem.epochs)))


class RRAEController(Controller):
    """rank: of the codes now; size: the smallest rank that has reached the loss of epoch `noted`, which is 0 before.

    gram: of the codes, an average over steps, [n, n]; age: the epochs at this rank.
    """

    rank: Tensor
    size: Tensor
    noted: Tensor
    gram: Tensor
    age: Tensor

    def __init__(self, settings: RRAE, latent_dim: int, patience: int) -> None:
        super().__init__()
        self.settings, self.patience = settings, patience
        self.register_buffer("rank", torch.tensor(latent_dim))
        self.register_buffer("size", torch.tensor(latent_dim))
        self.register_buffer("age", torch.tensor(0))
        self.register_buffer("noted", torch.tensor(0))
        self.register_buffer("gram", torch.eye(latent_dim))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        z = vae.encode(x)[0]
        with torch.autocast(z.device.type, enabled=False):  # axes need the precision
            codes = z.detach().float()
            gram = codes.T @ codes
            self.gram.lerp_(gram, 1 - MEMORY)
            cut = projector(gram, self.rank)
        return Loss(vae.likelihood.squared_error(vae.decode(z @ cut), x).mean())

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        losses = history["train_loss"].to_numpy()
        self.age += 1
        stagnates = (
            self.age > self.patience and losses[-1] > (1 - self.settings.stagnation) * losses[-1 - self.patience]
        )
        if not self.noted and stagnates:
            self.noted.fill_(len(losses))
        if self.noted and losses[-1] <= losses[self.noted - 1]:
            self.size.copy_(self.rank)
            self.rank.sub_(1).clamp_(min=1)
            self.age.zero_()
        elif stagnates:
            self.rank.copy_(self.size)
            return Decision(stop=True)
        return KEEP_ALL

    def fold(self, vae: VAE) -> None:
        map_codes(vae, projector(self.gram, self.rank))
        remove_noise(vae)

    def traces(self) -> dict[str, float]:
        found = bool(self.noted) and bool(self.rank == self.size)  # it has stopped, or no smaller rank is left
        return {"size": float(self.size), "rank": float(self.rank), "found": float(found)}


def projector(gram: Tensor, rank: Tensor) -> Tensor:
    """The matrix [n, n] that cuts codes of this Gram matrix to their best approximation of a rank, as their SVD does.

    rank: an integer. The codes' axes get no gradient, whose size is without bound where two singular values are equal.
    """
    finite = torch.where(gram.isfinite(), gram, 0.0)  # a training that diverges is told by its loss
    axes = torch.linalg.eigh(finite).eigenvectors  # by rising eigenvalue
    kept = axes * (torch.arange(len(gram), device=gram.device) >= len(gram) - rank)
    cut: Tensor = kept @ kept.T
    return cut
