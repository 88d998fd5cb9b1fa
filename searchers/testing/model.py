"""A small VAE and images of three factors for it."""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from searchers.parts.likelihoods import Bernoulli, Likelihood

IMAGE_SHAPE = (1, 4, 4)
N_FACTORS = 3  # latents behind the images
N_IMAGES = 256
HIDDEN = 32


@functools.cache
def toy_images(seed: int) -> Tensor:
    """Images [N, 1, 4, 4] in [0, 1] that N_FACTORS normal numbers each decide."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(N_IMAGES, N_FACTORS, generator=generator)
    mixing = torch.randn(N_FACTORS, math.prod(IMAGE_SHAPE), generator=generator)
    images: Tensor = torch.sigmoid(factors @ mixing).unflatten(1, IMAGE_SHAPE)
    return images


class ToyVAE(nn.Module):
    """One hidden layer each way, and the names of `benchmark.backbones.vae.VAE`."""

    def __init__(self, latent_dim: int, seed: int) -> None:
        super().__init__()
        pixels = math.prod(IMAGE_SHAPE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, HIDDEN), nn.ReLU())
            self.mean_head = nn.Linear(HIDDEN, latent_dim)
            self.logvar_head = nn.Linear(HIDDEN, latent_dim)
            self.decoder_in = nn.Linear(latent_dim, HIDDEN)
            self.decoder: nn.Module = nn.Sequential(nn.ReLU(), nn.Linear(HIDDEN, pixels), nn.Unflatten(1, IMAGE_SHAPE))
        self.likelihood: Likelihood = Bernoulli()
        self.sampler: nn.Module | None = None

    @property
    def latent_dim(self) -> int:
        return self.mean_head.out_features

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(self.likelihood.inputs(x))
        return self.mean_head(h), self.logvar_head(h)

    def decode(self, z: Tensor) -> Tensor:
        outputs: Tensor = self.decoder(self.decoder_in(z))
        return outputs

    def change_latents(self, indices: Sequence[int], n_added: int, generator: Generator) -> None:
        """Keeps the latents at `indices` and adds fresh ones, which the decoder does not use at first, in place."""
        index = list(indices)
        for head in (self.mean_head, self.logvar_head):
            fresh = 0.1 * torch.randn(n_added, HIDDEN, generator=generator)
            head.weight.data = torch.cat([head.weight.data[index], fresh])
            head.bias.data = torch.cat([head.bias.data[index], torch.zeros(n_added)])
            head.out_features = len(index) + n_added
        self.decoder_in.weight.data = torch.cat(
            [self.decoder_in.weight.data[:, index], torch.zeros(HIDDEN, n_added)], dim=1
        )
        self.decoder_in.in_features = len(index) + n_added


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes in one thread: several would wait for each other far longer than such a step takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
