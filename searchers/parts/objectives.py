"""The terms of a VAE's training objective. Pure functions; losses are in nats per sample unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from searchers.parts.likelihoods import Likelihood


class VAE(Protocol):
    """What a controller sees of the model in training.

    x: images [B, C, H, W] (video [B, C, T, H, W]) in [0, 1], or rows of a table [B, D].
    The heads give mean and log-variance; `decoder_in` is the decoder's first layer. likelihood: p(x | z) given the
    decoder's outputs. sampler: maps normal noise [B, 2 n] to z [B, n], in place of the prior; None takes N(0, 1).
    """

    mean_head: nn.Linear
    logvar_head: nn.Linear
    decoder_in: nn.Linear
    decoder: nn.Module
    likelihood: Likelihood
    sampler: nn.Module | None

    @property
    def latent_dim(self) -> int:
        """Number of latents n the network has now."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> posterior mean [B, n] and log-variance [B, n]."""

    def decode(self, z: Tensor) -> Tensor:
        """z [B, n] -> what `likelihood` takes, shaped like x: for images the logits of the pixels' means."""


@dataclass(frozen=True)
class Loss:
    """What one training step minimises: `total`, a scalar with a graph."""

    total: Tensor


def reparameterise(mean: Tensor, logvar: Tensor, generator: Generator) -> Tensor:
    """z = mean + sigma * epsilon, [B, n] (Kingma & Welling 2014)."""
    epsilon = torch.empty_like(mean).normal_(generator=generator)
    return torch.addcmul(mean, torch.exp(0.5 * logvar), epsilon)


def noise_dim(vae: VAE) -> int:
    """How many normal numbers `prior_codes` takes for an image."""
    return vae.latent_dim * (1 if vae.sampler is None else 2)


def prior_codes(vae: VAE, noise: Tensor) -> Tensor:
    """The z of generated images, [B, n], from normal noise [B, noise_dim(vae)]."""
    return noise if vae.sampler is None else vae.sampler(noise)


def kl_per_dim(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each image and latent, [B, n] nats (1812.07238, equation 6)."""
    return 0.5 * (mean.square() + logvar.exp() - logvar - 1)


def elbo_loss(vae: VAE, x: Tensor, generator: Generator) -> Loss:
    """The negative ELBO, one posterior sample each: nats per sample."""
    mean, logvar = vae.encode(x)
    outputs = vae.decode(reparameterise(mean, logvar, generator))
    return Loss(vae.likelihood.nll(outputs, x) + kl_per_dim(mean, logvar).sum() / len(x))


@contextmanager
def frozen_batchnorm_statistics(model: object) -> Iterator[None]:
    """Within it, BatchNorm layers in training mode leave their running statistics as they are."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    norms = [(m, m.momentum) for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    try:
        for norm, _ in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
