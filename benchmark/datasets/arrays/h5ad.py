"""Reads .h5ad by AnnData's file format (https://anndata.readthedocs.io/en/stable/fileformat-prose.html), with h5py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from benchmark.datasets.arrays.source import Batch, Source, Wanted, batch_slices, check_shape, kept_dtype, named
from benchmark.errors import InputError
from benchmark.text import one_line

SPARSE = ("csr_matrix", "csc_matrix")


def read_h5ad(file: Path, wanted: Wanted) -> Source:
    """X or a layer, dense or sparse; labels: a column of obs; names: those of the variables."""
    for option, formats in (("key", ".npz"), ("drop", ".csv and .parquet")):
        wanted.refuse(option, formats)
    where = wanted.where
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise InputError(f"{where}: cannot read it ({one_line(error)}); write it anew with anndata") from error
    matrix = _matrix(opened, wanted)
    is_sparse = isinstance(matrix, h5py.Group)
    if is_sparse and _kind(matrix) not in SPARSE:
        raise InputError(f"{where}: its matrix is of the kind {_kind(matrix)!r}; expected an array or {SPARSE}")
    shape = tuple(int(n) for n in (matrix.attrs["shape"] if is_sparse else matrix.shape))
    check_shape(where, shape)
    stored = matrix["data"].dtype if is_sparse else matrix.dtype
    dtype = kept_dtype(where, stored)
    labels = None if wanted.labels is None else _labels(opened, wanted)
    rows = _sparse_rows(matrix, shape) if is_sparse else lambda part: matrix[part]

    def batches() -> Iterator[Batch]:
        for part in batch_slices(shape[0], shape[1:], dtype):
            yield Batch(rows(part), None if labels is None else labels[part])

    mapped = None if is_sparse or stored != dtype else _mapped(file, matrix)
    return Source(shape[1:], dtype, _names(opened, shape[1]), batches, mapped=mapped)


def _matrix(opened: h5py.File, wanted: Wanted) -> Any:
    if wanted.layer is None:
        if "X" not in opened:
            raise InputError(f"{wanted.where}: has no X; name a layer (--set dataset.layer=NAME): {_layers(opened)}")
        return opened["X"]
    if f"layers/{wanted.layer}" not in opened:
        raise InputError(f"{wanted.where}: has no layer {wanted.layer!r}; expected one of {_layers(opened)}")
    return opened["layers"][wanted.layer]


def _layers(opened: h5py.File) -> str:
    return named(list(opened.get("layers", {}))) or "it has none"


def _kind(item: Any) -> str:
    return str(item.attrs.get("encoding-type", "unknown"))


def _sparse_rows(matrix: Any, shape: tuple[int, ...]) -> Any:
    """A function from a slice of rows to them, dense. A matrix stored by columns is turned in memory, still sparse."""
    if _kind(matrix) == "csc_matrix":
        parts = (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:])
        by_rows = scipy.sparse.csc_matrix(parts, shape=shape).tocsr()
        return lambda part: by_rows[part].toarray()
    starts = matrix["indptr"][:]

    def rows(part: slice) -> NDArray[Any]:
        own = starts[part.start : part.stop + 1]
        held = slice(int(own[0]), int(own[-1]))
        parts = (matrix["data"][held], matrix["indices"][held], own - own[0])
        dense: NDArray[Any] = scipy.sparse.csr_matrix(parts, shape=(len(own) - 1, shape[1])).toarray()
        return dense

    return rows


def _mapped(file: Path, matrix: Any) -> NDArray[Any] | None:
    """A matrix that lies in the file in one piece, memory-mapped."""
    offset = matrix.id.get_offset() if matrix.chunks is None else None
    return None if offset is None else np.memmap(file, matrix.dtype, "r", offset, matrix.shape)


def _labels(opened: h5py.File, wanted: Wanted) -> list[Any]:
    obs = opened.get("obs")
    columns = [name for name in obs if name != obs.attrs.get("_index", "_index")] if isinstance(obs, h5py.Group) else []
    if wanted.labels not in columns:
        raise InputError(
            f"{wanted.where}: obs has no column {wanted.labels!r}; expected one of {named(columns) or 'it has none'}"
        )
    column = obs[wanted.labels]
    if isinstance(column, h5py.Group):
        if _kind(column) != "categorical":
            raise InputError(f"{wanted.where}: {wanted.labels} is of the kind {_kind(column)!r}; expected a category")
        categories = [None, *_plain(column["categories"])]  # code -1 is a missing value
        return [categories[code + 1] for code in column["codes"][:].tolist()]
    return _plain(column)


def _names(opened: h5py.File, count: int) -> tuple[str, ...]:
    var = opened.get("var")
    index = var.attrs.get("_index", "_index") if isinstance(var, h5py.Group) else None
    found = _plain(var[index]) if index is not None and index in var else []
    return tuple(map(str, found)) if len(found) == count else ()


def _plain(column: Any) -> list[Any]:
    values: list[Any] = column.asstr()[:].tolist() if h5py.check_string_dtype(column.dtype) else column[:].tolist()
    return values
