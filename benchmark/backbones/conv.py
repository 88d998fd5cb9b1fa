"""ALD-VAE's convolutional backbone."""

import math
from dataclasses import dataclass

from torch import nn

from benchmark.backbones.checks import ImageShape, Init, Width, check_image
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE


@dataclass(frozen=True)
class Conv:
    """ALD-VAE's EuroSAT network: four 4x4 convolutions of stride 2 and two dense layers, SiLU; mirrored decoder."""

    channels: Width = 32
    hidden: Width = 256
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for images [C, H, W] with sides of at least 16 pixels."""
        in_channels, *sides = check_image("conv", image_shape, smallest=16)
        sizes = [tuple(sides)]
        for _ in range(4):
            sizes.append(tuple(side // 2 for side in sizes[-1]))
        c, flat = self.channels, self.channels * math.prod(sizes[-1])
        encoder: list[nn.Module] = []
        for n_in in (in_channels, c, c, c):
            encoder += [nn.Conv2d(n_in, c, 4, stride=2, padding=1), nn.SiLU()]
        h = self.hidden
        encoder += [nn.Flatten(), Linear(flat, h), nn.SiLU(), Linear(h, h), nn.SiLU()]
        decoder: list[nn.Module] = [nn.SiLU(), Linear(h, h), nn.SiLU()]
        decoder += [Linear(h, flat), nn.Unflatten(1, (c, *sizes[-1]))]
        for n_out, small, large in zip((c, c, c, in_channels), sizes[:0:-1], sizes[-2::-1], strict=True):
            odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
            decoder += [nn.SiLU(), nn.ConvTranspose2d(c, n_out, 4, stride=2, padding=1, output_padding=odd)]
        return VAE(nn.Sequential(*encoder), h, latent_dim, h, nn.Sequential(*decoder))
