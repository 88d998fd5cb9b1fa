"""Finds the images of `folder:PATH`, their classes and splits, without decoding them or importing torch."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import InputError
from benchmark.text import printable

# Pillow decodes these itself. It gives PostScript to another program, and has no decoder for HDF5 or GRIB. TGA is last,
# since a TGA file has no signature that tells it from other formats.
SAFE_FORMATS = (
    *("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "QOI", "DIB", "DDS", "PCX", "SGI"),
    *("SUN", "XBM", "XPM", "TGA"),
)
SPLITS = ("test", "val", "train")  # a file in several of them belongs to the first
SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}
MIN_IMAGES = 20  # enough for a training, a validation and a test split of two images each
MAX_NAMED = 10  # files, classes or extensions that a message names


class ImageFile(NamedTuple):
    """An image file.

    name: its path below the folder, with slashes. label: the number of its class. split: train, val or test, or "" if
    the folder has no splits of its own.
    """

    path: Path
    name: str
    label: int
    split: str
    stat: os.stat_result


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    files: ordered by split (test, val, train), class and name. classes: their names, "" for a folder without
    subfolders. left_out: files that are not used, and why, such as `3 images beside the class folders`.
    """

    files: Sequence[ImageFile]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]


class _Contents(NamedTuple):
    """A folder's images by class, the images beside its class folders, and its other files."""

    classes: dict[str, list[Path]]
    beside: list[Path]
    others: list[Path]


def list_images(path: str) -> Listing:
    """Lists the images under `path`; the labels number the sorted class folders from 0.

    As in torchvision's ImageFolder, each subfolder is a class with all images at any depth below it, and images beside
    the subfolders are left out. A folder that has images but no class subfolders is one class. If there are subfolders
    train and test, these and val are the splits, and their subfolders are the classes. A file that is reached twice
    counts once. Hidden files and folders are ignored. Raises InputError unless `path` is a folder with at least
    MIN_IMAGES images, if most images lie beside the class folders, and if the splits do not match.
    """
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        got = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"folder:{path}: {root.absolute()} {got}; give a folder of images")
    where = f"folder:{path}"
    contents, n_outside = _contents_by_split(where, root)
    names = sorted({name for in_split in contents.values() for name in in_split.classes})
    labels = {name: label for label, name in enumerate(names)}
    paths = [
        (image, labels[name], split)
        for split, in_split in contents.items()
        for name, images in sorted(in_split.classes.items())
        for image in images
    ]
    files = _with_stat(where, root, paths)
    unique = _without_links(root, files)
    beside = [image for in_split in contents.values() for image in in_split.beside]
    reasons = (
        counted(len(beside), "image", "beside the class folders"),
        counted(n_outside, "image", "outside the splits' folders"),
        counted(len(files) - len(unique), "file", "reached twice"),
        _count_extensions([other for in_split in contents.values() for other in in_split.others]),
    )
    left_out = tuple(filter(None, reasons))
    _check_numbers(where, len(unique), len(beside), left_out)
    for split in contents:
        if all(file.split != split for file in unique):
            raise InputError(f"{where}: {split} has no image that another split has not; expected images of its own")
    used_labels = sorted({file.label for file in unique})  # a class of links to another class's files is not used
    new_labels = {label: number for number, label in enumerate(used_labels)}
    relabelled = [file._replace(label=new_labels[file.label]) for file in unique]
    return Listing(relabelled, tuple(names[label] for label in used_labels), left_out)


def _contents_by_split(where: str, root: Path) -> tuple[dict[str, _Contents], int]:
    """The contents of each split, in the order of SPLITS, and the number of images outside the splits' folders.

    The only key is "" if the folder has no splits of its own.
    """
    folders: dict[str, Path] = {}
    for entry in _visible(root):
        split = SPLIT_FOLDERS.get(entry.name.lower())
        if split is None or not entry.is_dir():
            continue
        if split in folders:
            raise InputError(f"{where}: has {folders[split].name} and {entry.name}; expected one folder of this split")
        folders[split] = entry
    if set(folders) == {"train", "val"}:
        raise InputError(
            f"{where}: has {folders['train'].name} and {folders['val'].name} but no test folder; expected train and "
            "test, where validation images are drawn from train if val is missing: rename val to test, or add test"
        )
    if not {"train", "test"} <= set(folders):
        return {"": _contents(root)}, 0
    contents = {split: _contents(folders[split]) for split in SPLITS if split in folders}
    _check_classes(where, folders, contents)
    rest = [entry for entry in _visible(root) if entry not in folders.values()]
    outside = [file for entry in rest for file in (_files_below(entry) if entry.is_dir() else [entry])]
    return contents, sum(map(_is_image, outside))


