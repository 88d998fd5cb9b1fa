"""dSprites (Matthey et al., 2017): white shapes on black, one image per combination of six factors."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.image_cache import cached_images, write_images
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.paths import cache_folder

# The authors publish no checksum; several public loaders check this MD5. We have not seen the file itself.
ARCHIVE = RemoteFile(
    "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "https://github.com/google-deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "7da33b31b13a06f4b04a70402ce90c2e",
)
CACHE_VERSION = 1  # raise it when decoding changes
SHAPE_FACTOR = 1  # the factors: colour, shape, scale, orientation, x, y
N_CLASSES = 3
BATCH = 4096


def load() -> Dataset:
    """Loads 737,280 images [N, 1, 64, 64] of 0 and 255, memory-mapped; the label is the shape: square, ellipse, heart.

    There is no official split; see `split_dataset`. Downloads the archive if it is missing and decodes it once, in
    batches; the cache keeps the images (3.0 GB). Raises InputError if the archive cannot be downloaded, its checksum is
    wrong or the disk is too small.
    """
    stored = cached_images(cache_folder("dsprites", f"{CACHE_VERSION}-{ARCHIVE.checksum}"), _decode)
    return split_dataset("dsprites", stored.images, stored.labels, N_CLASSES, stored.fingerprint)


def _decode(cache: Path) -> None:
    """Reads only the keys imgs and latents_classes: the key metadata is a pickle, which we never load."""
    path = fetch("dsprites", ARCHIVE)
    with np.load(path, allow_pickle=False) as arrays:
        labels = arrays["latents_classes"][:, SHAPE_FACTOR].tolist()
    with zipfile.ZipFile(path) as archive, archive.open("imgs.npy") as file:
        n_images, height, width = _read_header(file)
        write_images(cache, (n_images, 1, height, width), labels, _images(file, height, width))


def _read_header(file: IO[bytes]) -> tuple[int, ...]:
    """Reads the shape of the array, uint8 in C order, from an npy file; the file is then at the array's first byte."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"got an npy file of version {version}, expected (1, 0)")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype != np.uint8 or len(shape) != 3:
        raise ValueError(f"got images {dtype} {shape}, expected uint8 [N, H, W] in C order")
    return shape


def _images(file: IO[bytes], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    while content := file.read(BATCH * height * width):
        yield np.frombuffer(content, np.uint8).reshape(-1, 1, height, width) * np.uint8(255)
