"""Sigma: a Gaussian decoder whose variance is at its optimum or learned; as it falls, latents get used (1903.05789)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from numpy.typing import NDArray
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.masking import Masking, settled
from searchers.parts.likelihoods import normal_nll
from searchers.parts.objectives import VAE, Loss, frozen_batchnorm_statistics, kl_per_dim, reparameterise
from searchers.parts.ranges import NotNegative, Positive, Size
from searchers.parts.second_stage import SecondStage


@dataclass(frozen=True)
class Sigma(Searcher):
    """The latents in use are those whose mean posterior variance is below `most_variance` (Dai and Wipf 2019).

    start_latent_dim: the size to start from; None means the space's largest. variance: of the decoder, one for all
    pixels: `optimal`, in closed form for each batch (sigma-VAE, 2006.13202); or `learned`, a parameter. On real images
    it falls as long as the network learns, and ever more latents get used. retrain: trains a fresh model of the size
    found and chooses that; False hands over the first, which spends far more nats on its latents than a Bernoulli
    decoder's ELBO rewards. second_stage: epochs, in full trainings, of a second VAE that learns the distribution of the
    model's codes; the model then generates images through it (the two-stage VAE of the same paper, which takes twice
    the first one's epochs; 0 trains none).
    """

    start_latent_dim: Size | None = None
    variance: Literal["optimal", "learned"] = "optimal"
    most_variance: Positive = 0.5
    retrain: bool = True
    second_stage: NotNegative = 0.0

    @property
    def continues(self) -> bool:
        return self.second_stage > 0

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        start, second = self.start_latent_dim or space.high, self._second_stage(epochs)
        return [Expected(start, epochs)] * (2 if self.retrain else 1) + [Expected(start, second)] * (second > 0)

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        trial = problem.train(start, SigmaController(self, start, problem.epochs))
        chosen = problem.train(trial.latent_dim) if self.retrain and not trial.diverged else trial
        epochs, size = self._second_stage(problem.epochs), chosen.latent_dim
        if epochs and not trial.diverged:
            chosen = problem.train(size, SecondStageController(size, problem.seed), epochs, start=(chosen, None))
        return Choice(chosen, settled=settled(trial.history))

    def _second_stage(self, epochs: int) -> int:
        return max(1, round(self.second_stage * epochs)) if self.second_stage else 0


class SigmaController(Masking):
    """log_variance: of the decoder; trained, or the last batch's optimum."""

    def __init__(self, settings: Sigma, latent_dim: int, epochs: int) -> None:
        super().__init__(latent_dim, epochs)
        self.settings = settings
        self.log_variance = nn.Parameter(torch.tensor(0.0), requires_grad=settings.variance == "learned")

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        error = vae.likelihood.squared_error(vae.decode(reparameterise(mean, logvar, generator)), x).mean()
        pixels = x[0].numel()
        if self.settings.variance == "optimal":
            log_variance = (error / pixels).log()
            self.log_variance.data.copy_(log_variance.detach())
        else:
            log_variance = self.log_variance
        return Loss(normal_nll(error, pixels, log_variance) + kl_per_dim(mean, logvar).sum() / len(x))

    @property
    def capturable(self) -> bool:
        return True

    def in_use(self, history: pd.DataFrame, model: Model) -> NDArray[np.bool_]:
        return np.asarray(history["latent_variance_mean"].iloc[-1]) < self.settings.most_variance

    def traces(self) -> dict[str, float]:
        return {**super().traces(), "decoder_variance": float(self.log_variance.detach().exp())}


class SecondStageController(Controller):
    """Trains the second VAE on codes z sampled from the posteriors of a finished first one, which stays as it is."""

    def __init__(self, latent_dim: int, seed: int) -> None:
        super().__init__()
        self.stage = SecondStage(latent_dim, seed)

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        with torch.no_grad(), frozen_batchnorm_statistics(vae):
            z = reparameterise(*vae.encode(x), generator)
        return Loss(self.stage.loss(z, generator))

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL

    def fold(self, vae: VAE) -> None:
        vae.sampler = self.stage
