"""Images side by side."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # [N, H, W, 3]
Pixel = TypeVar("Pixel", np.uint8, np.float32)


def to_rgb(images: Images) -> Images:
    """[N, C, H, W] -> [N, H, W, 3]; of a video [N, C, T, H, W] the middle frame; one channel becomes grey."""
    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]  # [N, C, T, H, W] -> [N, C, H, W]
    channels = images[:, :3] if images.shape[1] >= 3 else images[:, :1].repeat(3, axis=1)
    return channels.transpose(0, 2, 3, 1)  # [N, 3, H, W] -> [N, H, W, 3]


def gap_of(images: Images) -> int:
    """White pixels between images of this width that are seen at any size."""
    return max(1, int(images.shape[2]) // 24)


def mosaic(images: NDArray[Pixel], across: int, gap: int = 0) -> NDArray[Pixel]:
    """[N, H, W] or [N, H, W, 3] -> one image: lines of `across` images, with `gap` white pixels between them.

    White is 255 of integers and 1 of floats; a last line that is not full ends in it.
    """
    white = 255 if images.dtype == np.uint8 else 1
    colours: tuple[int, ...] = images.shape[3:]
    pads = [(0, -len(images) % across), (0, gap), (0, gap), *[(0, 0) for _ in colours]]
    padded = np.pad(images, pads, constant_values=white)
    height, width = padded.shape[1:3]
    lines = padded.reshape(-1, across, height, width, *colours).swapaxes(1, 2)  # [lines, H, across, W, ...]
    whole = lines.reshape(len(lines) * height, across * width, *colours)
    return whole[: len(whole) - gap, : whole.shape[1] - gap]
