"""Beta: the KL's weight as the size's knob: a training for each weight, the latents it leaves in use (beta-VAE)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import MinLen
from numpy.typing import NDArray
from torch import Generator, Tensor

from searchers.base import Choice, Expected, Model, Problem, Searcher, SearchSpace
from searchers.masking import Masking
from searchers.parts.objectives import VAE, Loss, kl_per_dim, reparameterise
from searchers.parts.ranges import Positive, Size
from searchers.quantities import ACTIVE
from searchers.selection import choose


@dataclass(frozen=True)
class Beta(Searcher):
    """NLL + beta KL (Higgins et al. 2017) for each of `betas`, from one size; the rule in force chooses among them.

    Each model keeps its active latents (the variance of whose mean is above 0.01), so that the sweep is a curve of
    quality against size. Its quality is the ELBO, in which beta is 1. start_latent_dim: None means the space's largest.
    """

    betas: Annotated[tuple[Positive, ...], MinLen(1)] = (0.5, 1.0, 2.0, 4.0, 8.0)
    start_latent_dim: Size | None = None

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(self.start_latent_dim or space.high, epochs)] * len(self.betas)

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        trials = [problem.train(start, BetaController(beta, start, problem.epochs)) for beta in self.betas]
        return choose(problem, trials)


class BetaController(Masking):
    """One training of the sweep."""

    def __init__(self, beta: float, latent_dim: int, epochs: int) -> None:
        super().__init__(latent_dim, epochs)
        self.beta = beta

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        nll = vae.likelihood.nll(vae.decode(reparameterise(mean, logvar, generator)), x)
        return Loss(nll + self.beta * kl_per_dim(mean, logvar).sum() / len(x))

    @property
    def capturable(self) -> bool:
        return True

    def in_use(self, history: pd.DataFrame, model: Model) -> NDArray[np.bool_]:
        return np.asarray(history["latent_mean_variance"].iloc[-1]) > ACTIVE

    def traces(self) -> dict[str, float]:
        return {**super().traces(), "beta": self.beta}
