"""`folder:PATH` and its cache, in temporary folders."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS, ImageFolder

from benchmark.datasets import load_dataset
from benchmark.datasets.folders import folder
from benchmark.datasets.folders.image_files import image_extensions, list_images
from benchmark.paths import cache_root, data_root


def _images(root: Path, per_class: int = 12, classes: tuple[str, ...] = ("b", "a"), mode: str = "RGB") -> Path:
    """Writes images in class folders: class c (sorted) has the value 100 + c; sizes and formats vary."""
    for value, name in enumerate(sorted(classes)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            extension = ("png", "JPG", "bmp")[i % 3]
            size = (20 + i, 30)
            colour = 100 + value if mode == "L" else (100 + value, 50, 200)
            Image.new(mode, size, colour).save(root / name / f"{i}.{extension}")
    return root


def test_checking_a_name_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, benchmark.datasets as d\n"
        "d.check_dataset_name('digits'); d.check_dataset_name(sys.argv[1])\n"
        "assert 'benchmark.datasets.folders.image_files' in sys.modules\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, f"folder:{_images(tmp_path / 'faces')}"], check=True)


def test_folder_of_classes(tmp_path: Path) -> None:
    root = _images(tmp_path / "faces")
    for hidden in (root / ".git" / "x.png", root / "a" / ".thumbnail.png", root / "a" / ".cache" / "x.png"):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"no image")
    (root / "notes").mkdir()
    (root / "readme.txt").write_text("no image")
    dataset = load_dataset(f"folder:{root}", size=16)
    assert dataset.name == f"folder:{root}"
    assert dataset.image_shape == (3, 16, 16) and dataset.n_classes == 2
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (20, 2, 2)
    splits = (dataset.train, dataset.val, dataset.test)
    images = torch.cat([split.images[split.rows] for split in splits])
    labels = torch.cat([split.labels[split.rows] for split in splits])
    assert labels.bincount().tolist() == [12, 12]
    assert (images[:, 0] - 100 - labels[:, None, None]).float().abs().max() <= 2  # JPEG rounds
    assert (images[:, 2].float() - 200).abs().max() <= 2


def test_folder_finds_what_imagefolder_finds(tmp_path: Path) -> None:
    assert image_extensions() >= set(IMG_EXTENSIONS)
    root = _images(tmp_path / "faces", classes=("c", "a", "b"))
    (root / "b" / "deep").mkdir()
    shutil.copy(root / "b" / "0.png", root / "b" / "deep" / "x.png")
    shutil.copy(root / "b" / "0.png", root / "beside.png")
    expected = {Path(path): label for path, label in ImageFolder(root).samples}
    assert len(expected) == 37
    assert {file.path: file.label for file in list_images(str(root)).files} == expected


def test_flat_grey_folder_is_one_class_of_one_channel(tmp_path: Path) -> None:
    _images(tmp_path, per_class=20, classes=("flat",), mode="L")
    Image.new("1", (9, 9), 1).save(tmp_path / "flat" / "bit.png")
    dataset = load_dataset(f"folder:{tmp_path / 'flat'}")
    assert dataset.image_shape == (1, 64, 64) and dataset.n_classes == 1
    images = torch.cat([split.images[split.rows] for split in (dataset.train, dataset.val, dataset.test)])
    assert sorted(images[:, 0, 32, 32].tolist()) == [100] * 20 + [255]


def test_folder_cuts_the_centre_and_antialiases(tmp_path: Path) -> None:
    pixels = np.zeros((32, 96), np.uint8)
    pixels[:, 32:64] = 255 * (np.indices((32, 32)).sum(0) % 2)  # a fine checkerboard between black sides
    (tmp_path / "a").mkdir()
    for i in range(20):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{i}.png")
    images = load_dataset(f"folder:{tmp_path}", size=8).train.images
    assert (images[..., 1:-1].float() - 127.5).abs().max() < 8


def test_folder_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _images(tmp_path / "faces")
    first = load_dataset(f"folder:{root}", size=8)
    decode, decoded = folder._decode, []

    def counting(*args: object) -> None:
        decoded.append(args)
        decode(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "_decode", counting)
    again = load_dataset(f"folder:{root}", size=8)
    assert not decoded
    assert torch.equal(again.train.images, first.train.images) and again.fingerprint == first.fingerprint
    load_dataset(f"folder:{root}", size=9)
    assert len(decoded) == 1
    os.utime(root / "a" / "0.png", ns=(0, 0))  # a new time: it is decoded again to the same content
    assert load_dataset(f"folder:{root}", size=8).fingerprint == first.fingerprint
    assert len(decoded) == 2
    Image.new("RGB", (20, 30)).save(root / "a" / "0.png")
    assert load_dataset(f"folder:{root}", size=8).fingerprint != first.fingerprint
    assert len(decoded) == 3
    assert data_root().exists() is False  # we write nothing there


@pytest.mark.parametrize("damage", ["truncated", "unfinished"])
def test_folder_mends_a_torn_cache(tmp_path: Path, damage: str) -> None:
    root = _images(tmp_path / "faces")
    first = load_dataset(f"folder:{root}", size=8).train.images.clone()
    (cache,) = (cache_root() / "folders").iterdir()
    if damage == "truncated":
        content = (cache / "images.npy").read_bytes()
        (cache / "images.npy").unlink()  # `first`'s dataset may still map the old file
        (cache / "images.npy").write_bytes(content[:-1])
    else:
        (cache / "done.json").unlink()
        (cache / "images.npy").unlink()
    assert torch.equal(load_dataset(f"folder:{root}", size=8).train.images, first)
    assert sorted(path.name for path in cache.iterdir()) == ["done.json", "images.npy"]