def _check_classes(where: str, folders: dict[str, Path], contents: dict[str, _Contents]) -> None:
    train = contents["train"].classes
    for split, in_split in contents.items():
        if not in_split.classes:
            raise InputError(f"{where}: {folders[split].name} holds no images; add images, or remove the folder")
        unknown = sorted(set(in_split.classes) - set(train))
        if unknown:
            got = ", ".join(repr(name) if name else "images outside class folders" for name in unknown[:MAX_NAMED])
            expected = ", ".join(repr(name) if name else "images without class folders" for name in sorted(train))
            raise InputError(
                f"{where}: {folders[split].name} has {got}, which {folders['train'].name} lacks; expected its classes "
                f"({expected}); rename or move them"
            )


def _contents(folder: Path) -> _Contents:
    entries = _visible(folder)
    below = {entry.name: _files_below(entry) for entry in entries if entry.is_dir()}
    files = [entry for entry in entries if not entry.is_dir()]
    classes = {name: images for name, paths in below.items() if (images := list(filter(_is_image, paths)))}
    images = list(filter(_is_image, files))
    others = [path for paths in (*below.values(), files) for path in paths if not _is_image(path)]
    if not classes and images:
        return _Contents({"": images}, [], others)
    return _Contents(classes, images, others)


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _files_below(folder: Path) -> list[Path]:
    """Lists all files at any depth that are not hidden, sorted."""
    files: list[Path] = []
    visited: set[Path] = set()  # a link may point to a folder above itself
    for parent, subfolders, names in os.walk(folder, onerror=_raise, followlinks=True):
        visited.add(Path(parent).resolve())
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and Path(parent, n).resolve() not in visited]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)


def _raise(error: OSError) -> None:
    raise error


@cache
def image_extensions() -> frozenset[str]:
    """The file extensions of those SAFE_FORMATS that the installed Pillow can decode."""
    from PIL import Image  # slow to import, and other datasets do not need it

    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in SAFE_FORMATS)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_extensions()


def _with_stat(where: str, root: Path, paths: Iterable[tuple[Path, int, str]]) -> list[ImageFile]:
    files, problems = [], []
    for path, label, split in paths:
        name = path.relative_to(root).as_posix()
        try:
            status = path.stat()
        except OSError as error:
            problems.append((name, error.strerror or type(error).__name__))
            continue
        if stat.S_ISREG(status.st_mode):
            files.append(ImageFile(path, name, label, split, status))
        else:  # reading a pipe might never end
            problems.append((name, "a pipe or device"))
    if problems:
        raise unreadable(where, problems)
    return files


def _without_links(root: Path, files: Sequence[ImageFile]) -> list[ImageFile]:
    """Keeps one of all links to the same file: prefers the first split, then the file itself over a link to it."""
    real_root = os.path.realpath(root)
    positions: dict[tuple[int, int], list[int]] = {}  # by device and inode
    for i, file in enumerate(files):
        positions.setdefault((file.stat.st_dev, file.stat.st_ino), []).append(i)

    def preference(i: int) -> tuple[int, bool, int]:
        file = files[i]
        is_link = os.path.realpath(file.path) != os.path.join(real_root, file.name)
        return (SPLITS.index(file.split) if file.split else 0, is_link, i)

    kept = [min(same, key=preference) if len(same) > 1 else same[0] for same in positions.values()]
    return [files[i] for i in sorted(kept)]


def _check_numbers(where: str, n_images: int, n_beside: int, left_out: Sequence[str]) -> None:
    if n_beside > n_images:
        raise InputError(
            f"{where}: {n_beside} images lie beside the class folders, which hold {n_images}; expected all images in "
            "class folders, or none: move the images into class folders, or the other folders elsewhere"
        )
    if n_images < MIN_IMAGES:
        also = f" (left out: {', '.join(left_out)})" if left_out else ""
        raise InputError(
            f"{where}: found {n_images} images{also}, expected at least {MIN_IMAGES}, in class subfolders or "
            f"directly in the folder; known extensions: {' '.join(sorted(image_extensions()))}"
        )


def unreadable(where: str, problems: Sequence[tuple[str, str]]) -> InputError:
    """Makes one error for all files that cannot be read: their number, and the first ten with the reason."""
    named = ", ".join(f"{name} ({reason})" for name, reason in problems[:MAX_NAMED])
    more = f", and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    count = f"{len(problems)} files" if len(problems) > 1 else "1 file"
    expected = "expected images of up to 4 channels of 8 bits; replace or remove them"
    return InputError(f"{where}: {count} cannot be read as an image: {named}{more}; {expected}")


def counted(count: int, what: str, where: str) -> str:
    """Writes `3 images beside the class folders`, `1 image ...`, or nothing if the count is 0."""
    return f"{count:,} {what}{'' if count == 1 else 's'} {where}" if count else ""


def _count_extensions(others: Sequence[Path]) -> str:
    """Writes `3 files of other formats (2 .txt, 1 .csv)`, or nothing if there are none."""
    if not others:
        return ""
    kinds = Counter(printable(other.suffix.lower()) or "without extension" for other in others).most_common()
    named = ", ".join(f"{count:,} {kind}" for kind, count in kinds[:MAX_NAMED])
    more = ", ..." if len(kinds) > MAX_NAMED else ""
    return f"{counted(len(others), 'file', 'of other formats')} ({named}{more})"
