"""Searches that use all of the searcher contract, and where each is killed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Generator, Tensor, nn

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Model, Problem, Searcher, resize
from searchers.from_autoencoder.irmae import IRMAE
from searchers.from_autoencoder.rrae import RRAE
from searchers.in_training.nested import Nested
from searchers.in_training.sigma import Sigma
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import VAE, Loss, elbo_loss, kl_per_dim, reparameterise
from searchers.quantities import FINAL_METRICS

START = 5  # latents


class Scripted(Controller):
    """Does what `decisions` says after each epoch; a weight of each latent's KL is trained and follows the latents."""

    decisions: dict[int, Decision] = {}

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.linspace(0.5, 1.5, START))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        weighted = (kl_per_dim(*vae.encode(x)) * self.weights.square()).sum() / len(x)
        return Loss(elbo_loss(vae, x, generator).total + weighted)

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        resize(self.weights, indices, torch.full((n_added,), 2.0))

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return self.decisions.get(len(history), KEEP_ALL)

    def traces(self) -> dict[str, float]:
        return {"weight": float(self.weights.detach().sum())}


class Growing(Scripted):
    decisions = {1: Decision(add=2), 3: Decision(add=1)}


class Shrinking(Scripted):
    decisions = {1: Decision(keep=(0, 2, 4)), 2: Decision(keep=(1, 2), add=3)}


class Replacing(Scripted):
    """As many latents as before, but others."""

    decisions = {2: Decision(keep=(1, 2, 3, 4), add=1)}


class LearnedPrior(Controller):
    """A learned variance of each latent's prior; the first latent goes after the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.linspace(-1, 1, START))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        nll = bernoulli_nll(vae.decode(reparameterise(mean, logvar, generator)), x)
        return Loss(nll + kl_to(mean, logvar, self.log_variance).sum() / len(x))

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        resize(self.log_variance, indices, torch.zeros(n_added))

    def prior_variance(self) -> Tensor:
        return self.log_variance.exp()

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return Decision(keep=(1, 2, 3, 4)) if len(history) == 2 else KEEP_ALL


def kl_to(mean: Tensor, logvar: Tensor, prior: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, exp(prior))), [B, n]."""
    return 0.5 * ((mean.square() + logvar.exp()) / prior.exp() - 1 + prior - logvar)


class Looking(Controller):
    """Evaluates prefixes, and keeps the latents that move the images most."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.zeros(START))

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        resize(self.variance, indices, torch.zeros(n_added))

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        mean, _ = model.posterior()
        self.variance.copy_(mean.var(0))
        for size in (1, 3):
            assert set(model.evaluate(range(size)).metrics) == set(FINAL_METRICS)
        if len(history) != 2:
            return KEEP_ALL
        return Decision(keep=tuple(sorted(model.sensitivity(20).topk(4).indices.tolist())))

    def traces(self) -> dict[str, float]:
        return {"variance": float(self.variance.sum())}


@dataclass(frozen=True)
class InTraining(Searcher):
    """One training with a controller."""

    controller: str = "Growing"

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(START, globals()[self.controller]()))


@dataclass(frozen=True)
class Continuing(Searcher):
    """Trains on from its trainings, shared or not, and looks at their posteriors and prefixes."""

    continues = True

    def search(self, problem: Problem) -> Choice:
        first = problem.train(6, epochs=2)
        fewer = problem.train(3, epochs=2, start=(first, (0, 2, 5)))
        problem.evaluate(fewer, [0, 1])
        on = problem.train(3, Shrinks(), epochs=3, start=(fewer, None))
        metrics = [problem.evaluate(on, range(size)).metrics["recon_nll"] for size in (1, 2)]
        _, logvar = problem.encode(on, 7)
        last = problem.train(2, epochs=2, start=(on, [0, 1]))
        return Choice(last if min(metrics) < math.inf and logvar.shape == (7, 2) else on)


class Shrinks(Controller):
    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return Decision(keep=(0, 2)) if len(history) == 1 else KEEP_ALL


@dataclass(frozen=True)
class TwoNN(Searcher):
    """The images' intrinsic dimension (Facco et al. 2017), and a training of that size and of twice that."""

    def search(self, problem: Problem) -> Choice:
        x = problem.images(150).flatten(1).double()
        first, second = torch.cdist(x, x).fill_diagonal_(math.inf).topk(2, largest=False).values.unbind(1)
        dimension = len(x) / float(torch.log(second / first).sum())
        trials = [problem.train(problem.space.clip(round(size))) for size in (dimension, 2 * dimension)]
        return Choice(min(trials, key=lambda trial: trial.history["recon_nll"].iloc[-1]))


RUNS = {  # a searcher, and where it is killed: after this epoch of this training
    "Growing": (InTraining("Growing"), [(0, 2), (0, 4)]),
    "Shrinking": (InTraining("Shrinking"), [(0, 1), (0, 3)]),
    "Replacing": (InTraining("Replacing"), [(0, 2)]),
    "LearnedPrior": (InTraining("LearnedPrior"), [(0, 2), (0, 3)]),
    "Looking": (InTraining("Looking"), [(0, 2), (0, 4)]),
    "Continuing": (Continuing(), [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2)]),
    "TwoNN": (TwoNN(), [(1, 2)]),
    "SecondStage": (Sigma(retrain=False, second_stage=0.75), [(0, 2), (1, 1), (1, 2)]),
    "IRMAE": (IRMAE(), [(0, 2), (1, 1)]),
    "RRAE": (RRAE(), [(0, 2)]),
    "Nested": (Nested(), [(0, 1), (0, 2), (0, 3)]),  # compares after epochs 1 and 2, then cuts
}
