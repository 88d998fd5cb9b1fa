"""Looks at all values of a file once: what is missing, what is constant, whether they look like counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.arrays.source import MAX_NAMED, Source, check_rows, named
from benchmark.errors import InputError
from benchmark.stages import begin_stage

COUNT_MAX = 2  # values of counts reach more than this; 0 and 1 are answers to questions


@dataclass(frozen=True)
class Scan:
    """What the values [N, *shape] are. low, high: of each of a row's values, flattened, [D].

    labels: [N], or None. is_whole: all are whole numbers.
    """

    n_rows: int
    low: NDArray[Any]
    high: NDArray[Any]
    is_whole: bool
    labels: list[Any] | None

    @property
    def looks_like_counts(self) -> bool:
        """Whether the values are whole numbers from 0 on, and not 0 and 1 alone."""
        return self.is_whole and bool(self.low.min() >= 0 and self.high.max() > COUNT_MAX)


def scan(where: str, source: Source, out: Path | None) -> Scan:
    """Reads all rows, and writes their values to `out` where it is given, in the source's dtype.

    Raises InputError for missing and infinite values, and for too few rows.
    """
    size = int(np.prod(source.shape))
    missing, infinite = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    n_rows, is_whole, labels = 0, True, list[Any]()
    advance = begin_stage("reading the array", unit="rows")
    with out.open("wb") if out else _Nowhere() as file:
        for values, own in source.batches():
            flat = values.reshape(len(values), size)
            if not len(flat):
                continue
            if flat.dtype.kind == "f":
                missing += np.isnan(flat).sum(0)
                infinite += np.isinf(flat).sum(0)
                is_whole = is_whole and bool((flat == np.floor(flat)).all())
            if not (missing.any() or infinite.any()):
                np.minimum(low, flat.min(0), out=low)
                np.maximum(high, flat.max(0), out=high)
                file.write(np.ascontiguousarray(flat, dtype=source.dtype).data)
            n_rows += len(flat)
            labels += [] if own is None else list(own)
            has_labels = own is not None
            advance(len(flat))
    for count, what in ((missing, "missing"), (infinite, "infinite")):
        if count.any():
            raise InputError(f"{where}: {_bad_values(count, what, source)}; expected none: fill or drop them")
    check_rows(where, n_rows)
    return Scan(n_rows, low, high, is_whole, labels if has_labels else None)


class _Nowhere:
    """A file that keeps nothing."""

    def __enter__(self) -> "_Nowhere":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, content: object) -> None:
        """Keeps nothing."""


def _bad_values(counts: NDArray[Any], what: str, source: Source) -> str:
    total = int(counts.sum())
    text = f"{total:,} {what} value{'' if total == 1 else 's'}"
    if len(source.shape) > 1:
        return text
    columns = np.flatnonzero(counts)
    each = [f"{column_name(source, int(column))}: {counts[column]:,}" for column in columns[: MAX_NAMED + 1]]
    more = [""] * (len(columns) - len(each))
    return f"{text} in {len(columns):,} column{'' if len(columns) == 1 else 's'} ({named([*each, *more])})"


def column_name(source: Source, number: int) -> str:
    """A column's name, or its number from 0 on."""
    return source.names[number] if source.names else f"column {number}"


def encode_labels(where: str, labels: Sequence[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers the sorted classes from 0 on; returns the labels as these numbers, and the classes' names."""
    missing = sum(label is None or label == "" or label != label for label in labels)
    if missing:
        raise InputError(f"{where}: {missing:,} label{'' if missing == 1 else 's'} missing; expected one for each row")
    is_number = all(isinstance(label, (int, float)) for label in labels)
    classes, codes = np.unique(np.asarray(labels if is_number else list(map(str, labels))), return_inverse=True)
    if len(classes) > max(2, len(labels) // 2):
        got = f"{len(classes):,} different labels for {len(labels):,} rows"
        raise InputError(f"{where}: {got}; expected classes with several rows each: leave the labels out")
    names = tuple(f"{name:g}" if is_number else str(name) for name in classes.tolist())
    return codes.astype(np.int64), names
