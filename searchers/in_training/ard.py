"""ARD-VAE: learns each latent's prior variance, and keeps those that move the decoded images (2501.10901)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from searchers.base import Choice, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.masking import Masking, settled
from searchers.parts.objectives import VAE, Loss, kl_per_dim, reparameterise
from searchers.parts.ranges import Count, Positive, Share, Size


@dataclass(frozen=True)
class ARD(Searcher):
    """start_latent_dim: the size to start from; None means the space's largest.

    weight: w of the loss squared error + w KL (section 4: 0.5 on MNIST, 0.05 on CIFAR-10); None takes the Bernoulli
    decoder's NLL + KL, so that the size compares with the other methods'. share: of the sum over latents of decoder
    sensitivity times prior variance that the kept ones must have; n_images: behind the sensitivity.
    """

    start_latent_dim: Size | None = None
    weight: Positive | None = None
    share: Share = 0.99
    n_images: Count = 100

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(self.start_latent_dim or space.high, epochs)]

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        trial = problem.train(start, ARDController(self, start, problem.epochs))
        return Choice(trial, settled=settled(trial.history))


class ARDController(Masking):
    """variance: of each latent's prior, [latent_dim]; renewed after each epoch as the mean of z^2.

    From validation images, which no gradient is taken on, as the paper's are of the training images that it leaves out
    in turn.
    """

    variance: Tensor

    def __init__(self, settings: ARD, latent_dim: int, epochs: int) -> None:
        super().__init__(latent_dim, epochs)
        self.settings = settings
        self.register_buffer("variance", torch.ones(latent_dim))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        outputs = vae.decode(reparameterise(mean, logvar, generator))
        kl = kl_per_dim(mean / self.variance.sqrt(), logvar - self.variance.log()).sum() / len(x)  # to N(0, variance)
        if self.settings.weight is None:
            return Loss(vae.likelihood.nll(outputs, x) + kl)
        return Loss(vae.likelihood.squared_error(outputs, x).mean() + self.settings.weight * kl)

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        decision = super().after_epoch(history, model)
        if len(history) < self.epochs:
            mean, logvar = model.posterior()  # of latents in units of their prior's standard deviation
            self.variance *= (mean.square() + logvar.exp()).mean(0).to(self.variance)
        return decision

    def in_use(self, history: pd.DataFrame, model: Model) -> NDArray[np.bool_]:
        scores = model.sensitivity(self.settings.n_images).double().cpu().numpy()  # in the same units: times variance
        rising = np.argsort(scores, kind="stable")
        below = np.cumsum(scores[rising]) <= (1 - self.settings.share) * scores.sum()
        used = np.ones(len(scores), dtype=bool)
        used[rising[below]] = False
        return used

    def prior_variance(self) -> Tensor:
        return self.variance
