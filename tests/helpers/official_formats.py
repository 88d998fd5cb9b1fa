"""Small archives in the official formats of the downloaded datasets."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_sample_images

from benchmark.datasets.published import cars3d, cifar100, dsprites, eurosat, shapes3d
from benchmark.paths import data_root


def write_eurosat() -> bytes:
    """2750/CLASS/CLASS_NUMBER.jpg: four tiles of scikit-learn's two photographs in each of ten classes."""
    tiles = [
        photograph[row : row + 64, column : column + 64]
        for photograph in load_sample_images().images
        for row in range(0, 384, 64)
        for column in range(0, 640, 64)
    ]
    kinds = "River Forest SeaLake Highway Pasture AnnualCrop Industrial Residential PermanentCrop HerbaceousVegetation"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("2750/", "")
        for number, kind in enumerate(kinds.split()):
            for i in range(4):
                jpeg = io.BytesIO()
                Image.fromarray(tiles[4 * number + i]).save(jpeg, "JPEG", quality=90)
                archive.writestr(f"2750/{kind}/{kind}_{i + 1}.jpg", jpeg.getvalue())
    return buffer.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_records(part: str) -> np.ndarray:
    """[40 or 10, 3074]: coarse label, fine label, 3 x 32 x 32 bytes; the images are smooth."""
    n = {"train": 40, "test": 10}[part]
    photograph = np.concatenate(load_sample_images().images)  # [854, 640, 3]
    corners = np.random.default_rng(n).integers(600, size=(n, 2))
    images = [photograph[row : row + 32, column : column + 32].transpose(2, 0, 1) for row, column in corners]
    fine = np.arange(n) + 60
    return np.concatenate([fine[:, None] // 5, fine[:, None], np.reshape(images, (n, -1))], 1).astype(np.uint8)


def write_cifar100() -> bytes:
    parts = {f"cifar-100-binary/{part}.bin": cifar_records(part).tobytes() for part in ("test", "train")}
    return _tar({"cifar-100-binary/fine_label_names.txt": b"apple\n", **parts})


class Trap:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(data_root() / "trap"),)


def write_dsprites(n_images: int = 60) -> bytes:
    rng = np.random.default_rng(0)
    classes = np.stack([np.zeros(n_images, int), np.arange(n_images) % 3, *rng.integers(6, size=(4, n_images))], 1)
    imgs = (rng.random((n_images, 64, 64)) < 0.1).astype(np.uint8)
    buffer = io.BytesIO()
    metadata = np.array({"author": Trap()}, dtype=object)
    np.savez_compressed(
        buffer, metadata=metadata, imgs=imgs, latents_classes=classes, latents_values=classes.astype(float)
    )
    return buffer.getvalue()


def write_shapes3d() -> bytes:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.random(60) for _ in range(6)], 1)
    labels[:, 4] = np.arange(60) % 4
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(
            "images", data=rng.integers(256, size=(60, 64, 64, 3), dtype=np.uint8), chunks=(7, 32, 32, 1), compression=1
        )
        file.create_dataset("labels", data=labels)
    return buffer.getvalue()


def write_cars3d() -> bytes:
    """Three cars, 2 azimuths, 4 elevations: car c at azimuth a and elevation e is filled with 40 c + 8 a + e."""
    members = {"data/cars/list.txt": b"car_002_mesh\n", "data/sprites/other.mat": b"", "data/shapes48.mat": b""}
    for car in (2, 0, 1):  # not in the order of their names
        values = 40 * car + 8 * np.arange(2)[:, None] + np.arange(4)
        im = np.broadcast_to(values, (128, 128, 3, 2, 4)).astype(np.uint8)
        im[::2, ::2, 2] = 255  # a fine pattern in the blue plane, which antialiasing evens out
        file = io.BytesIO()
        savemat(file, {"im": im, "mask": im[:, :, 0] > 0}, do_compression=True)
        members[f"data/cars/car_00{car}_mesh.mat"] = file.getvalue()
    return _tar(members)


class Archive(NamedTuple):
    module: ModuleType
    content: Callable[[], bytes]


ARCHIVES = {
    "eurosat": Archive(eurosat, write_eurosat),
    "cifar100": Archive(cifar100, write_cifar100),
    "dsprites": Archive(dsprites, write_dsprites),
    "shapes3d": Archive(shapes3d, write_shapes3d),
    "cars3d": Archive(cars3d, write_cars3d),
}


def install(name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes the small archive to the official one's place and replaces the official checksum by its own."""
    module, content = ARCHIVES[name]
    data = content()
    monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, checksum=hashlib.md5(data).hexdigest()))
    path = data_root() / module.ARCHIVE.path
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path
