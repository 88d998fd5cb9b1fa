"""`array:PATH`: the user's own numbers or images, read once and memory-mapped from then on."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.datasets.archives.image_cache import listing_key
from benchmark.datasets.arrays.path import OWN_CACHE, READERS, array_file
from benchmark.datasets.arrays.scan import Scan, column_name, encode_labels, scan
from benchmark.datasets.arrays.source import Source, Wanted, batch_slices, named
from benchmark.datasets.base import Dataset, Rescaled, split_dataset
from benchmark.datasets.scaling import UNSCALED, Scaling
from benchmark.errors import Damaged, InputError
from benchmark.paths import cache_folder
from benchmark.store.atomic_files import read_json, replacing, temporary_path, write_json

CACHE_VERSION = 2  # raise it when reading changes
COUNTS = "likelihood=negative-binomial"
Scale = Literal["standard", "none"]


@dataclass(frozen=True)
class Stored:
    """A file's array as it is used: values [N, *shape], memory-mapped; labels int64 [N]; the columns' names.

    classes: names of the labels, ("",) without labels. notes: what was left out. looks_like_counts: see `Scan`. low,
    high: the smallest and the largest value.
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str
    looks_like_counts: bool
    low: float
    high: float


def load(
    path: str,
    key: str | None = None,
    labels: str | None = None,
    layer: str | None = None,
    drop: tuple[str, ...] = (),
    scale: Scale = "standard",
) -> Dataset:
    """Loads the array of a .npy, .npz, .csv, .parquet or .h5ad file: [N, D] numbers, or [N, C, H, W] images.

    key: which array of an .npz. labels: the column of a table or of `obs` that holds each row's class, an array of the
    .npz, or a .npy beside the .npy; without them there is one class. layer: of an .h5ad, in place of X. drop: columns
    of a table to leave out. scale: of rows of numbers, `standard`, each column less its mean over the training rows,
    divided by its standard deviation there, or `none`; the likelihoods for counts and for 0 and 1 take them as they
    are. Constant columns are left out; the deviation of one that is constant over the training rows alone is that over
    all rows. Images of bytes are seen in [0, 1], others as they are if they lie there, else from the smallest value to
    the largest. A tenth of the rows is the test split, a tenth of the rest is for validation. Raises InputError for
    values that are missing, infinite or no numbers, and for files that are something else.
    """
    file = array_file(path)
    wanted = Wanted(f"array:{path}", key, labels, layer, tuple(drop))
    stored = _stored(file, wanted)
    scaling, seen = _scaling(stored, scale)
    content = repr((stored.fingerprint, scale)).encode()
    notes = [*seen, *stored.notes]
    if stored.looks_like_counts and stored.values.ndim == 2:
        notes.append(f"whole numbers from 0 to {stored.high:g}: if they are counts, --set {COUNTS} suits them")
    return split_dataset(
        f"array:{path}",
        torch.from_numpy(stored.values),
        torch.from_numpy(stored.labels),
        n_classes=len(stored.classes),
        fingerprint=hashlib.blake2b(content, digest_size=16).hexdigest(),
        classes=stored.classes,
        notes=notes,
        scaling=scaling,
        value_names=stored.names,
    )


def _scaling(stored: Stored, scale: Scale) -> tuple[Rescaled, list[str]]:
    """How the values reach a network, and that in words where no other line says so."""
    low, high = stored.low, stored.high
    if stored.values.ndim == 2:
        return ("standard", []) if scale == "standard" else (UNSCALED, ["not scaled"])
    if stored.values.dtype == np.uint8 and high > 1:
        return None, []
    if scale == "none" or 0 <= low and high <= 1:
        return UNSCALED, ["not scaled"]
    return Scaling(low, high - low), [f"{low:g} to {high:g} seen as 0 to 1"]


def _stored(file: Path, wanted: Wanted) -> Stored:
    """The array from the cache, or read into it."""
    status = [(str(one), one.stat()) for one in (file.absolute(), file.parent / (wanted.labels or "")) if one.is_file()]
    key = listing_key(status, CACHE_VERSION, asdict(replace(wanted, where="")))
    beside = file.parent / OWN_CACHE
    cache = beside / key if os.access(beside, os.W_OK) else cache_folder("arrays", key)
    cache.mkdir(exist_ok=True)
    with contextlib.suppress(OSError, ValueError, KeyError, Damaged):
        return _cached(file, cache)
    read: Callable[[Path, Wanted], Source] = READERS[file.suffix.lower()].load()
    _fill(cache, wanted.where, read(file, wanted))
    return _cached(file, cache)


