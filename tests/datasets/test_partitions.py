"""The partition of a dataset into splits follows from the seed; partition 0 is the one that the loader makes."""

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.config.protocol import N_PARTITIONS
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split, copy_splits, make_dataset, split_dataset

IMAGES = torch.arange(200, dtype=torch.uint8).reshape(200, 1, 1, 1)
LABELS = torch.arange(200) % 3
META = torch.device("meta")
# Of the loaded splits' images and labels, in their order, from before there were partitions.
LOADED = {
    "digits": ["6dc67ec6f7aa", "05c7ef2f4c48", "a2fc2790f951"],
    "manifold": ["1a5d3b313dbb", "65a925a3c130", "3f01c903fd12"],
    "tiles": ["4101cb8204ea", "aaf373d27642", "39a5efad53bd"],
}


def _splits(dataset: Dataset) -> list[Split]:
    return [dataset.train, dataset.val, dataset.test]


def _rows(dataset: Dataset) -> list[list[int]]:
    return [split.rows.tolist() for split in _splits(dataset)]


def _official(val: tuple[Tensor, Tensor] | None = None) -> Dataset:
    return make_dataset("toy", IMAGES, LABELS, IMAGES[:20] + 1, LABELS[:20], 3, val=val)


def _folder(root: Path, own_splits: bool) -> Dataset:
    for part, first, count in (("train", 0, 30), ("test", 100, 10)):
        folder = root / part if own_splits else root
        folder.mkdir(parents=True, exist_ok=True)
        for value in range(first, first + count):
            Image.new("L", (8, 8), value).save(folder / f"{value}.png")
    return load_dataset(f"folder:{root}", size=8)


def _loaded(name: str, folder: Path) -> Dataset:
    return _folder(folder, own_splits=False) if name == "folder" else load_dataset(name)


@pytest.mark.parametrize("name", LOADED)
def test_seed_0_has_the_splits_that_it_always_had(name: str) -> None:
    dataset = load_dataset(name).for_seed(0)
    digests = [
        hashlib.sha256(split.images[split.rows].numpy().tobytes() + split.labels[split.rows].numpy().tobytes())
        for split in _splits(dataset)
    ]
    assert [digest.hexdigest()[:12] for digest in digests] == LOADED[name]
    assert dataset.for_seed(N_PARTITIONS) is dataset and dataset.partition == 0


@pytest.mark.parametrize("name", ["digits", "manifold", "tiles", "folder"])
def test_without_official_splits_all_three_are_drawn_anew(name: str, tmp_path: Path) -> None:
    dataset = _loaded(name, tmp_path)
    partitions = [dataset.for_seed(seed) for seed in range(N_PARTITIONS)]
    for own in partitions:
        assert [len(split) for split in _splits(own)] == [len(split) for split in _splits(dataset)]
        assert sorted(sum(_rows(own), [])) == list(range(len(dataset.train.images)))
        assert all(split.images.data_ptr() == dataset.train.images.data_ptr() for split in _splits(own))
        assert (own.fingerprint, own.description) == (dataset.fingerprint, dataset.description)
    assert [own.partition for own in partitions] == list(range(N_PARTITIONS))
    for part in range(3):
        assert len({tuple(_rows(own)[part]) for own in partitions}) == N_PARTITIONS
    assert "all differ by seed (5 partitions)" in dataset.description


@pytest.mark.parametrize("has_folder", [False, True])
def test_an_official_test_split_stays(has_folder: bool, tmp_path: Path) -> None:
    dataset = _folder(tmp_path, own_splits=True) if has_folder else _official()
    partitions = [dataset.for_seed(seed) for seed in range(N_PARTITIONS)]
    for own in partitions:
        assert own.test is dataset.test
        assert [len(own.train), len(own.val)] == [len(dataset.train), len(dataset.val)]
        assert sorted(own.train.rows.tolist() + own.val.rows.tolist()) == list(range(len(dataset.train.images)))
        assert own.train.images.data_ptr() == own.val.images.data_ptr() == dataset.train.images.data_ptr()
    for part in range(2):
        assert len({tuple(_rows(own)[part]) for own in partitions}) == N_PARTITIONS
    assert "; train and validation differ by seed (5 partitions)" in dataset.description


def test_official_validation_stays_too() -> None:
    dataset = _official(val=(IMAGES[:30] + 2, LABELS[:30]))
    assert all(dataset.for_seed(seed) is dataset for seed in range(7))
    assert "by seed" not in dataset.description


def test_a_seed_always_has_the_same_partition() -> None:
    """Of the same content, loaded again, and of seeds that are equal modulo their number."""
    one, other = (split_dataset("toy", IMAGES, LABELS, 3) for _ in range(2))
    for seed in range(N_PARTITIONS):
        assert _rows(one.for_seed(seed)) == _rows(other.for_seed(seed + 3 * N_PARTITIONS))
    with pytest.raises(ValueError, match="got a dataset in partition 2, expected it as it was loaded"):
        one.for_seed(2).for_seed(1)


# --- copies on a device


def _partly_moved(splits: list[Split], monkeypatch: pytest.MonkeyPatch) -> list[Split]:
    """Copied as to a GPU, but to this machine's memory."""
    monkeypatch.setattr("benchmark.datasets.base._is_on", lambda *_: False)
    return copy_splits(splits, torch.device("cpu"))


def test_splits_of_several_partitions_share_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset("digits")
    splits = [split for seed in (0, 1, 3) for split in (dataset.for_seed(seed).train, dataset.for_seed(seed).val)]
    copied = _partly_moved(splits, monkeypatch)
    held = set(torch.cat([split.rows for split in splits]).tolist())
    assert len(copied[0].images) == len(held) < len(dataset.train.images)
    for own, original in zip(copied, splits, strict=True):
        assert own.images.data_ptr() == copied[0].images.data_ptr() != original.images.data_ptr()
        assert torch.equal(own.images[own.rows], original.images[original.rows])  # in the same order
        assert torch.equal(own.labels[own.rows], original.labels[original.rows])


def test_splits_of_other_images_have_copies_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _official()
    copied = _partly_moved(_splits(dataset), monkeypatch)
    assert [len(split.images) for split in copied] == [200, 200, 20]
    assert copied[0].images.data_ptr() == copied[1].images.data_ptr() != copied[2].images.data_ptr()
    for own, original in zip(copied, _splits(dataset), strict=True):
        assert torch.equal(own.images[own.rows], original.images[original.rows])


def test_nothing_is_copied_to_where_it_is() -> None:
    dataset = split_dataset("toy", IMAGES, LABELS, 3)
    assert all(
        a is b for a, b in zip(copy_splits(_splits(dataset), torch.device("cpu")), _splits(dataset), strict=True)
    )
    moved = copy_splits([dataset.train, dataset.for_seed(1).train], META)
    assert moved[0].to(META) is moved[0] and moved[0].images is moved[1].images
    assert {tensor.device.type for tensor in (moved[0].images, moved[0].labels, moved[0].rows)} == {"meta"}
