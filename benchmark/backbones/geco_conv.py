"""GECO/L0-ARM's convolutional backbone."""

from dataclasses import dataclass

from torch import nn

from benchmark.backbones.checks import ImageShape, Init, Width, check_image
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE
from benchmark.errors import InputError


@dataclass(frozen=True)
class GecoConv:
    """GECO/L0-ARM's network (2003.10901, section IV) for 64x64 and 28x28; the paper gives no channel counts.

    Our two heads of n outputs are the same function as the paper's one head of 2n outputs.
    """

    hidden: Width = 128
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for images [C, 64, 64] or [C, 28, 28]."""
        in_channels, *sides = check_image("geco-conv", image_shape, smallest=28)
        if sides == [64, 64]:
            # (channels, encoder kernel, decoder kernel and padding) from the image inwards; 64 -> 32 -> 16 -> 8 -> 4
            layers = [(32, 4, 3, 1), (64, 3, 3, 1), (64, 3, 3, 1), (64, 3, 3, 1)]
        elif sides == [28, 28]:
            layers = [(32, 4, 3, 1), (64, 3, 3, 1), (64, 2, 2, 0)]  # 28 -> 14 -> 7 -> 4; 4 -> 8 -> 7 -> 14 -> 28
        else:
            raise InputError(f"geco-conv got images of {sides[0]}x{sides[1]}; it takes 64x64 or 28x28; use conv or mlp")
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        n_in = in_channels
        for channels, kernel, up_kernel, up_padding in layers:
            norm = nn.BatchNorm2d(channels, momentum=0.2)  # momentum 0.8 in Keras's sense
            encoder += [nn.Conv2d(n_in, channels, kernel, stride=2, padding=1), nn.LeakyReLU(0.02), norm]
            up: list[nn.Module] = [nn.BatchNorm2d(channels, momentum=0.2), nn.Upsample(scale_factor=2)]
            up += [nn.Conv2d(channels, n_in, up_kernel, padding=up_padding)]
            decoder = [nn.LeakyReLU(0.02), *up, *decoder]
            n_in = channels
        flat = n_in * 4 * 4
        encoder += [nn.Flatten(), Linear(flat, self.hidden), nn.LeakyReLU(0.02)]
        decoder = [nn.LeakyReLU(0.02), Linear(self.hidden, flat), nn.Unflatten(1, (n_in, 4, 4)), *decoder]
        return VAE(nn.Sequential(*encoder), self.hidden, latent_dim, self.hidden, nn.Sequential(*decoder))
