"""MNIST from its four idx files, by torchvision."""

import gzip
import math
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.errors import InputError
from benchmark.paths import data_root
from benchmark.store.atomic_files import replacing

PARTS = ("train", "t10k")
N_CLASSES = 10


def load() -> Dataset:
    """Loads 70,000 grey images [N, 1, 28, 28] of the digits 0-9; the test split is the official 10,000.

    Reads data_root()/MNIST/raw/*-ubyte, which may be read-only, and downloads missing files. Raises InputError if that
    fails, or if a file is not a complete idx file.
    """
    return load_idx("mnist", torchvision.datasets.MNIST)


def load_idx(name: str, source: Any) -> Dataset:
    """Loads a dataset of 10 classes in MNIST's file layout with the torchvision class `source`."""
    raw = data_root() / source.__name__ / "raw"
    if not all((raw / file).is_file() for file in _file_names()):
        _download_missing(name, source, raw)
    train, test = (_read(source, raw, part) for part in PARTS)
    return make_dataset(name, *train, *test, n_classes=N_CLASSES)


def _file_names() -> list[str]:
    return [f"{part}-{kind}-ubyte" for part in PARTS for kind in ("images-idx3", "labels-idx1")]


def _read(source: Any, raw: Path, part: str) -> tuple[Tensor, Tensor]:
    """Reads the images, uint8 [N, 1, H, W], and the labels, int64 [N], of one part."""
    image_file, label_file = (raw / file for file in _file_names() if file.startswith(part))
    n_images, n_labels = _check_idx(image_file, 3), _check_idx(label_file, 1)
    if n_images != n_labels:
        raise InputError(f"{image_file} holds {n_images} images but {label_file} {n_labels} labels; replace both")
    part_data = source(raw.parent.parent, train=part == "train")
    images: Tensor = part_data.data
    labels: Tensor = part_data.targets
    if int(labels.max()) >= N_CLASSES:
        raise InputError(f"{label_file} holds the label {int(labels.max())}, expected 0 to 9; replace it")
    return images.unsqueeze(1), labels


def _check_idx(file: Path, dims: int) -> int:
    """Counts the items of an idx file: magic number, `dims` sizes (big-endian, 32 bits), then one byte per value."""
    header_size = 4 * (1 + dims)
    with file.open("rb") as stream:
        header = stream.read(header_size)
    magic, *sizes = (int.from_bytes(header[i : i + 4], "big") for i in range(0, header_size, 4))
    expected, got = header_size + math.prod(sizes), file.stat().st_size
    if magic != 0x800 + dims or got != expected or 0 in sizes:
        raise InputError(
            f"{file} is truncated or no idx file: {got} bytes, magic number {magic}, where the header asks for "
            f"{expected} bytes and magic number {0x800 + dims}; delete it to download it again, or replace it"
        )
    return sizes[0]


def _download_missing(name: str, source: Any, raw: Path) -> None:
    """Downloads the archives of missing files, verifies them with torchvision's MD5s and unpacks them."""
    mirror = next(mirror for mirror in source.mirrors if mirror.startswith("https://"))
    try:
        for archive, checksum in source.resources:
            target = raw / archive.removesuffix(".gz")
            if not target.is_file():
                packed = fetch(name, RemoteFile(f"{source.__name__}/raw/{archive}", mirror + archive, checksum))
                with gzip.open(packed) as content, replacing(target) as partial:
                    partial.write_bytes(content.read())
    except (InputError, OSError) as error:
        archives = " ".join(archive for archive, _ in source.resources)
        raise InputError(f"{error}; {name} takes {archives} of {mirror}, unpacked or not, in {raw}") from error
