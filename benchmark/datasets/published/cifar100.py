"""CIFAR-100, upscaled as GECO's paper does (2003.10901, section IV)."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.extracted import cached_archive
from benchmark.datasets.archives.image_cache import write_images
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.errors import InputError
from benchmark.paths import data_root

# The binary version, with the MD5 from its web page. The python version consists of pickles, which we never load.
ARCHIVE = RemoteFile(
    "cifar100/cifar-100-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
)
CACHE_VERSION = 1  # raise it when decoding changes
FOLDER = "cifar-100-binary"  # in the archive
FILES = ("train.bin", "test.bin")
N_TRAIN, N_TEST = 50_000, 10_000
N_CLASSES = 100
SIDE = 32
RECORD = 2 + 3 * SIDE * SIDE  # bytes: coarse label, fine label, then the red, green and blue planes, row by row
SCALE = 2
BATCH = 1000


def load() -> Dataset:
    """Loads 60,000 RGB images [N, 3, 64, 64], memory-mapped, in 100 classes; the test split is the official 10,000.

    The label is the fine class. The 32x32 images are upscaled bilinearly; the paper gives the size but not the method.
    Decodes the binary archive once, or train.bin and test.bin extracted from it to cifar-100-binary in data_root() or
    data_root()/cifar100, and downloads the archive if both are missing. The cache keeps the upscaled images (737 MB).
    Raises InputError if the archive cannot be downloaded, its checksum is wrong or an extracted file is incomplete.
    """
    folders = [data_root() / "cifar100" / FOLDER, data_root() / FOLDER]
    stored = cached_archive(ARCHIVE, CACHE_VERSION, _decode, folders, _list_extracted, _decode_files)
    images, labels = stored.images, stored.labels
    return make_dataset(
        "cifar100",
        images[:N_TRAIN],
        labels[:N_TRAIN],
        images[N_TRAIN:],
        labels[N_TRAIN:],
        N_CLASSES,
        stored.fingerprint,
    )


def _list_extracted(folder: Path) -> list[Path]:
    """Lists both files. Raises InputError unless they are as large as in the archive."""
    files = [folder / name for name in FILES]
    for file, n_images in zip(files, (N_TRAIN, N_TEST), strict=True):
        got = f"{file.stat().st_size:,} bytes" if file.is_file() else "no such file"
        if got != f"{n_images * RECORD:,} bytes":
            raise InputError(
                f"cifar100: {file}: {got}, expected {n_images * RECORD:,} bytes; extract "
                f"{Path(ARCHIVE.path).name} there again, or remove the folder to download it"
            )
    return files


def _decode(cache: Path) -> None:
    with tarfile.open(fetch("cifar100", ARCHIVE)) as archive:
        _write(cache, b"".join(_member(archive, f"{FOLDER}/{name}") for name in FILES))


def _decode_files(cache: Path, files: list[Path]) -> None:
    _write(cache, b"".join(file.read_bytes() for file in files))


def _write(cache: Path, content: bytes) -> None:
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    shape = (len(records), 3, SCALE * SIDE, SCALE * SIDE)
    write_images(cache, shape, records[:, 1].tolist(), _upscaled(records[:, 2:]))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file in {archive.name!r}")
    with file:
        return file.read()


def _upscaled(planes: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Upscales planes [N, 3 * 32 * 32]. The weights are multiples of 1/16, so float32 is exact on every machine."""
    for start in range(0, len(planes), BATCH):
        small = torch.from_numpy(planes[start : start + BATCH].astype(np.float32)).reshape(-1, 3, SIDE, SIDE)
        large = functional.interpolate(small, scale_factor=SCALE, mode="bilinear", align_corners=False)
        yield large.round().to(torch.uint8).numpy()
