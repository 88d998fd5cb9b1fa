"""`folder:PATH`: the user's own images, decoded once into a memory-mapped cache."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray

from benchmark.datasets.archives.image_cache import CachedImages, cached_images, listing_key, write_images
from benchmark.datasets.base import HELD_OUT_FRACTION, SPLIT_SEED, Dataset, make_dataset, split_dataset
from benchmark.datasets.folders.image_decoding import FITS, TRANSPARENCY, Fit, Header, read_header, read_square, reason
from benchmark.datasets.folders.image_files import ImageFile, Listing, counted, list_images, unreadable
from benchmark.paths import cache_folder
from benchmark.stages import as_stage

CACHE_VERSION = 3  # raise it when decoding changes


def load(path: str, size: Annotated[int, Ge(4)] = 64, fit: Fit = "crop") -> Dataset:
    """Loads the images under `path` as [N, C, size, size], memory-mapped; see `list_images` for classes and splits.

    fit: `crop` scales the shorter side to `size` pixels and cuts out the centre, `stretch` scales both sides, `pad`
    scales the longer side and adds black bars. Photographs are turned upright by their EXIF tag, transparent images are
    put on white, and only the first of several frames is used. C is 1 if the mode or palette of every image is grey,
    else 3 (RGB). If the folder has no splits of its own, a tenth is the test split. The cache is reused until a file is
    added, removed or changed. Raises InputError for images that cannot be read.
    """
    listing = list_images(path)
    files = _in_split_order(listing.files)
    key = listing_key(
        ((file.name, file.stat) for file in files),
        CACHE_VERSION,
        size,
        fit,
        [(file.label, file.split) for file in files],
    )
    where = f"folder:{path}"
    stored = cached_images(cache_folder("folders", key), lambda folder: _decode(where, files, size, fit, folder))
    return _dataset(path, listing, files, stored, fit)


def _in_split_order(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Orders the files by split: test, val, train.

    Shuffles the images of a folder without splits of its own; the first are then the test split of partition 0. The
    order depends only on names below the folder, so that it does not change if the folder moves.
    """
    if files[0].split:
        return list(files)
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    return [files[i] for i in order]


def _dataset(path: str, listing: Listing, files: Sequence[ImageFile], stored: CachedImages, fit: Fit) -> Dataset:
    counts = Counter(file.split for file in files)
    n_test, n_val = counts["test"], counts["val"]
    classes, notes = listing.classes, [f"fit {fit}: {FITS[fit]}", *stored.notes]
    notes += [f"left out: {', '.join(listing.left_out)}"] if listing.left_out else []
    if not n_test:
        first, rest = torch.arange(len(files)).tensor_split([round(HELD_OUT_FRACTION * len(files))])
        return split_dataset(
            f"folder:{path}",
            stored.images,
            stored.labels,
            n_classes=len(classes),
            fingerprint=stored.fingerprint,
            classes=classes,
            notes=notes,
            train_test=(rest, first),
        )
    test, val, train = (
        (stored.images[rows], stored.labels[rows])
        for rows in (slice(n_test), slice(n_test, n_test + n_val), slice(n_test + n_val, None))
    )
    sizes = repr((stored.fingerprint, n_test, n_val)).encode()  # other splits of the same images are other data
    own_splits = "the folder's own splits" + ("" if n_val else ", validation drawn from train")
    return make_dataset(
        f"folder:{path}",
        *train,
        *test,
        n_classes=len(classes),
        fingerprint=hashlib.blake2b(sizes, digest_size=16).hexdigest(),
        val=val if n_val else None,
        classes=classes,
        notes=[own_splits, *notes],
    )


def _decode(where: str, files: Sequence[ImageFile], size: int, fit: Fit, cache: Path) -> None:
    """Decodes the images one at a time into the cache, [N, C, size, size]."""
    problems: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about oddities of files that it can read
        headers = _headers(files, problems)
        mode = "L" if all(header.is_grey for header in headers) else "RGB"
        shape = (len(files), len(mode), size, size)  # a mode has one letter per channel
        labels = [file.label for file in files]
        write_images(cache, shape, labels, _squares(where, files, mode, size, fit, problems), _notes(headers))


def _headers(files: Sequence[ImageFile], problems: dict[str, str]) -> list[Header]:
    headers = []
    for file in as_stage(files, "reading headers", "images"):
        try:
            headers.append(read_header(file.path))
        except Exception as error:  # Pillow raises many kinds of errors for broken files
            problems[file.name] = reason(file.path, error)
    return headers


def _squares(
    where: str, files: Sequence[ImageFile], mode: str, size: int, fit: Fit, problems: dict[str, str]
) -> Iterator[NDArray[np.uint8]]:
    """Yields the images, [1, C, size, size] each. Raises InputError at the end if some cannot be read."""
    for file in files:
        if file.name in problems:
            continue
        try:
            square = read_square(file.path, mode, size, fit)
        except Exception as error:
            problems[file.name] = reason(file.path, error)
        else:
            yield square[None]
    if problems:
        raise unreadable(where, sorted(problems.items()))


def _notes(headers: Sequence[Header]) -> list[str]:
    transparent = counted(sum(header.is_transparent for header in headers), "image", "with transparency")
    frames = counted(sum(header.has_frames for header in headers), "image", "with several frames")
    return [
        *([f"{transparent}, laid on {TRANSPARENCY}"] if transparent else []),
        *([f"{frames}, the first taken"] if frames else []),
    ]
