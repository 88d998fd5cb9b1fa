"""`folder:PATH`: the user's own images, decoded once into a memory-mapped cache."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmark.datasets.base import Dataset, make_dataset
from benchmark.datasets.image_cache import cached_images, write_images
from benchmark.datasets.image_files import ImageFile, list_images
from benchmark.datasets.paths import cache_folder
from benchmark.errors import InputError

TEST_FRACTION = 0.1
SPLIT_SEED = 0
CACHE_VERSION = 2  # raise it when decoding changes
GREY_MODES = ("1", "L")
# Of IMAGE_EXTENSIONS, and GIF, which often has another's name. Pillow would hand PostScript to another program.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")


def load(path: str, size: int = 64) -> Dataset:
    """The images under `path` (classes as in `list_images`) as [N, C, size, size], memory-mapped.

    The shorter side is scaled to `size` pixels, antialiased, and the centre is cut out. C is 1 if every image is
    grey, else 3 (RGB; transparency is dropped). A tenth is the test split. Decoded images stay in the cache until a
    file is added, removed or changed. Raises InputError for a wrong size or an image that cannot be read.
    """
    if type(size) is not int or size < 4:
        raise InputError(f"folder's option size is {size!r}; give a whole number of pixels of at least 4")
    found = list_images(path)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    files = [found[i] for i in order]  # shuffled here, so that each split is one stretch of the cache
    cache = cache_folder("folders", _cache_key(Path(path).expanduser().resolve(), files, size))
    stored = cached_images(cache, lambda folder: _decode(files, size, folder))
    images, labels = stored.images, stored.labels
    n_test = round(TEST_FRACTION * len(files))
    return make_dataset(
        f"folder:{path}",
        images[n_test:],
        labels[n_test:],
        images[:n_test],
        labels[:n_test],
        n_classes=max(file.label for file in files) + 1,
        fingerprint=stored.fingerprint,
    )


def _cache_key(root: Path, files: list[ImageFile], size: int) -> str:
    stats = [(str(file.path), file.label, file.path.stat()) for file in files]
    listing = [(name, label, stat.st_size, stat.st_mtime_ns) for name, label, stat in stats]
    text = json.dumps([CACHE_VERSION, str(root), size, listing])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _decode(files: list[ImageFile], size: int, cache: Path) -> None:
    """Writes the images [N, C, size, size] into the cache, one at a time."""
    mode = "L" if all(_mode(file.path) in GREY_MODES for file in files) else "RGB"
    shape = (len(files), len(mode), size, size)  # as many channels as letters
    write_images(cache, shape, [file.label for file in files], (_pixels(file.path, mode, size)[None] for file in files))


def _mode(path: Path) -> str:
    """Pillow's mode from the file's header."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            mode: str = image.mode
    except Exception as error:  # from broken files Pillow's decoders raise all sorts
        raise _unreadable(path, error) from error
    if mode.startswith(("I", "F")):
        raise InputError(f"{path} has more than 8 bits a channel (mode {mode}); convert it to 8 bits or remove it")
    return mode


def _pixels(path: Path, mode: str, size: int) -> NDArray[np.uint8]:
    """uint8 [C, size, size]."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            square = ImageOps.fit(image.convert(mode), (size, size), Image.Resampling.BILINEAR)
    except Exception as error:
        raise _unreadable(path, error) from error
    return np.asarray(square).reshape(size, size, -1).transpose(2, 0, 1)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as an image ({error}); replace or remove it")
