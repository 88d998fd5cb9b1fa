"""Extracted files of official archives, here small ones, give the same data as the archives."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from official_formats import install

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset
from benchmark.datasets.published import cars3d, cifar100, eurosat
from benchmark.errors import InputError
from benchmark.paths import cache_root, data_root

PLACES = {
    "eurosat": ("eurosat", "eurosat/2750"),
    "cifar100": ("cifar100", "cifar100/cifar-100-binary"),
    "cifar100 beside": (".", "cifar-100-binary"),
    "cars3d": ("cars3d", "cars3d/data/cars"),
}


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expects as many files and bytes as the small archives have."""
    monkeypatch.setattr(eurosat, "COUNTS", dict.fromkeys(eurosat.COUNTS, 4))
    monkeypatch.setattr(cifar100, "N_TRAIN", 40)
    monkeypatch.setattr(cifar100, "N_TEST", 10)
    monkeypatch.setattr(cars3d, "N_CARS", 3)


def _both(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Dataset, Dataset, Path]:
    """Loads the archive, then its extracted files with an empty cache; returns both datasets and the folder."""
    _small(monkeypatch)
    name, (extract_to, folder) = place.split()[0], PLACES[place]
    archive = install(name, monkeypatch)
    first = load_dataset(name)
    content = archive.read_bytes()
    archive.unlink()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            packed.extractall(data_root() / extract_to)
    else:
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            packed.extractall(data_root() / extract_to, filter="data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    return first, load_dataset(name), data_root() / folder


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("place", PLACES)
def test_extracted_files_are_the_archives_data(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second, folder = _both(place, monkeypatch, tmp_path)
    assert second.fingerprint == first.fingerprint and second.description == first.description
    for part in ("train", "val", "test"):
        one, other = getattr(first, part), getattr(second, part)
        assert torch.equal(one.images[one.rows], other.images[other.rows])
        assert torch.equal(one.labels[one.rows], other.labels[other.rows])
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".npy"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "place, changes, message",
    [
        (
            "eurosat",
            {"River/River_1.jpg": None, **{f"Forest/Forest_{number}.jpg": None for number in (1, 2, 3, 4)}},
            r"eurosat/2750 holds 0 of 4 Forest, 3 of 4 River images; expected 40 \.jpg files in 10 class folders; "
            r"extract EuroSAT\.zip there again, or remove the folder to download it",
        ),
        ("eurosat", {"River/River_1.jpg": b""}, r"River_1\.jpg cannot be read .*; replace it"),
        ("eurosat", {"../EuroSAT.zip": b"preferred"}, r"EuroSAT\.zip is truncated, damaged or another file"),
        ("cifar100", {"test.bin": None}, r"test\.bin: no such file, expected 30,740 bytes; extract cifar-100-binary"),
        ("cars3d", {"car_001_mesh.mat": None}, r"holds 2 \.mat files, expected 3; extract nips2015-analogy-data"),
    ],
)
def test_missing_and_broken_files_are_said(
    place: str, changes: dict[str, bytes | None], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, _, folder = _both(place, monkeypatch, tmp_path)
    shutil.rmtree(tmp_path / "other-cache")
    for name, content in changes.items():
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_dataset(place)


def test_the_official_numbers() -> None:
    assert list(eurosat.COUNTS) == sorted(eurosat.COUNTS)
    assert list(eurosat.COUNTS.values()) == [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
    assert (cifar100.N_TRAIN * cifar100.RECORD, cifar100.N_TEST * cifar100.RECORD) == (153_700_000, 30_740_000)
    assert cars3d.N_CARS * 24 * 4 == 17_568


@pytest.mark.usefixtures("no_network")
def test_a_decoded_archive_needs_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    _small(monkeypatch)
    archive = install("eurosat", monkeypatch)
    first = load_dataset("eurosat").fingerprint
    archive.unlink()
    (archive.parent / "2750").mkdir()  # an empty folder, which is not read
    assert load_dataset("eurosat").fingerprint == first and cache_root().is_dir()
