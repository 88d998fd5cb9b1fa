"""What the methods share that read the size off a deterministic autoencoder and train a VAE of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.objectives import VAE
from searchers.parts.ranges import Positive, Share, Size
from searchers.parts.spectrum import fewest_with, largest_fall
from searchers.quantities import is_stable

NO_NOISE = -30.0  # the log-variance of a code without noise


@dataclass(frozen=True)
class FromAutoencoder(Searcher):
    """Trains an autoencoder, reads a size off it (the column ctl_size), and trains a plain VAE of that size.

    The VAE is what is chosen. The autoencoder is the first training: its errors are those of its codes without noise;
    its KL, ELBO and samples mean nothing. start_latent_dim: the autoencoder's size; None means the space's largest.
    """

    start_latent_dim: Size | None = None

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(self.start_latent_dim or space.high, epochs)] * 2

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        trial = problem.train(start, self.controller(start, problem))
        if trial.diverged:
            return Choice(trial)
        sizes, found = trial.history["ctl_size"], trial.history["ctl_found"].iloc[-1]
        chosen = problem.train(problem.space.clip(int(sizes.iloc[-1])))
        return Choice(chosen, settled=bool(found) and is_stable(sizes))

    @abstractmethod
    def controller(self, latent_dim: int, problem: Problem) -> Controller:
        """What trains the autoencoder of so many latents.

        Its trace `size` is the size that it reads; `found` is 1 where that is an answer, 0 where it is one for want of
        a better, after which the size is not settled.
        """


class AutoencoderController(Controller, ABC):
    """Reads the size after each epoch as the place of the largest fall among the codes' variances.

    least_fall: the factor by which the variance must fall there; where none does, the size is the fewest with `share`
    of the variance. Traces: the size, the largest factor, and whether it is a gap.
    """

    def __init__(self, least_fall: Positive, share: Share) -> None:
        super().__init__()
        self.least_fall, self.share = least_fall, share
        self._traces: dict[str, float] = {}

    @abstractmethod
    def variances(self, codes: Tensor) -> NDArray[np.float64]:
        """The variances to read of the validation images' codes [N, n], falling."""

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        values = self.variances(model.posterior().mean)
        place, fall = largest_fall(values)
        is_gap = fall >= self.least_fall
        size = place if is_gap else fewest_with(values, self.share)
        self._traces = {"size": float(size), "fall": fall, "found": float(is_gap)}
        return KEEP_ALL

    def traces(self) -> dict[str, float]:
        return self._traces


def remove_noise(vae: VAE) -> None:
    """Makes the posterior its mean, in place."""
    vae.logvar_head.weight.zero_()
    vae.logvar_head.bias.fill_(NO_NOISE)


def map_codes(vae: VAE, matrix: Tensor) -> None:
    """Makes the means z what z @ matrix was, in place; matrix: [n, n]."""
    vae.mean_head.weight.copy_(matrix.T @ vae.mean_head.weight)
    vae.mean_head.bias.copy_(vae.mean_head.bias @ matrix)
