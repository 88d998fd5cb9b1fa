"""Fully connected backbones."""

import math
from dataclasses import dataclass

from torch import nn

from benchmark.backbones.checks import ImageShape, Init, Widths
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE


def _dense(image_shape: ImageShape, latent_dim: int, hidden: tuple[int, ...]) -> VAE:
    pixels = math.prod(image_shape)
    encoder: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in zip((pixels, *hidden), hidden, strict=False):
        encoder += [Linear(n_in, n_out), nn.ReLU()]
    mirrored = hidden[::-1]
    decoder: list[nn.Module] = []
    for n_in, n_out in zip(mirrored, (*mirrored[1:], pixels), strict=True):
        decoder += [nn.ReLU(), Linear(n_in, n_out)]
    decoder.append(nn.Unflatten(1, image_shape))
    return VAE(nn.Sequential(*encoder), hidden[-1], latent_dim, hidden[-1], nn.Sequential(*decoder))


@dataclass(frozen=True)
class MLP:
    """ALD-VAE's MNIST network (2312.06280, section 4.1): fully connected layers, ReLU, mirrored decoder."""

    hidden: Widths = (400, 400)
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """The network for images of this shape."""
        return _dense(image_shape, latent_dim, self.hidden)


@dataclass(frozen=True)
class AspertiDense:
    """The dense networks of 1812.07238: 784-256-32-24-16 for MNIST (section IV-A), wider for tiles (section V)."""

    hidden: Widths = (256, 32, 24)
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """The network for images of this shape."""
        return _dense(image_shape, latent_dim, self.hidden)
