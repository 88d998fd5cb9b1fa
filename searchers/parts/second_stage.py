"""A second VAE, on the codes of the first, from which images are generated (1903.05789, section 4)."""

import torch
import torch.nn as nn
from torch import Generator, Tensor

from searchers.parts.likelihoods import normal_nll
from searchers.parts.objectives import kl_per_dim, reparameterise

WIDTH = 256  # of its layers; the authors' have 1,024
START = -3.0  # log-variance of its decoder; from 0 the latents go out of use before the decoder has learned them


class SecondStage(nn.Module):
    """Learns the distribution of codes z [B, n], which need not be N(0, 1), by as many latents u of which p(u) is.

    Three layers each way, with the input beside the last one, and a Gaussian decoder of learned variance.
    """

    def __init__(self, latent_dim: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder, self.decoder = _layers(latent_dim), _layers(latent_dim)
            self.heads = nn.Linear(WIDTH + latent_dim, 2 * latent_dim)
            self.out = nn.Linear(WIDTH + latent_dim, latent_dim)
        self.log_variance = nn.Parameter(torch.tensor(START))

    def loss(self, z: Tensor, generator: Generator) -> Tensor:
        """The negative ELBO of codes [B, n], one sample of u each: nats per code."""
        mean, logvar = self.heads(torch.cat([self.encoder(z), z], 1)).chunk(2, 1)
        error = (self._decode(reparameterise(mean, logvar, generator)) - z).square().sum(1).mean()
        return normal_nll(error, z.shape[1], self.log_variance) + kl_per_dim(mean, logvar).sum() / len(z)

    def forward(self, noise: Tensor) -> Tensor:
        """Turns normal noise [B, 2 n] into codes z [B, n]: the first n columns are u, the others p(z | u)'s noise."""
        u, epsilon = noise.chunk(2, 1)
        return self._decode(u) + (0.5 * self.log_variance).exp() * epsilon

    def _decode(self, u: Tensor) -> Tensor:
        mean: Tensor = self.out(torch.cat([self.decoder(u), u], 1))
        return mean


def _layers(latent_dim: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(latent_dim, WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
    )
