"""Finds the images of `folder:PATH`, their classes and splits, without decoding them and without importing torch."""

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

# Pillow decodes these itself. It hands PostScript to another program, and has no decoder of its own for HDF5 or GRIB.
# TGA comes last: it has no mark by which a file of another format is told apart.
SAFE_FORMATS = (
    *("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "QOI", "DIB", "DDS", "PCX", "SGI"),
    *("SUN", "XBM", "XPM", "TGA"),
)
SPLITS = ("test", "val", "train")  # a file that is reached in two of them belongs to the first
SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}
MIN_IMAGES = 20  # enough for a training, a validation and a test split of two images each
MOST_NAMED = 10


class ImageFile(NamedTuple):
    """An image file.

    name: its path below the folder, with slashes. label: the number of its class. split: train, val or test, or ""
    where the folder has no splits of its own.
    """

    path: Path
    name: str
    label: int
    split: str
    stat: os.stat_result


@dataclass(frozen=True)
class Listing:
    """files: by split (test, val, train), class and name. classes: their names, "" for a folder without subfolders.

    left_out: what is not used and why, such as `3 images beside the class folders`.
    """

    files: Sequence[ImageFile]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]


class _Found(NamedTuple):
    """A folder's images by class, images beside the class folders, and other files."""

    classes: dict[str, list[Path]]
    beside: list[Path]
    others: list[Path]


def list_images(path: str) -> Listing:
    """The images under `path`; the labels number the sorted class folders from 0.

    As in torchvision's ImageFolder a class is a subfolder, searched at any depth, and images beside the subfolders
    are left out; a folder whose images all lie in itself is one class. Where there are subfolders train and test,
    they and val are the splits, and the classes are their subfolders. A file reached twice counts once. Hidden files
    and folders are ignored. Raises InputError unless `path` is a folder with at least MIN_IMAGES images, if most images
    lie beside the class folders, and for splits that do not fit together.
    """
    root = Path(os.path.expanduser(path))
    if not root.is_dir():
        got = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"folder:{path}: {root.absolute()} {got}; give a folder of images")
    found, n_outside = _by_split(f"folder:{path}", root)
    names = sorted({name for split in found.values() for name in split.classes})
    labels = {name: label for label, name in enumerate(names)}
    paths = [
        (image, labels[name], split)
        for split, part in found.items()
        for name, images in sorted(part.classes.items())
        for image in images
    ]
    files = _with_stat(f"folder:{path}", root, paths)
    unique = _once(root, files)
    beside = [image for part in found.values() for image in part.beside]
    reasons = (
        counted(len(beside), "image", "beside the class folders"),
        counted(n_outside, "image", "outside the splits' folders"),
        counted(len(files) - len(unique), "file", "reached twice"),
        _extensions([other for part in found.values() for other in part.others]),
    )
    left = tuple(filter(None, reasons))
    _check_numbers(f"folder:{path}", len(unique), len(beside), left)
    for split in found:
        if all(file.split != split for file in unique):
            raise InputError(
                f"folder:{path}: {split} has no image that another split has not; expected images of its own"
            )
    used = sorted({file.label for file in unique})  # a class may consist of links to another's files
    renumbered = {label: number for number, label in enumerate(used)}
    relabelled = [file._replace(label=renumbered[file.label]) for file in unique]
    return Listing(relabelled, tuple(names[label] for label in used), left)


