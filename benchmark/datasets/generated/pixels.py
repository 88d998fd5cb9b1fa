"""From generated pixels in [0, 1] to a dataset: noise, bytes, splits; and the types of the options of such datasets."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from benchmark.datasets.base import Dataset, split_dataset

Images = Annotated[int, Ge(100), Le(100_000)]
Noise = Annotated[float, Ge(0), Le(0.5)]  # standard deviation of what is added to each pixel in [0, 1]
TEST_SHARE = 7  # one image of so many is a test image
NOISE_SEED = 1


def generated(
    name: str, pixels: Tensor, side: int, labels: Tensor, n_classes: int, noise: float, truth: tuple[int, int]
) -> Dataset:
    """Makes a dataset of pixels, float64 [N, side * side], and labels, int64 [N]; the last seventh is the test split.

    noise: see `Noise`; what leaves [0, 1] is cut off. truth: see `Dataset`. Pixels are in double precision, so that the
    rounded bytes do not depend on the order in which a machine sums.
    """
    if noise:
        generator = torch.Generator().manual_seed(NOISE_SEED)
        pixels = pixels + noise * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    images = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).reshape(-1, 1, side, side)
    rest, test = torch.arange(len(images)).tensor_split([len(images) - len(images) // TEST_SHARE])
    return split_dataset(name, images, labels, n_classes, train_test=(rest, test), truth=truth)
