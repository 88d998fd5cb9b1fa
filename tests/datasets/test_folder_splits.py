"""Which files of `folder:PATH` are used, and for what: splits, classes, links, moved folders."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.datasets.base import Dataset, Split
from benchmark.datasets.folders.image_files import list_images
from benchmark.errors import InputError


def _fill(folder: Path, values: range, extension: str = "png") -> None:
    """Writes one image per value, filled with it."""
    folder.mkdir(parents=True, exist_ok=True)
    for value in values:
        Image.new("L", (9, 9), value).save(folder / f"{value}.{extension}")


def _load(root: Path) -> Dataset:
    return load_dataset(f"folder:{root}", size=8)


def _values(split: Split) -> list[int]:
    return sorted(split.images[split.rows][:, 0, 0, 0].tolist())


def _labels(split: Split) -> list[int]:
    return split.labels[split.rows].bincount().tolist()


def _own_splits(root: Path, train: str = "train", val: str | None = "val", test: str = "test") -> Path:
    for name, start, n in ((train, 0, 20), (val, 100, 5), (test, 200, 8)):
        if name is not None:
            _fill(root / name / "cats", range(start, start + n))
            _fill(root / name / "dogs", range(start + n, start + n + 2))
    return root


# --- the user's own splits


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "valid", "test")]
)
def test_train_val_and_test_folders_are_the_splits(tmp_path: Path, names: tuple[str, str, str]) -> None:
    dataset = _load(_own_splits(tmp_path, *names))
    assert _values(dataset.train) == list(range(22)) and _labels(dataset.train) == [20, 2]
    assert _values(dataset.val) == list(range(100, 107)) and _labels(dataset.val) == [5, 2]
    assert _values(dataset.test) == list(range(200, 210)) and _labels(dataset.test) == [8, 2]
    assert dataset.n_classes == 2
    assert (
        "2 classes: cats 33, dogs 6; splits: 22 train, 7 validation, 10 test; the folder's own" in dataset.description
    )


def test_without_val_it_is_drawn_from_train_and_never_from_test(tmp_path: Path) -> None:
    dataset = _load(_own_splits(tmp_path, val=None))
    assert len(dataset.val) == 2
    assert sorted(_values(dataset.train) + _values(dataset.val)) == list(range(22))
    assert _values(dataset.test) == list(range(200, 210))
    assert "the folder's own splits, validation drawn from train" in dataset.description


def test_split_folders_without_classes_are_one_class(tmp_path: Path) -> None:
    for name, values in (("train", range(30)), ("test", range(100, 110))):
        _fill(tmp_path / name, values)
    dataset = _load(tmp_path)
    assert dataset.n_classes == 1 and _values(dataset.test) == list(range(100, 110))


def test_the_same_images_in_other_splits_are_other_data(tmp_path: Path) -> None:
    _own_splits(tmp_path)
    before = _load(tmp_path).fingerprint
    moved = tmp_path / "test" / "dogs" / "209.png"  # the last of test becomes the first of val
    shutil.move(moved, tmp_path / "val" / "cats" / "000.png")
    assert _load(tmp_path).fingerprint != before


def test_a_class_of_one_image_set_alone(tmp_path: Path) -> None:
    _own_splits(tmp_path)
    _fill(tmp_path / "train" / "birds", range(60, 62))
    dataset = _load(tmp_path)
    assert dataset.n_classes == 3 and dataset.test.labels.unique().tolist() == [1, 2]  # by name, not by position
    _fill(tmp_path / "test" / "owls", range(62, 64))
    _refused(tmp_path, "test has 'owls', which train lacks; expected its classes ('birds', 'cats', 'dogs')")


def test_splits_that_do_not_fit_together(tmp_path: Path) -> None:
    _own_splits(tmp_path / "a", val=None)
    shutil.rmtree(tmp_path / "a" / "test")
    _fill(tmp_path / "a" / "test", range(9))
    _refused(tmp_path / "a", "test has images outside class folders, which train lacks")
    _own_splits(tmp_path / "b")
    shutil.copytree(tmp_path / "b" / "val", tmp_path / "b" / "valid")
    _refused(tmp_path / "b", "has val and valid; expected one folder of this split")
    _own_splits(tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / "test")
    _refused(tmp_path / "c", "has train and val but no test folder")
    (tmp_path / "c" / "test").mkdir()
    _refused(tmp_path / "c", "test holds no images; add images, or remove the folder")


def _refused(root: Path, message: str) -> None:
    for check in (check_dataset_name, load_dataset):
        with pytest.raises(InputError) as caught:
            check(f"folder:{root}")
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name, values in (("bus", range(10)), ("train", range(10, 20))):
        _fill(tmp_path / name, values)
    assert list_images(str(tmp_path)).classes == ("bus", "train")


# --- what is left out, and that it is said


def test_images_beside_class_folders_are_said(tmp_path: Path) -> None:
    _fill(tmp_path / "a", range(20))
    _fill(tmp_path, range(100, 103))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "a" / "list.CSV").write_text("no image")
    (tmp_path / "a" / "more.csv").write_text("no image")
    dataset = _load(tmp_path)
    assert sorted(_values(dataset.train) + _values(dataset.val) + _values(dataset.test)) == list(range(20))
    expected = "left out: 3 images beside the class folders, 3 files of other formats (2 .csv, 1 .txt)"
    assert dataset.description.endswith(expected)


def test_more_images_beside_the_subfolders_than_in_them(tmp_path: Path) -> None:
    _fill(tmp_path, range(200))
    _fill(tmp_path / "thumbs", range(25))
    _refused(tmp_path, "200 images lie beside the class folders, which hold 25; expected all images in class folders")


def test_folders_beside_the_splits_are_said(tmp_path: Path) -> None:
    _own_splits(tmp_path)
    _fill(tmp_path / "unlabelled" / "deep", range(90))
    _fill(tmp_path, range(2))
    dataset = _load(tmp_path)
    assert len(dataset.train) == 22 and "left out: 92 images outside the splits' folders" in dataset.description


def test_too_few_images_says_what_was_there_instead(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.npy").write_bytes(b"")
    _fill(tmp_path, range(19))
    _refused(tmp_path, "found 19 images (left out: 30 files of other formats (30 .npy)), expected at least 20")


# --- links


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    root = tmp_path / "images"
    _fill(root / "b", range(20))
    _fill(root / "c", range(30, 35))
    (root / "a").mkdir()
    (root / "a" / "link.png").symlink_to(root / "b" / "0.png")
    os.link(root / "b" / "1.png", root / "b" / "hard.png")
    (root / "aa").symlink_to(root / "c")  # a class by another name
    dataset = _load(root)
    assert sorted(_values(dataset.train) + _values(dataset.val) + _values(dataset.test)) == [*range(20), *range(30, 35)]
    assert dataset.n_classes == 2 and set(dataset.train.labels.tolist()) == {0, 1}
    assert "2 classes: b 20, c 5" in dataset.description and "left out: 7 files reached twice" in dataset.description
    (root / "c" / "up").symlink_to(root)  # a loop
    assert _load(root).fingerprint == dataset.fingerprint


def test_a_test_image_linked_into_train_stays_a_test_image(tmp_path: Path) -> None:
    _own_splits(tmp_path)
    (tmp_path / "train" / "cats" / "again.png").symlink_to(tmp_path / "test" / "cats" / "200.png")
    (tmp_path / "test" / "cats" / "also.png").symlink_to(tmp_path / "train" / "cats" / "0.png")
    dataset = _load(tmp_path)
    assert _values(dataset.train) == list(range(1, 22)) and _values(dataset.test) == [0, *range(200, 210)]
    assert "left out: 2 files reached twice" in dataset.description


def test_a_test_split_that_is_a_link_to_train(tmp_path: Path) -> None:
    _own_splits(tmp_path)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    _refused(tmp_path, "train has no image that another split has not")


def test_links_that_lead_nowhere_are_named_together(tmp_path: Path) -> None:
    _fill(tmp_path, range(20))
    for i in range(12):
        (tmp_path / f"gone{i:02}.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "a-pipe.png")
    _refused(tmp_path, "13 files cannot be read as an image: a-pipe.png (a pipe or device), gone00.png (No such file")


# --- the same data in another place


@pytest.mark.parametrize("has_own_splits", [False, True])
def test_the_same_images_elsewhere_are_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_own_splits: bool
) -> None:
    first = tmp_path / "zoo"
    if has_own_splits:
        _own_splits(first)
    else:
        for name, values in (("cats", range(30)), ("Dogs", range(30, 60)), ("a b", range(60, 90))):
            _fill(first / name, values)
    second = tmp_path / "Other place" / "deeper"
    shutil.copytree(first, second)  # other inodes and times
    (tmp_path / "link").symlink_to(second)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [str(first), "zoo", "./zoo/", "~/zoo", "Other place/deeper", "link"]
    datasets = [load_dataset(f"folder:{path}", size=8) for path in spellings]
    assert len({dataset.fingerprint for dataset in datasets}) == 1
    for part in ("train", "val", "test"):
        one, *others = (_pixels(getattr(dataset, part)) for dataset in datasets)
        assert all(torch.equal(one, other) for other in others)
    assert len({dataset.description for dataset in datasets}) == 1


def _pixels(split: Split) -> torch.Tensor:
    return split.take(torch.arange(len(split)))
