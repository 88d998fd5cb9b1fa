"""The "counting tiles" problem of Asperti's paper (1812.07238, section V)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.datasets.base import Dataset, make_dataset

SIDE = 28
TILE = 4
MAX_TILES = 3
N_TRAIN, N_TEST = 10_000, 2_000
SEED = 0


def load() -> Dataset:
    """12,000 black images [N, 1, 28, 28] with one to three white 4x4 tiles that do not overlap.

    The label is the number of tiles less one, 0 to 2 (3 classes).
    """
    images, labels = _generate(N_TRAIN + N_TEST, np.random.default_rng(SEED))
    return make_dataset(
        "tiles", images[:N_TRAIN], labels[:N_TRAIN], images[N_TRAIN:], labels[N_TRAIN:], n_classes=MAX_TILES
    )


def _generate(n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 28, 28] uint8 and labels [n] int64."""
    labels = rng.integers(MAX_TILES, size=n)
    drawn = np.arange(MAX_TILES) <= labels[:, None]  # [n, 3], whether the tile is drawn
    corners = rng.integers(SIDE - TILE + 1, size=(n, MAX_TILES, 2))
    while len(clashing := np.flatnonzero(_overlap(corners, drawn))):
        corners[clashing] = rng.integers(SIDE - TILE + 1, size=(len(clashing), MAX_TILES, 2))
    image, tile = np.nonzero(drawn)
    inside = np.arange(TILE)
    rows = corners[image, tile, 0, None, None] + inside[:, None]  # [tiles, 4, 1]
    columns = corners[image, tile, 1, None, None] + inside  # [tiles, 1, 4]
    images = np.zeros((n, 1, SIDE, SIDE), np.uint8)
    images[image[:, None, None], 0, rows, columns] = 255
    return torch.from_numpy(images), torch.from_numpy(labels)


def _overlap(corners: NDArray[np.int64], drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether any two drawn tiles of an image overlap, [n], from corners [n, 3, 2] and drawn [n, 3]."""
    clash = np.zeros(len(corners), np.bool_)
    for first in range(MAX_TILES):
        for second in range(first + 1, MAX_TILES):
            near = (abs(corners[:, first] - corners[:, second]) < TILE).all(axis=1)
            clash |= near & drawn[:, second]  # the tiles drawn come first
    return clash
