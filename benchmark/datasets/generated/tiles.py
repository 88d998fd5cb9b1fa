"""The "counting tiles" problem of Asperti's paper (1812.07238, section V)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.datasets.base import Dataset, split_dataset

SIDE = 28
TILE = 4
MAX_TILES = 3
N_TRAIN, N_TEST = 10_000, 2_000
SEED = 0


def load() -> Dataset:
    """Generates 12,000 black images [N, 1, 28, 28] with one to three white 4x4 tiles that do not overlap.

    The label is the number of tiles minus one, 0 to 2 (3 classes).
    """
    images, labels = _generate(N_TRAIN + N_TEST, np.random.default_rng(SEED))
    rest, test = torch.arange(len(images)).split([N_TRAIN, N_TEST])
    return split_dataset("tiles", images, labels, n_classes=MAX_TILES, train_test=(rest, test))


def _generate(n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Generates images, uint8 [n, 1, 28, 28], and labels, int64 [n]."""
    labels = rng.integers(MAX_TILES, size=n)
    drawn = np.arange(MAX_TILES) <= labels[:, None]  # [n, 3], True for tiles that are drawn
    corners = rng.integers(SIDE - TILE + 1, size=(n, MAX_TILES, 2))
    while len(overlapping := np.flatnonzero(_overlap(corners, drawn))):
        corners[overlapping] = rng.integers(SIDE - TILE + 1, size=(len(overlapping), MAX_TILES, 2))
    image, tile = np.nonzero(drawn)
    offsets = np.arange(TILE)
    rows = corners[image, tile, 0, None, None] + offsets[:, None]  # [tiles, 4, 1]
    columns = corners[image, tile, 1, None, None] + offsets  # [tiles, 1, 4]
    images = np.zeros((n, 1, SIDE, SIDE), np.uint8)
    images[image[:, None, None], 0, rows, columns] = 255
    return torch.from_numpy(images), torch.from_numpy(labels)


def _overlap(corners: NDArray[np.int64], drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True for images in which two drawn tiles overlap, [n]. corners: [n, 3, 2]. drawn: [n, 3]."""
    overlap = np.zeros(len(corners), np.bool_)
    for first in range(MAX_TILES):
        for second in range(first + 1, MAX_TILES):
            near = (abs(corners[:, first] - corners[:, second]) < TILE).all(axis=1)
            overlap |= near & drawn[:, second]  # if the second is drawn, so is the first
    return overlap