def _cached(file: Path, cache: Path) -> Stored:
    """Raises an error if the cache is incomplete: done.json is written last."""
    content = read_json(cache / "done.json")
    offset = content.pop("offset")  # of the values in the user's own file; None where they are in the cache
    dtype, shape = np.dtype(content.pop("dtype")), tuple(content.pop("shape"))
    where = cache / "values.bin" if offset is None else file
    order: Literal["F", "C"] = "F" if content.pop("fortran") else "C"
    values = np.memmap(where, dtype, "c", offset or 0, shape, order)
    labels = np.load(cache / "labels.npy")
    names, classes, notes = (tuple(content.pop(name)) for name in ("names", "classes", "notes"))
    return Stored(values, labels, names, classes, notes, content["fingerprint"], *content["seen"])


def _fill(cache: Path, where: str, source: Source) -> None:
    """Reads the file, and writes its values to the cache unless they can be mapped in the file itself."""
    mapped = source.mapped if isinstance(source.mapped, np.memmap) else None
    target = cache / "values.bin"
    whole, without = temporary_path(target), temporary_path(target)
    try:
        found = scan(where, source, whole if mapped is None else None)
        shape = (found.n_rows, *source.shape)
        values: NDArray[Any] = np.memmap(whole, source.dtype, "r", shape=shape) if mapped is None else mapped
        names, notes = source.names, list(source.notes)
        kept = np.flatnonzero(found.low < found.high)
        if len(source.shape) == 1 and len(kept) < len(found.low):
            notes.append(_constant_note(where, source, found, kept))
            names = tuple(names[column] for column in kept) if names else ()
            values = _without_columns(values, kept, without)
            found = replace(found, low=found.low[kept], high=found.high[kept])
        if found.low.min() == found.high.max():
            raise InputError(f"{where}: all values are {found.low.min():g}; expected values that differ")
        labels, classes = np.zeros(found.n_rows, dtype=np.int64), tuple([""])
        if found.labels is not None:
            labels, classes = encode_labels(where, found.labels)
        is_users = mapped is not None and values is mapped
        content = {
            "offset": int(mapped.offset) if mapped is not None and is_users else None,
            "fortran": is_users and not values.flags.c_contiguous,
            **{"dtype": values.dtype.str, "shape": list(values.shape), "names": names, "classes": classes},
            **{"notes": notes, "fingerprint": _fingerprint(values, labels)},
            "seen": [found.looks_like_counts, float(found.low.min()), float(found.high.max())],
        }
        if not is_users:
            os.replace(without if without.exists() else whole, target)
        with replacing(cache / "labels.npy") as temporary, temporary.open("wb") as opened:
            np.save(opened, labels)
    finally:
        for path in (whole, without):
            path.unlink(missing_ok=True)
    write_json(cache / "done.json", content)


def _constant_note(where: str, source: Source, found: Scan, kept: NDArray[Any]) -> str:
    constant = sorted(set(range(source.shape[0])) - set(kept.tolist()))
    count = f"{len(constant):,} constant column{'' if len(constant) == 1 else 's'}"
    text = f"{count} ({named([column_name(source, column) for column in constant])})"
    if len(kept) < 2:
        raise InputError(f"{where}: {text}, which leaves {len(kept)}; expected at least 2 that vary over the rows")
    return f"left out: {text}"


def _without_columns(values: NDArray[Any], kept: NDArray[Any], target: Path) -> NDArray[Any]:
    with target.open("wb") as file:
        for rows in batch_slices(len(values), values.shape[1:], values.dtype):
            file.write(np.ascontiguousarray(values[rows][:, kept]).data)
    return np.memmap(target, values.dtype, "r", shape=(len(values), len(kept)))


def _fingerprint(values: NDArray[Any], labels: NDArray[np.int64]) -> str:
    digest = hashlib.blake2b(repr((values.dtype.str, values.shape)).encode(), digest_size=16)
    digest.update(labels.data)
    for rows in batch_slices(len(values), values.shape[1:], values.dtype):
        digest.update(np.ascontiguousarray(values[rows]).data)
    return digest.hexdigest()
