"""Finds the image files of `folder:PATH`, without decoding them and without importing torch."""

import os
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import InputError

# Same as torchvision.datasets.folder.IMG_EXTENSIONS.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MIN_IMAGES = 20  # enough for a training, a validation and a test split of two images each


class ImageFile(NamedTuple):
    """An image file and the class it belongs to."""

    path: Path
    label: int


def list_images(path: str) -> list[ImageFile]:
    """The images under `path`, ordered by class and path; the labels number the sorted class folders from 0.

    As in torchvision's ImageFolder a class is a subfolder, searched at any depth, and images beside the subfolders
    are left out. A folder whose images all lie in itself is one class. Hidden files and folders are ignored, and so
    are subfolders without images. Raises InputError unless `path` is a folder with at least MIN_IMAGES images.
    """
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        got = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"folder:{path}: {root.absolute()} {got}; give a folder of images")
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    classes = [images for images in map(_images_below, filter(Path.is_dir, entries)) if images]
    if not classes:
        classes = [[entry for entry in entries if not entry.is_dir() and _is_image(entry.name)]]
    files = [ImageFile(image, label) for label, images in enumerate(classes) for image in images]
    if len(files) < MIN_IMAGES:
        raise InputError(
            f"folder:{path}: found {len(files)} images, expected at least {MIN_IMAGES}, in class subfolders or "
            f"directly in the folder; known extensions: {' '.join(IMAGE_EXTENSIONS)}"
        )
    for file in files:
        if not file.path.is_file():  # reading a pipe would wait for ever
            raise InputError(f"{file.path} is no file, or a link to none; replace or remove it")
    return files


def _images_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[Path] = set()  # links may lead back to a folder above
    for parent, subfolders, names in os.walk(folder, onerror=_fail, followlinks=True):
        seen.add(Path(parent).resolve())
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and Path(parent, n).resolve() not in seen]
        found += [Path(parent, name) for name in names if _is_image(name)]
    return sorted(found)


def _fail(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")
