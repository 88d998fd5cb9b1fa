"""A cache of decoded images on disk: written once, then memory-mapped."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.errors import Damaged, InputError
from benchmark.stages import begin_stage
from benchmark.store.atomic_files import read_json, replacing, write_json

ABANDONED_SECONDS = 3600.0
REMEDY = "free disk space, or set XDG_CACHE_HOME to a folder that has more"


@dataclass(frozen=True)
class CachedImages:
    """Decoded images and their labels.

    images: uint8 [N, C, H, W] (video [N, C, T, H, W]), memory-mapped; writing to them does not change the file.
    labels: int64 [N]. fingerprint: a hash of shape, labels and images. notes: remarks of the decoder about the images.
    """

    images: Tensor
    labels: Tensor
    fingerprint: str
    notes: tuple[str, ...] = ()


def cached_images(cache: Path, decode: Callable[[Path], None]) -> CachedImages:
    """Reads the folder `cache`. If it is empty or incomplete, `decode(cache)` first fills it with `write_images`."""
    with contextlib.suppress(OSError, ValueError, KeyError, Damaged):
        return _read(cache)
    decode(cache)
    return _read(cache)


def _read(cache: Path) -> CachedImages:
    """Raises an error if the cache is incomplete: done.json is written last, and np.load refuses a short images.npy."""
    content = read_json(cache / "done.json")
    images = torch.from_numpy(np.load(cache / "images.npy", mmap_mode="c"))
    labels = torch.tensor(content["labels"])
    if len(images) != len(labels):
        raise ValueError(f"{cache}: {len(images)} images and {len(labels)} labels")
    return CachedImages(images, labels, content["fingerprint"], tuple(content.get("notes", ())))


def listing_key(files: Iterable[tuple[str, os.stat_result]], *conditions: object) -> str:
    """A name for the cache of images decoded from these files: a hash of names, sizes, times and `conditions`."""
    listing = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    content = json.dumps([*conditions, listing])
    return hashlib.blake2b(content.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def write_images(
    cache: Path,
    shape: tuple[int, ...],
    labels: Sequence[int],
    batches: Iterable[NDArray[np.uint8]],
    notes: Sequence[str] = (),
) -> None:
    """Fills the folder `cache`, with one batch in memory at a time.

    shape: of all images, (N, C, H, W), video (N, C, T, H, W). batches: consecutive images, [n, C, H, W] each, N in all.
    notes: as in CachedImages. Raises InputError if the disk is full.
    """
    labels = [int(label) for label in labels]
    digest = hashlib.blake2b(repr((shape, labels)).encode(), digest_size=16)
    _remove_abandoned(cache)
    _check_space(cache, math.prod(shape))
    try:
        with replacing(cache / "images.npy") as partial:
            n_written = _write_npy(partial, shape, batches, digest.update)
            if not n_written == shape[0] == len(labels):
                raise ValueError(f"{cache}: {n_written} images and {len(labels)} labels, expected {shape[0]} of each")
        write_json(cache / "done.json", {"fingerprint": digest.hexdigest(), "labels": labels, "notes": list(notes)})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"cannot write the decoded images to {cache} ({error.strerror}); {REMEDY}") from error


def _write_npy(
    path: Path, shape: tuple[int, ...], batches: Iterable[NDArray[np.uint8]], update: Callable[[memoryview], None]
) -> int:
    """Writes an npy file without mapping it: mapped pages would count as memory, and a full disk would kill us."""
    n_written = 0
    advance = begin_stage("decoding", shape[0], "images")
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for batch in batches:
            if batch.dtype != np.uint8 or batch.shape[1:] != shape[1:]:
                raise ValueError(f"{path}: got {batch.dtype} images {batch.shape}, expected uint8 [n, *{shape[1:]}]")
            content = np.ascontiguousarray(batch).data
            file.write(content)
            update(content)
            n_written += len(batch)
            advance(len(batch))
    return n_written


def _check_space(cache: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(cache).free
    if free < n_bytes:
        raise InputError(
            f"the decoded images take {n_bytes / 1e9:.1f} GB in {cache}, which has {free / 1e9:.1f} GB free; {REMEDY}"
        )


def _remove_abandoned(cache: Path) -> None:
    """Removes partial files of killed processes; a recent one may belong to a running process."""
    for partial in cache.glob(".*.images.npy"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                partial.unlink()
