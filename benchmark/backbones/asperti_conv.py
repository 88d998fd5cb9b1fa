"""The convolutional backbone of the paper on sparsity in VAEs."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from benchmark.backbones.checks import ImageShape, Init, wrong_shape
from benchmark.backbones.vae import VAE


class _Layer(NamedTuple):
    channels: int
    kernel: int
    stride: int
    norm: bool  # followed by BatchNorm and ReLU


# 1812.07238, figure 7: 28 -> 14 -> 14 -> 7 -> 4 -> 4 -> 2 -> 2 -> 1
LAYERS = (
    _Layer(16, 3, 2, norm=True),
    _Layer(32, 3, 1, norm=False),
    _Layer(32, 3, 2, norm=True),
    _Layer(32, 3, 2, norm=False),
    _Layer(32, 3, 1, norm=True),
    _Layer(32, 2, 2, norm=False),
    _Layer(32, 2, 1, norm=True),
    _Layer(32, 2, 2, norm=False),
)


@dataclass(frozen=True)
class AspertiConv:
    """The network of 1812.07238, figure 7: eight convolutions down to 1x1x32, some with BatchNorm and ReLU.

    The figure's last three "3x3" layers have 4128 = 32 * 32 * 4 + 32 parameters, as 2x2 kernels have; ours are 2x2. Our
    linear heads are its two 1x1 convolutions. The decoder reverses the encoder layer by layer, from 1x1x32. The paper
    does not give the momentum of BatchNorm; we use torch's default.
    """

    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for images [C, H, W] with sides of 25 to 32 pixels; the paper's are [1, 28, 28]."""
        in_channels, height, width = _check_sides(image_shape)
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        n_in, large = in_channels, (height, width)
        for index, layer in enumerate(LAYERS):
            small = (-(-large[0] // layer.stride), -(-large[1] // layer.stride))  # rounded up
            norm = _norm(n_in, LAYERS[index - 1]) if index else []  # as in the encoder
            encoder += _convolution(n_in, layer)
            decoder = [*_transposed(n_in, layer, small, large), *norm, *decoder]
            n_in, large = layer.channels, small
        decoder.insert(0, nn.Unflatten(1, (n_in, 1, 1)))
        return VAE(nn.Sequential(*encoder, nn.Flatten()), n_in, latent_dim, n_in, nn.Sequential(*decoder))


def _check_sides(shape: ImageShape) -> ImageShape:
    """Returns the shape. Raises InputError unless three halvings, rounded up, give 4x4."""
    if len(shape) != 3 or any(not 25 <= side <= 32 for side in shape[1:]):
        raise wrong_shape("asperti-conv", shape, "C x H x W with H and W of 25 to 32; use conv, geco-conv or mlp")
    return shape


def _norm(channels: int, layer: _Layer) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()] if layer.norm else []


def _pads_one_side(layer: _Layer) -> bool:
    """True for an even kernel of stride 1: it keeps the sides if one zero row and column are appended."""
    return layer.kernel == 2 and layer.stride == 1


def _convolution(n_in: int, layer: _Layer) -> list[nn.Module]:
    """Builds the layer from n_in channels. It divides the sides by its stride and rounds up."""
    convolution = nn.Conv2d(n_in, layer.channels, layer.kernel, layer.stride, padding=layer.kernel // 3)
    padding = [nn.ZeroPad2d((0, 1, 0, 1))] if _pads_one_side(layer) else []
    return [*padding, convolution, *_norm(layer.channels, layer)]


def _transposed(n_out: int, layer: _Layer, small: tuple[int, int], large: tuple[int, int]) -> list[nn.Module]:
    """Builds the reversed layer, to n_out channels and from sides `small` to `large`, without its BatchNorm."""
    kernel, stride, padding = layer.kernel, layer.stride, layer.kernel // 3
    if _pads_one_side(layer):
        return [nn.ConvTranspose2d(layer.channels, n_out, kernel), nn.ZeroPad2d((0, -1, 0, -1))]  # crops the end
    rows, columns = (b - ((a - 1) * stride - 2 * padding + kernel) for a, b in zip(small, large, strict=True))
    return [nn.ConvTranspose2d(layer.channels, n_out, kernel, stride, padding, output_padding=(rows, columns))]
