"""Fully connected backbones."""

import math
from dataclasses import dataclass

from torch import nn

from benchmark.backbones.checks import ImageShape, Init, Widths
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE


@dataclass(frozen=True)
class Dense:
    """Fully connected layers with ReLU and a mirrored decoder. Each subclass has the widths of a paper."""

    hidden: Widths
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for images of this shape."""
        pixels = math.prod(image_shape)
        encoder: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in zip((pixels, *self.hidden), self.hidden, strict=False):
            encoder += [Linear(n_in, n_out), nn.ReLU()]
        mirrored = self.hidden[::-1]
        decoder: list[nn.Module] = []
        for n_in, n_out in zip(mirrored, (*mirrored[1:], pixels), strict=True):
            decoder += [nn.ReLU(), Linear(n_in, n_out)]
        decoder.append(nn.Unflatten(1, image_shape))
        return VAE(nn.Sequential(*encoder), self.hidden[-1], latent_dim, self.hidden[-1], nn.Sequential(*decoder))


@dataclass(frozen=True)
class MLP(Dense):
    """ALD-VAE's MNIST network (2312.06280, section 4.1)."""

    hidden: Widths = (400, 400)


@dataclass(frozen=True)
class AspertiDense(Dense):
    """The dense networks of 1812.07238: 784-256-32-24-16 for MNIST (section IV-A), wider for tiles (section V)."""

    hidden: Widths = (256, 32, 24)