def _by_split(where: str, root: Path) -> tuple[dict[str, _Found], int]:
    """What the folder holds by split, in the order of SPLITS, and the number of images outside the splits' folders.

    It is {"": ...} where the folder has no splits of its own.
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
        return {"": _look_into(root)}, 0
    found = {split: _look_into(folders[split]) for split in SPLITS if split in folders}
    _check_classes(where, folders, found)
    rest = [entry for entry in _visible(root) if entry not in folders.values()]
    outside = [file for entry in rest for file in (_files_below(entry) if entry.is_dir() else [entry])]
    return found, sum(map(_is_image, outside))


def _check_classes(where: str, folders: dict[str, Path], found: dict[str, _Found]) -> None:
    train = found["train"].classes
    for split, part in found.items():
        if not part.classes:
            raise InputError(f"{where}: {folders[split].name} holds no images; add images, or remove the folder")
        unknown = sorted(set(part.classes) - set(train))
        if unknown:
            got = ", ".join(repr(name) if name else "images outside class folders" for name in unknown[:MOST_NAMED])
            expected = ", ".join(repr(name) if name else "images without class folders" for name in sorted(train))
            raise InputError(
                f"{where}: {folders[split].name} has {got}, which {folders['train'].name} lacks; expected its classes "
                f"({expected}); rename or move them"
            )


def _look_into(folder: Path) -> _Found:
    entries = _visible(folder)
    below = {entry.name: _files_below(entry) for entry in entries if entry.is_dir()}
    files = [entry for entry in entries if not entry.is_dir()]
    classes = {name: images for name, paths in below.items() if (images := list(filter(_is_image, paths)))}
    images = list(filter(_is_image, files))
    others = [path for paths in (*below.values(), files) for path in paths if not _is_image(path)]
    if not classes and images:
        return _Found({"": images}, [], others)
    return _Found(classes, images, others)


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _files_below(folder: Path) -> list[Path]:
    """All files at any depth that are not hidden, sorted."""
    found: list[Path] = []
    seen: set[Path] = set()  # links may lead back to a folder above
    for parent, subfolders, names in os.walk(folder, onerror=_fail, followlinks=True):
        seen.add(Path(parent).resolve())
        subfolders[:] = [n for n in subfolders if not n.startswith(".") and Path(parent, n).resolve() not in seen]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _fail(error: OSError) -> None:
    raise error


@cache
def image_extensions() -> frozenset[str]:
    """The file extensions of SAFE_FORMATS, as far as the installed Pillow has their decoders."""
    from PIL import Image  # it takes a while, which other datasets need not wait for

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
        else:  # reading a pipe would wait for ever
            problems.append((name, "a pipe or device"))
    if problems:
        raise unreadable(where, problems)
    return files


def _once(root: Path, files: Sequence[ImageFile]) -> list[ImageFile]:
    """Each file once, if links lead to it in several places: the first split's, and rather itself than a link."""
    place = os.path.realpath(root)
    same: dict[tuple[int, int], list[int]] = {}
    for i, file in enumerate(files):
        same.setdefault((file.stat.st_dev, file.stat.st_ino), []).append(i)

    def preference(i: int) -> tuple[int, bool, int]:
        file = files[i]
        return (
            SPLITS.index(file.split) if file.split else 0,
            os.path.realpath(file.path) != os.path.join(place, file.name),
            i,
        )

    kept = [min(numbers, key=preference) if len(numbers) > 1 else numbers[0] for numbers in same.values()]
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
    """One line for all files that cannot be read: the first ten, each with the reason, and how many there are."""
    named = ", ".join(f"{name} ({reason})" for name, reason in problems[:MOST_NAMED])
    more = f", and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    count = f"{len(problems)} files" if len(problems) > 1 else "1 file"
    expected = "expected images of up to 4 channels of 8 bits; replace or remove them"
    return InputError(f"{where}: {count} cannot be read as an image: {named}{more}; {expected}")


def counted(count: int, what: str, where: str) -> str:
    """`3 images beside the class folders`, `1 image ...`, and nothing for none."""
    return f"{count:,} {what}{'' if count == 1 else 's'} {where}" if count else ""


def _extensions(others: Sequence[Path]) -> str:
    """`3 files that are no images (2 .txt, 1 .csv)`."""
    if not others:
        return ""
    kinds = Counter(printable(other.suffix.lower()) or "without extension" for other in others).most_common()
    named = ", ".join(f"{count:,} {kind}" for kind, count in kinds[:MOST_NAMED])
    more = ", ..." if len(kinds) > MOST_NAMED else ""
    return f"{counted(len(others), 'file', 'of other formats')} ({named}{more})"
