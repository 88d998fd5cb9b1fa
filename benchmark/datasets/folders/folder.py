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
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.datasets.folders.image_decoding import FITS, TRANSPARENCY, Fit, Header, read_header, read_square, reason
from benchmark.datasets.folders.image_files import ImageFile, Listing, counted, list_images, unreadable
from benchmark.paths import cache_folder
from benchmark.stages import as_stage

TEST_FRACTION = 0.1
SPLIT_SEED = 0
CACHE_VERSION = 3  # raise it when decoding changes


def load(path: str, size: Annotated[int, Ge(4)] = 64, fit: Fit = "crop") -> Dataset:
    """The images under `path` (classes and splits as in `list_images`) as [N, C, size, size], memory-mapped.

    fit: with `crop` the shorter side is scaled to `size` pixels and the centre is cut out; with `stretch` both sides
    are scaled, with `pad` the longer one, and what is missing is black. Photographs are turned upright as their EXIF
    tag says, transparency is laid on white, of several frames the first is taken. C is 1 if every image is grey by its
    mode or palette, else 3 (RGB). A tenth is the test split where the folder has no splits of its own. Decoded images
    stay in the cache until a file is added, removed or changed. Raises InputError for images that cannot be read.
    """
    listing = list_images(path)
    files = _in_splits(listing.files)
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


def _in_splits(files: Sequence[ImageFile]) -> list[ImageFile]:
    """Ordered so that each split is one stretch of the cache: test, val if there is one, train.

    Without splits of its own a folder's images are shuffled, and the first are the test split. The order follows names
    below the folder alone, so that it is the same in another place.
    """
    if files[0].split:
        return list(files)
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    return [files[i] for i in order]


def _dataset(path: str, listing: Listing, files: Sequence[ImageFile], stored: CachedImages, fit: Fit) -> Dataset:
    numbers = Counter(file.split for file in files)
    n_test, n_val = numbers["test"] or round(TEST_FRACTION * len(files)), numbers["val"]
    test, val, train = (
        (stored.images[rows], stored.labels[rows])
        for rows in (slice(n_test), slice(n_test, n_test + n_val), slice(n_test + n_val, None))
    )
    has_own_splits = bool(numbers["test"])
    sizes = repr((stored.fingerprint, n_test, n_val)).encode()  # the same images in other splits are other data
    drawn = "the folder's own splits" + ("" if n_val else ", validation drawn from train")
    notes = [drawn if has_own_splits else "all splits drawn at random", f"fit {fit}: {FITS[fit]}", *stored.notes]
    notes += [f"left out: {', '.join(listing.left_out)}" if listing.left_out else ""]
    return make_dataset(
        f"folder:{path}",
        *train,
        *test,
        n_classes=len(listing.classes),
        fingerprint=hashlib.blake2b(sizes, digest_size=16).hexdigest() if has_own_splits else stored.fingerprint,
        val=val if n_val else None,
        classes=listing.classes,
        notes=list(filter(None, notes)),
    )


def _decode(where: str, files: Sequence[ImageFile], size: int, fit: Fit, cache: Path) -> None:
    """Writes the images [N, C, size, size] into the cache, one at a time."""
    problems: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about what is odd in a file that it reads all the same
        headers = _headers(files, problems)
        mode = "L" if all(header.is_grey for header in headers) else "RGB"
        shape = (len(files), len(mode), size, size)  # as many channels as letters
        labels = [file.label for file in files]
        write_images(cache, shape, labels, _squares(where, files, mode, size, fit, problems), _notes(headers))


def _headers(files: Sequence[ImageFile], problems: dict[str, str]) -> list[Header]:
    headers = []
    for file in as_stage(files, "reading headers", "images"):
        try:
            headers.append(read_header(file.path))
        except Exception as error:  # from broken files Pillow's decoders raise all sorts
            problems[file.name] = reason(file.path, error)
    return headers


def _squares(
    where: str, files: Sequence[ImageFile], mode: str, size: int, fit: Fit, problems: dict[str, str]
) -> Iterator[NDArray[np.uint8]]:
    """All images one by one, [1, C, size, size]; InputError at the end where some could not be read."""
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
