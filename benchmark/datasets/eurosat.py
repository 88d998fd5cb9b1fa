"""EuroSAT (Helber et al., 2019): satellite images of ten kinds of land."""

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.datasets.base import Dataset, split_dataset
from benchmark.datasets.download import RemoteFile, fetch
from benchmark.datasets.image_cache import cached_images, write_images
from benchmark.datasets.paths import cache_folder

# The file, the address and the MD5 of torchvision's EuroSAT.
ARCHIVE = RemoteFile(
    "eurosat/EuroSAT.zip",
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    "c8fa014336c82ac7804f0398fcb19387",
)
CACHE_VERSION = 1  # raise it when decoding changes
SIDE = 64
N_CLASSES = 10


def load() -> Dataset:
    """27,000 RGB images [N, 3, 64, 64] of 10 classes, memory-mapped.

    There is no official split: a tenth, drawn at random with a fixed seed, is the test split. The archive is
    downloaded if it is missing and read once; the decoded images stay in the cache (332 MB). Raises InputError if
    it cannot be had or its checksum is wrong.
    """
    stored = cached_images(cache_folder("eurosat", f"{CACHE_VERSION}-{ARCHIVE.checksum}"), _decode)
    return split_dataset("eurosat", stored.images, stored.labels, N_CLASSES, stored.fingerprint)


def _decode(cache: Path) -> None:
    """The archive holds 2750/CLASS/CLASS_NUMBER.jpg; the labels number the sorted class folders."""
    with zipfile.ZipFile(fetch("eurosat", ARCHIVE)) as archive:
        names = sorted((name for name in archive.namelist() if name.endswith(".jpg")), key=_class_and_name)
        classes = [_class_and_name(name)[0] for name in names]
        numbers = {kind: number for number, kind in enumerate(sorted(set(classes)))}
        shape = (len(names), 3, SIDE, SIDE)
        write_images(cache, shape, [numbers[kind] for kind in classes], _images(archive, names))


def _class_and_name(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return path.parent.name, path.name


def _images(archive: zipfile.ZipFile, names: list[str]) -> Iterator[NDArray[np.uint8]]:
    for name in names:
        with archive.open(name) as file, Image.open(file) as image:
            yield np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]  # [1, 3, H, W]
