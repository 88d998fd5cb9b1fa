"""FashionMNIST from its four idx files, by torchvision."""

from typing import ClassVar

import torchvision

from benchmark.datasets.base import Dataset
from benchmark.datasets.published.mnist import load_idx


class FashionMNIST(torchvision.datasets.FashionMNIST):  # type: ignore[misc]
    """torchvision's class with its files and MD5s, but downloads from the authors' repository, which offers https.

    The class's name is the folder's: data_root()/FashionMNIST/raw.
    """

    mirrors: ClassVar[list[str]] = ["https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"]


def load() -> Dataset:
    """Loads 70,000 grey images [N, 1, 28, 28] of 10 kinds of clothes; the test split is the official 10,000.

    Reads data_root()/FashionMNIST/raw/*-ubyte, which may be read-only, and downloads missing files. Raises InputError
    if that fails, or if a file is not a complete idx file.
    """
    return load_idx("fashionmnist", FashionMNIST)
