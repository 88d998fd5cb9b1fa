"""The papers' downloaded datasets, on small files that the tests write in the official format; no network."""

import io
import tarfile
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import torch
import torchvision
from official_formats import ARCHIVES, Archive, cifar_records, install, write_dsprites
from PIL import Image

from benchmark.datasets import load_dataset
from benchmark.datasets.archives import download
from benchmark.datasets.base import Dataset
from benchmark.datasets.published import cifar100, dsprites, shapes3d
from benchmark.errors import InputError
from benchmark.paths import cache_root, data_root

pytestmark = pytest.mark.usefixtures("no_network")


def _lengths(dataset: Dataset) -> list[int]:
    return [len(split) for split in (dataset.train, dataset.val, dataset.test)]


# --- what all have in common


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_is_read_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100, "N_TRAIN", 40)
    archive = install(name, monkeypatch)
    first = load_dataset(name)
    assert first.name == name and len(first.image_shape) == 3
    archive.unlink()  # the cache is enough now
    again = load_dataset(name)
    assert torch.equal(again.train.images, first.train.images) and again.fingerprint == first.fingerprint
    assert torch.equal(again.test.rows, first.test.rows)
    assert sorted(path.name for path in cache_root().glob(f"{name}/*/*")) == ["done.json", "images.npy"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(name, monkeypatch)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(InputError, match=f"{path} is truncated, damaged or another file.*delete it"):
        load_dataset(name)
    assert not list(cache_root().glob(f"{name}/*/*"))


MISSING = {
    "mnist": ("MNIST/raw/train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz of https://"),
    "fashionmnist": (
        "FashionMNIST/raw/train-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz of https://github.com/zalandoresearch/",
    ),
    "sprites": (
        "sprites/body/0.png",
        "https://raw.githubusercontent.com/YingzhenLi/Sprites/3ce4048c5227802bd8f1888e293fd3afdba91c0c/body/0.png",
        "body bottomwear topwear hair shoes of https://github.com/YingzhenLi/Sprites",
    ),
    **{name: (archive.module.ARCHIVE.path, archive.module.ARCHIVE.url) for name, archive in ARCHIVES.items()},
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_data_without_network(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(name)
    message, (path, *parts) = str(caught.value), MISSING[name]
    assert "\n" not in message
    for part in (f"{name}: found no {data_root() / path}", "LATENTBENCH_DATA", *parts):
        assert part in message
    assert ("plain http" if name == "cars3d" else "no route to host") in message
    assert "https://" in message or name == "cars3d"


# --- one by one


def test_eurosat(monkeypatch: pytest.MonkeyPatch) -> None:
    path = install("eurosat", monkeypatch)
    dataset = load_dataset("eurosat")
    assert dataset.image_shape == (3, 64, 64) and dataset.n_classes == 10
    assert _lengths(dataset) == [32, 4, 4]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent)
    official = torchvision.datasets.EuroSAT(data_root())
    images, labels = dataset.train.images, dataset.train.labels
    assert labels.tolist() == [label for _, label in official.samples]
    for image, (file, _) in zip(images, official.samples, strict=True):
        with Image.open(file) as expected:
            assert np.array_equal(image.permute(1, 2, 0), expected)


def test_cifar100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100, "N_TRAIN", 40)
    monkeypatch.setattr(cifar100, "BATCH", 16)
    install("cifar100", monkeypatch)
    dataset = load_dataset("cifar100")
    assert dataset.image_shape == (3, 64, 64) and dataset.n_classes == 100
    assert _lengths(dataset) == [36, 4, 10]
    for split, part in ((dataset.train, "train"), (dataset.test, "test")):
        records = cifar_records(part)
        assert split.labels.tolist() == records[:, 1].tolist()  # the fine label
        for image, record in zip(split.images, records, strict=True):
            small = Image.fromarray(record[2:].reshape(3, 32, 32).transpose(1, 2, 0))
            expected = np.asarray(small.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            assert abs(image.numpy().astype(int) - expected).max() <= 1


def test_cifar100_member_that_is_no_file() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as archive, pytest.raises(ValueError, match="folder is no file"):
        cifar100._member(archive, "folder")


def test_dsprites_never_unpickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsprites, "BATCH", 7)
    path = install("dsprites", monkeypatch)
    dataset = load_dataset("dsprites")
    assert not (data_root() / "trap").exists()
    assert dataset.image_shape == (1, 64, 64) and dataset.n_classes == 3
    assert _lengths(dataset) == [49, 5, 6]
    assert dataset.train.images.data_ptr() == dataset.val.images.data_ptr() == dataset.test.images.data_ptr()
    with np.load(path) as arrays:
        assert np.array_equal(dataset.train.images[:, 0], 255 * arrays["imgs"])
        assert dataset.train.labels.tolist() == arrays["latents_classes"][:, 1].tolist() == [0, 1, 2] * 20
    with np.load(path, allow_pickle=True) as arrays:
        arrays["metadata"]
    assert (data_root() / "trap").exists()  # the trap works


def test_dsprites_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsprites, "BATCH", 100)
    monkeypatch.setattr(download, "CHUNK_BYTES", 100_000)
    monkeypatch.setitem(ARCHIVES, "dsprites", Archive(dsprites, lambda: write_dsprites(4_000)))
    install("dsprites", monkeypatch)
    tracemalloc.start()
    try:
        dataset = load_dataset("dsprites")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset.train.images) == 4_000
    assert peak < 4_000 * 64 * 64 / 4


@pytest.mark.parametrize("images", [np.zeros((4, 64, 64)), np.zeros((4, 64), np.uint8), np.zeros((4, 4, 4), "u1", "F")])
def test_dsprites_of_another_format(images: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, images)
    file.seek(0)
    with pytest.raises(ValueError, match="expected uint8"):
        dsprites._read_header(file)


def test_shapes3d(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes3d, "BATCH", 10)
    path = install("shapes3d", monkeypatch)
    dataset = load_dataset("shapes3d")
    assert dataset.image_shape == (3, 64, 64) and dataset.n_classes == 4
    assert _lengths(dataset) == [49, 5, 6]
    with h5py.File(path) as file:
        assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1), file["images"][:])
        assert dataset.train.labels.tolist() == file["labels"][:, 4].astype(int).tolist()
        lengths = [len(batch) for batch in shapes3d._images(file["images"])]
        monkeypatch.setattr(shapes3d, "MAX_BATCH", 9)
        capped = [len(batch) for batch in shapes3d._images(file["images"])]
    assert lengths == [14, 14, 14, 14, 4]  # whole chunks of 7
    assert capped == [9, 9, 9, 9, 9, 9, 6]


def test_cars3d(monkeypatch: pytest.MonkeyPatch) -> None:
    install("cars3d", monkeypatch)
    dataset = load_dataset("cars3d")
    assert dataset.image_shape == (3, 64, 64) and dataset.n_classes == 3
    images, labels = dataset.train.images, dataset.train.labels
    assert labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    expected = [40 * car + 8 * azimuth + elevation for car in range(3) for elevation in range(4) for azimuth in (0, 1)]
    assert images[:, :2].float().std((1, 2, 3)).max() == 0
    assert images[:, 0, 0, 0].tolist() == expected
    inside = images[:, 2, 4:-4, 4:-4].float()  # a quarter of the pixels were white
    assert (inside - (torch.tensor(expected)[:, None, None] * 3 + 255) / 4).abs().max() <= 2
