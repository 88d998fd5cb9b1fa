"""Decoded images on disk: written once, then memory-mapped."""

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
    """images: uint8 [N, C, H, W] (video [N, C, T, H, W]), memory-mapped, private: writing to them changes no file.

    labels: int64 [N]. fingerprint: a hash of shape, labels and images. notes: what decoding has met, in words.
    """

    images: Tensor
    labels: Tensor
    fingerprint: str
    notes: tuple[str, ...] = ()


def cached_images(cache: Path, decode: Callable[[Path], None]) -> CachedImages:
    """What the folder `cache` holds; `decode(cache)` fills it by `write_images` if it is empty or torn."""
    with contextlib.suppress(OSError, ValueError, KeyError, Damaged):
        return _read(cache)
    decode(cache)
    return _read(cache)


def _read(cache: Path) -> CachedImages:
    """done.json is written last; np.load raises ValueError for an images.npy that is too short."""
    done = read_json(cache / "done.json")
    images = torch.from_numpy(np.load(cache / "images.npy", mmap_mode="c"))
    labels = torch.tensor(done["labels"])
    if len(images) != len(labels):
        raise ValueError(f"{cache}: {len(images)} images and {len(labels)} labels")
    return CachedImages(images, labels, done["fingerprint"], tuple(done.get("notes", ())))


def listing_key(files: Iterable[tuple[str, os.stat_result]], *conditions: object) -> str:
    """A name for the cache of what is decoded from these files: names, sizes and times, and the `conditions`."""
    listing = [(name, status.st_size, status.st_mtime_ns) for name, status in files]
    text = json.dumps([*conditions, listing])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def write_images(
    cache: Path,
    shape: tuple[int, ...],
    labels: Sequence[int],
    batches: Iterable[NDArray[np.uint8]],
    notes: Sequence[str] = (),
) -> None:
    """Fills the folder `cache`, holding one batch in memory at a time.

    shape: (N, C, H, W) of all images, video (N, C, T, H, W). batches: consecutive images, [n, C, H, W] each, N in all.
    notes: as in CachedImages. Raises InputError if the disk is full.
    """
    labels = [int(label) for label in labels]
    digest = hashlib.blake2b(repr((shape, labels)).encode(), digest_size=16)
    _remove_abandoned(cache)
    _check_space(cache, math.prod(shape))
    try:
        with replacing(cache / "images.npy") as partial:
            n_written = _write(partial, shape, batches, digest.update)
            if not n_written == shape[0] == len(labels):
                raise ValueError(f"{cache}: {n_written} images and {len(labels)} labels, expected {shape[0]} of each")
        write_json(cache / "done.json", {"fingerprint": digest.hexdigest(), "labels": labels, "notes": list(notes)})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"cannot write the decoded images to {cache} ({error.strerror}); {REMEDY}") from error


def _write(
    path: Path, shape: tuple[int, ...], batches: Iterable[NDArray[np.uint8]], update: Callable[[memoryview], None]
) -> int:
    """Writes an npy file by plain writes: a mapped file's pages would count as resident, and a full disk would kill."""
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


def _check_space(cache: Path, needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise InputError(
            f"the decoded images take {needed / 1e9:.1f} GB in {cache}, which has {free / 1e9:.1f} GB free; {REMEDY}"
        )


def _remove_abandoned(cache: Path) -> None:
    """Removes what killed processes left; a file written to lately may be a running process's."""
    for partial in cache.glob(".*.images.npy"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                partial.unlink()
