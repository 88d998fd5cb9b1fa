"""What is read of a file: batches of rows, and the options that say which."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmark.errors import InputError
from benchmark.text import printable

BATCH_BYTES = 2**23
LEAST_ROWS = 3  # one to train on, one for validation, one to test
MAX_NAMED = 10  # columns or arrays that a message names


@dataclass(frozen=True)
class Wanted:
    """What the user asked for; see `benchmark.datasets.arrays.array.load`. where: begins every error line."""

    where: str
    key: str | None = None
    labels: str | None = None
    layer: str | None = None
    drop: tuple[str, ...] = ()

    def refuse(self, what: str, formats: str) -> None:
        """Raises InputError if an option was given that files of this kind do not have."""
        if getattr(self, what):
            raise InputError(f"{self.where}: {what} is {getattr(self, what)!r}, which is for {formats}; leave it out")


class Batch(NamedTuple):
    """Consecutive rows [n, *shape] and, where labels were asked for, their labels [n]."""

    values: NDArray[Any]
    labels: Sequence[Any] | None = None


@dataclass(frozen=True)
class Source:
    """The rows of a file.

    shape: of a row, (D,) numbers or (C, H, W) pixels. dtype: of the values as they are kept. names: of the D columns,
    or empty. batches: reads the file from its start, a few MB at a time. notes: what was left out. mapped: the whole
    array [N, *shape], where the file can be memory-mapped.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    names: tuple[str, ...]
    batches: Callable[[], Iterator[Batch]]
    notes: tuple[str, ...] = ()
    mapped: NDArray[Any] | None = None


def batch_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many rows of this shape a batch has."""
    return max(1, BATCH_BYTES // max(1, int(np.prod(shape)) * dtype.itemsize))


def batch_slices(n_rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[slice]:
    """The batches of so many rows, in order."""
    step = batch_rows(shape, dtype)
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def from_array(where: str, values: NDArray[Any], labels: Sequence[Any] | None) -> Source:
    """The source of an array in memory or memory-mapped, [N, D] or [N, C, H, W].

    Raises InputError for other shapes and for values that are no numbers.
    """
    check_shape(where, values.shape)
    dtype = kept_dtype(where, values.dtype)
    if labels is not None and len(labels) != len(values):
        raise InputError(f"{where}: {len(labels)} labels for {len(values)} rows; expected one for each row")
    shape = values.shape[1:]

    def batches() -> Iterator[Batch]:
        for rows in batch_slices(len(values), shape, dtype):
            yield Batch(np.asarray(values[rows]), None if labels is None else labels[rows])

    return Source(shape, dtype, (), batches, mapped=values if values.dtype == dtype else None)


def check_shape(where: str, shape: tuple[int, ...]) -> None:
    """Raises InputError unless it is [N, D] or [N, C, H, W] with LEAST_ROWS rows or more."""
    if len(shape) == 3:
        hint = f"grey images are [{shape[0]}, 1, {shape[1]}, {shape[2]}]: reshape it"
    elif len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] > 4:
        hint = "the channels come second: transpose it by (0, 3, 1, 2)"
    elif len(shape) == 1:
        hint = f"{shape[0]} rows of one number are [{shape[0]}, 1]; a latent size needs several columns"
    elif len(shape) not in (2, 4):
        hint = "reshape it"
    elif 0 in shape[1:]:
        hint = "it has no values"
    elif len(shape) == 2 and shape[1] < 2:
        hint = "one column has no latent size to find"
    else:
        check_rows(where, shape[0])
        return
    raise InputError(f"{where}: the array is {list(shape)}; expected [N, D] numbers or [N, C, H, W] images: {hint}")


def check_rows(where: str, n_rows: int) -> None:
    """Raises InputError for fewer than LEAST_ROWS rows."""
    if n_rows < LEAST_ROWS:
        got = f"{n_rows} row{'' if n_rows == 1 else 's'}"
        raise InputError(f"{where}: {got}; expected rows to train on and to test: at least {LEAST_ROWS}")


def kept_dtype(where: str, dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype in which values are kept: exact, and one that torch has. Raises InputError for what is no number."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind == "i":
        return dtype.newbyteorder("=")
    if dtype.kind == "u":
        wider = {1: np.uint8, 2: np.uint16, 4: np.int64, 8: np.float64}
        return np.dtype(wider[dtype.itemsize])
    kinds = {"O": "Python objects", "c": "complex numbers", "M": "dates", "m": "durations"}
    raise InputError(f"{where}: the values are {kinds.get(dtype.kind, f'of type {dtype}')}; expected real numbers")


def named(names: Sequence[object]) -> str:
    """The first ten names in a line, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(printable(name) for name in names[:MAX_NAMED]) + more
