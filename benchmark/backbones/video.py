"""ALD-VAE's backbone for videos, modelled on the encoder and decoder of VideoGPT's VQ-VAE."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from benchmark.backbones.checks import ImageShape, Init, Width, wrong_shape
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE

DOWNSAMPLE = (2, 4, 4)
STRIDES = ((2, 2, 2), (1, 2, 2))  # of the two strided convolutions; DOWNSAMPLE is their product
MAX_BLOCKS = 64


class AxialAttention(nn.Module):
    """The sum of multi-head self-attention along T, H and W. Each line along an axis attends only to itself.

    There are no biases: a key's bias cancels in the softmax, an output's in the BatchNorm that always follows.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 9 * channels, bias=False)  # query, key and value for each axis
        self.out = nn.Linear(3 * channels, channels, bias=False)  # one output layer per axis, summed

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B, C, T, H, W] to the same shape."""
        qkv = self.qkv(x.movedim(1, -1)).unflatten(-1, (3, 3, self.heads, -1))  # [B, T, H, W, axis, qkv, heads, D]
        mixed = [self._attend_along(axis, axis_qkv) for axis, axis_qkv in enumerate(qkv.unbind(4))]
        y: Tensor = self.out(torch.cat(mixed, -1))
        return y.movedim(-1, 1)

    def _attend_along(self, axis: int, qkv: Tensor) -> Tensor:
        """Attention along one axis: maps [B, T, H, W, qkv, heads, D] to mixed values [B, T, H, W, C]."""
        lines = qkv.movedim((4, 5, axis + 1), (0, 2, 5))  # [qkv, B, heads, P, Q, L, D]: L is the axis, P and Q others
        # Lines count as heads. As a batch they would exceed 65,535, the limit of CUDA's attention kernels.
        q, k, v = lines.flatten(2, 4)  # [B, heads * P * Q, L, D] each
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v)
        mixed = mixed.unflatten(1, lines.shape[2:5])  # [B, heads, P, Q, L, D]
        return mixed.movedim((4, 1), (axis + 1, 4)).flatten(4)


class AttentionResidualBlock(nn.Module):
    """Adds two convolutions with a bottleneck, followed by axial attention, to the input.

    From 2104.10157, figure 4. Order, bottleneck (half the channels) and BatchNorm are those of its released code.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        narrow = channels // 2
        self.body = nn.Sequential(
            *(nn.BatchNorm3d(channels), nn.ReLU(), nn.Conv3d(channels, narrow, 3, padding=1, bias=False)),
            *(nn.BatchNorm3d(narrow), nn.ReLU(), nn.Conv3d(narrow, channels, 1, bias=False)),
            *(nn.BatchNorm3d(channels), nn.ReLU(), AxialAttention(channels, heads)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B, C, T, H, W] to the same shape."""
        change: Tensor = self.body(x)
        return x + change


@dataclass(frozen=True)
class Video:
    """ALD-VAE's Sprites network (2312.06280, section 4.1), "adapted from VideoGPT" and not described further.

    From VideoGPT (2104.10157, section 3.1 and table 8): 3x3x3 strided convolutions, here down by 2x4x4, then residual
    blocks with axial attention; the decoder reverses this with transposed convolutions of kernel 4. As in its released
    code, BatchNorm replaces the paper's LayerNorm, and there are no position encodings. VideoGPT has 240 channels,
    4 blocks and 2 heads; our smaller defaults suit one CPU core. In place of VideoGPT's codebook we have a 1x1x1
    convolution to `code_channels` and back, so that the dense layers do not see all channels of the 4x16x16 grid.
    """

    channels: Width = 32
    n_blocks: Annotated[int, Ge(0), Le(MAX_BLOCKS)] = 2
    heads: Width = 2
    code_channels: Width = 8
    hidden: Width = 256
    init: Init = "torch"

    def __post_init__(self) -> None:
        if self.channels < 2 or self.channels % self.heads:
            raise ValueError(
                f"channels is {self.channels} with {self.heads} heads; expected a multiple of heads, at least 2"
            )

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for videos [C, T, H, W]; T is a multiple of 2, H and W are multiples of 4."""
        in_channels, *grid = _check_video(image_shape)
        c, code, h = self.channels, self.code_channels, self.hidden
        shape = (code, *grid)
        encoder: list[nn.Module] = []
        for n_in, stride in zip((in_channels, c), STRIDES, strict=True):
            encoder += [nn.Conv3d(n_in, c, 3, stride=stride, padding=1), nn.ReLU()]
        encoder += [nn.Conv3d(c, c, 3, padding=1, bias=False), *self._blocks(), nn.Conv3d(c, code, 1)]
        encoder += [nn.Flatten(), Linear(math.prod(shape), h), nn.ReLU()]

        decoder: list[nn.Module] = [nn.ReLU(), Linear(h, math.prod(shape)), nn.Unflatten(1, shape)]
        decoder += [nn.Conv3d(code, c, 1, bias=False), *self._blocks()]
        for n_out, stride in zip((c, in_channels), STRIDES[::-1], strict=True):
            kernel = (stride[0] + 2, stride[1] + 2, stride[2] + 2)  # 4 doubles a side, 3 keeps it
            decoder += [nn.ConvTranspose3d(c, n_out, kernel, stride=stride, padding=1), nn.ReLU()]
        return VAE(nn.Sequential(*encoder), h, latent_dim, h, nn.Sequential(*decoder[:-1]))

    def _blocks(self) -> list[nn.Module]:
        blocks = [AttentionResidualBlock(self.channels, self.heads) for _ in range(self.n_blocks)]
        return [*blocks, nn.BatchNorm3d(self.channels), nn.ReLU()]


def _check_video(shape: ImageShape) -> tuple[int, ...]:
    """Returns C and the grid to which the encoder reduces T, H and W. Raises InputError for other shapes."""
    if len(shape) != 4 or min(shape) < 1 or any(side % by for side, by in zip(shape[1:], DOWNSAMPLE, strict=True)):
        expected = "C x T x H x W with T a multiple of 2, H and W of 4; choose another backbone, mlp takes any shape"
        raise wrong_shape("video", shape, expected)
    return (shape[0], *(side // by for side, by in zip(shape[1:], DOWNSAMPLE, strict=True)))
