"""Sprites (Li & Mandt, 2018): videos of game characters, composed from the Liberated Pixel Cup sheets.

The sheets are licensed CC-BY-SA 3.0 or GPL 3.0. The user downloads them; this package does not contain them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.datasets.archives.download import fetch
from benchmark.datasets.archives.image_cache import cached_images, write_images
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.datasets.published.sprite_sheets import COMMIT, LAYERS, REPOSITORY, SHEETS, SHEETS_DIGEST
from benchmark.errors import InputError
from benchmark.paths import cache_folder, data_root

CACHE_VERSION = 1  # raise it when composing changes
SIDE = 64  # of a cell, in pixels
# action: the first cell of each direction (front, left, right), and the offsets of frames 0 to 7 from it
ACTIONS = {
    "walk": ((131, 118, 144), (7, 0, 1, 2, 3, 4, 5, 6)),
    "spellcard": ((26, 13, 39), (0, 1, 2, 3, 4, 5, 4, 6)),
    "slash": ((182, 169, 195), (0, 1, 2, 3, 4, 5, 4, 0)),
}
# [9, 8]: the cell of each frame, one row per action and direction; the row number is the label
FRAMES = np.array([[start + offset for offset in offsets] for starts, offsets in ACTIONS.values() for start in starts])
CELLS, FRAME_TO_CELL = np.unique(FRAMES, return_inverse=True)  # [63]: the cells in use; [9, 8]: positions in CELLS
N_CLASSES, N_FRAMES = FRAMES.shape


def load() -> Dataset:
    """Loads 11,664 RGB videos [N, 3, 8, 64, 64] of 1,296 characters, memory-mapped.

    The label is the action and direction: 3 * (walk, spellcard, slash) + (front, left, right), 9 classes. There is no
    official split (see `split_dataset`): a character has videos in several splits. Reads
    data_root()/sprites/LAYER/NUMBER.png, downloads missing sheets and composes the videos once; the cache keeps them
    (1.15 GB). Raises InputError if a sheet cannot be downloaded or its checksum is wrong.
    """
    stored = cached_images(cache_folder("sprites", f"{CACHE_VERSION}-{SHEETS_DIGEST}"), _decode)
    return split_dataset("sprites", stored.images, stored.labels, N_CLASSES, stored.fingerprint)


def _decode(cache: Path) -> None:
    layers = [[needed_cells(Image.open(path)) for path in _fetch_sheets(layer)] for layer in LAYERS]
    n_characters = int(np.prod([len(layer) for layer in layers]))
    shape = (n_characters * N_CLASSES, 3, N_FRAMES, SIDE, SIDE)
    write_images(cache, shape, list(range(N_CLASSES)) * n_characters, characters(layers))


def _fetch_sheets(layer: str) -> list[Path]:
    try:
        return [fetch("sprites", sheet) for sheet in SHEETS[layer]]
    except InputError as error:
        raise InputError(
            f"{error}; all sheets: the folders {' '.join(LAYERS)} of {REPOSITORY} at commit {COMMIT} belong in "
            f"{data_root() / 'sprites'}"
        ) from error


def needed_cells(sheet: Image.Image) -> Image.Image:
    """Cuts the cells that the videos show out of a sheet, whose cells count row by row, and stacks them (RGBA)."""
    with sheet:
        pixels = np.asarray(sheet.convert("RGBA"))
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    cells = pixels.reshape(rows, SIDE, columns, SIDE, 4).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 4)
    return Image.fromarray(cells[CELLS].reshape(-1, SIDE, 4))


def characters(layers: Sequence[Sequence[Image.Image]]) -> Iterator[NDArray[np.uint8]]:
    """Yields the videos [9, 3, 8, 64, 64] of every character: every choice of one sheet per layer, on black.

    layers: from bottom to top, each sheet from `needed_cells`. The last layer varies fastest.
    """
    black = Image.new("RGBA", layers[0][0].size, "black")
    for character in _composed(black, layers):
        cells = np.asarray(character).reshape(-1, SIDE, SIDE, 4)[..., :3].transpose(0, 3, 1, 2)  # [63, 3, 64, 64]
        yield cells[FRAME_TO_CELL].swapaxes(1, 2)  # [9, 8, 3, 64, 64] to [9, 3, 8, 64, 64]


def _composed(below: Image.Image, layers: Sequence[Sequence[Image.Image]]) -> Iterator[Image.Image]:
    if not layers:
        yield below
        return
    for sheet in layers[0]:
        yield from _composed(Image.alpha_composite(below, sheet), layers[1:])
