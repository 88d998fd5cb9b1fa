"""MNIST and FashionMNIST: idx files and their archives, without network."""

import gzip
import hashlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torchvision

from benchmark.datasets import load_dataset
from benchmark.datasets.archives import download
from benchmark.datasets.published import fashionmnist
from benchmark.errors import InputError
from benchmark.paths import data_root

CLASSES = {"mnist": torchvision.datasets.MNIST, "fashionmnist": fashionmnist.FashionMNIST}
both = pytest.mark.parametrize("name", CLASSES)
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def _raw(name: str) -> Path:
    return data_root() / CLASSES[name].__name__ / "raw"


def _write_idx(file: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


def _write_small(raw: Path) -> dict[str, np.ndarray]:
    """40 training and 10 test images in the official format."""
    rng = np.random.default_rng(0)
    written = {}
    for part, n in (("train", 40), ("t10k", 10)):
        written[f"{part}-images-idx3-ubyte"] = rng.integers(256, size=(n, 28, 28))
        written[f"{part}-labels-idx1-ubyte"] = np.arange(n) % 10
    for name, values in written.items():
        _write_idx(raw / name, values)
    return written


@both
@pytest.mark.usefixtures("no_network")
def test_idx_files_are_read(name: str) -> None:
    written = _write_small(_raw(name))
    dataset = load_dataset(name)
    assert dataset.name == name and dataset.image_shape == (1, 28, 28) and dataset.n_classes == 10
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (36, 4, 10)
    assert np.array_equal(dataset.train.images[:, 0].numpy(), written[IMAGES])
    assert np.array_equal(dataset.test.labels.numpy(), written["t10k-labels-idx1-ubyte"])


@both
def test_archives_are_fetched_checked_and_unpacked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def open_url(url: str) -> io.BytesIO:
        asked.append(url)
        response = io.BytesIO(archives[url.rpartition("/")[2]])
        response.headers = {}  # type: ignore[attr-defined]
        return response

    written = _write_small(tmp_path)
    archives = {f"{file}.gz": gzip.compress((tmp_path / file).read_bytes()) for file in written}
    resources = [(archive, hashlib.md5(content).hexdigest()) for archive, content in archives.items()]
    monkeypatch.setattr(download, "open_url", open_url)
    monkeypatch.setattr(CLASSES[name], "resources", resources)
    raw = _raw(name)
    raw.mkdir(parents=True)
    (raw / resources[0][0]).write_bytes(archives[resources[0][0]])  # put there by hand
    shutil.copy(tmp_path / resources[1][0].removesuffix(".gz"), raw)
    assert len(load_dataset(name).test) == 10
    assert [url.rpartition("/")[2] for url in asked] == [archive for archive, _ in resources[2:]]
    assert all(url.startswith("https://") for url in asked)
    assert all((raw / file).read_bytes() == (tmp_path / file).read_bytes() for file in written)

    (raw / resources[3][0]).write_bytes(b"no archive")
    (raw / resources[3][0].removesuffix(".gz")).unlink()
    with pytest.raises(InputError, match=f"{resources[3][0]} is truncated, damaged or another file: 10 bytes"):
        load_dataset(name)


def test_fashionmnist_is_fetched_over_https_with_torchvisions_checksums() -> None:
    assert all(mirror.startswith("https://") for mirror in fashionmnist.FashionMNIST.mirrors)
    assert fashionmnist.FashionMNIST.resources == torchvision.datasets.FashionMNIST.resources
    assert fashionmnist.FashionMNIST.__name__ == "FashionMNIST"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("file", [IMAGES, LABELS, "t10k-images-idx3-ubyte"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_damaged_file(file: str, damage: str) -> None:
    raw = _raw("mnist")
    _write_small(raw)
    content = (raw / file).read_bytes()
    (raw / file).write_bytes({"truncated": content[:-1], "empty": b"", "foreign": b"<html>" + content[6:]}[damage])
    with pytest.raises(InputError, match=f"{file} is truncated or no idx file.*replace it"):
        load_dataset("mnist")


@pytest.mark.usefixtures("no_network")
def test_files_that_do_not_match() -> None:
    raw = _raw("mnist")
    _write_small(raw)
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / LABELS)
    with pytest.raises(InputError, match="40 images but .*train-labels-idx1-ubyte 10 labels"):
        load_dataset("mnist")
    _write_idx(raw / LABELS, np.arange(40))
    with pytest.raises(InputError, match="train-labels-idx1-ubyte holds the label 39"):
        load_dataset("mnist")
