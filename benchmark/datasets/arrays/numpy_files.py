"""Reads .npy and .npz. Pickled objects are never read: they could run code."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.arrays.source import Source, Wanted, from_array, named
from benchmark.errors import InputError
from benchmark.text import one_line

PICKLED = "holds Python objects (a pickle), which are never read, since they can run code; save plain numbers"


def read_npy(file: Path, wanted: Wanted) -> Source:
    """The array of a file, memory-mapped; labels: the name of another .npy beside it."""
    for option, formats in (("key", ".npz"), ("layer", ".h5ad"), ("drop", ".csv and .parquet")):
        wanted.refuse(option, formats)
    values = _load(file, wanted.where, mapped=True)
    if wanted.labels is None:
        return from_array(wanted.where, values, None)
    beside = file.parent / wanted.labels
    if not beside.is_file():
        raise InputError(f"{wanted.where}: no labels at {beside}; expected the name of a .npy file beside the array")
    labels = _load(beside, f"{wanted.where}: labels {wanted.labels}")
    return from_array(wanted.where, values, _one_each(wanted.where, labels))


def read_npz(file: Path, wanted: Wanted) -> Source:
    """The array `key`, or the only one beside the array `labels`."""
    for option, formats in (("layer", ".h5ad"), ("drop", ".csv and .parquet")):
        wanted.refuse(option, formats)
    where = wanted.where
    if not zipfile.is_zipfile(file):  # np.load would leave it open
        raise InputError(f"{where}: cannot read it (it is cut short, or no such file); save it anew with numpy")
    archive = _load(file, where)
    with archive:
        others = [name for name in archive.files if name != wanted.labels]
        for name in filter(None, (wanted.key, wanted.labels)):
            if name not in archive.files:
                raise InputError(f"{where}: has no array {name!r}; expected one of {named(archive.files)}")
        if wanted.key is None and len(others) != 1:
            got = f"has the arrays {named(others)}" if others else "has no array"
            raise InputError(f"{where}: {got}; name the one to use: --set dataset.key=NAME")
        values = _member(archive, wanted.key or others[0], where)
        labels = None if wanted.labels is None else _one_each(where, _member(archive, wanted.labels, where))
    return from_array(where, values, labels)


def _load(file: Path, where: str, mapped: bool = False) -> Any:
    try:
        return np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except ValueError as error:
        raise _unreadable(where, error) from error
    except (OSError, EOFError) as error:
        raise InputError(f"{where}: cannot read it ({one_line(error)}); save it anew") from error


def _member(archive: Any, name: str, where: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except Exception as error:  # a damaged archive raises all sorts
        raise _unreadable(f"{where}: array {name}", error) from error


def _unreadable(where: str, error: Exception) -> InputError:
    text = one_line(error)
    if "Object arrays" in text or "Python objects" in text:
        return InputError(f"{where}: {PICKLED}")
    got = "it is no such file" if "pickle" in text else text
    return InputError(f"{where}: cannot read it ({got}); save it anew with numpy")


def _one_each(where: str, labels: NDArray[Any]) -> list[Any]:
    if labels.ndim != 1:
        raise InputError(f"{where}: the labels are {list(labels.shape)}; expected [N], one for each row")
    found: list[Any] = labels.tolist()
    return found
