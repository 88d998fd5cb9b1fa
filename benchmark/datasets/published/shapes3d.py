"""3D Shapes (Burgess & Kim, 2018): a shape in a room, one image per combination of six factors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.image_cache import cached_images, write_images
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.paths import cache_folder

# The authors publish no checksum; several public loaders check this MD5. We have not seen the file itself.
ARCHIVE = RemoteFile(
    "shapes3d/3dshapes.h5",
    "https://storage.googleapis.com/3d-shapes/3dshapes.h5",
    "099a2078d58cec4daad0702c55d06868",
)
CACHE_VERSION = 1  # raise it when decoding changes
SHAPE_FACTOR = 4  # the factors: floor hue, wall hue, object hue, scale, shape, orientation
N_CLASSES = 4
BATCH = 4096
MAX_BATCH = 20_000  # 246 MB


def load() -> Dataset:
    """Loads 480,000 RGB images [N, 3, 64, 64], memory-mapped; the label is the object's shape, 0 to 3.

    There is no official split; see `split_dataset`. Downloads the file if it is missing and decodes it once, in
    batches; the cache keeps the images (5.9 GB). Raises InputError if the file cannot be downloaded, its checksum is
    wrong or the disk is too small.
    """
    stored = cached_images(cache_folder("shapes3d", f"{CACHE_VERSION}-{ARCHIVE.checksum}"), _decode)
    return split_dataset("shapes3d", stored.images, stored.labels, N_CLASSES, stored.fingerprint)


def _decode(cache: Path) -> None:
    with h5py.File(fetch("shapes3d", ARCHIVE), "r") as file:
        images = file["images"]
        labels = np.rint(file["labels"][:, SHAPE_FACTOR]).astype(np.int64)
        n_images, height, width, channels = images.shape
        write_images(cache, (n_images, channels, height, width), labels.tolist(), _images(images))


def _images(images: Any) -> Iterator[NDArray[np.uint8]]:
    """Yields batches [n, C, H, W] of whole compressed chunks if memory allows: a split chunk is decompressed twice."""
    chunk = images.chunks[0] if images.chunks else BATCH
    batch = min(-(-BATCH // chunk) * chunk, MAX_BATCH)
    for start in range(0, len(images), batch):
        yield images[start : start + batch].transpose(0, 3, 1, 2)  # [n, H, W, C] to [n, C, H, W]
