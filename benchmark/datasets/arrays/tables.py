"""Reads .csv and .parquet, a few MB at a time."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from benchmark.datasets.arrays.source import Batch, Source, Wanted, batch_rows, kept_dtype, named
from benchmark.errors import InputError
from benchmark.text import one_line

UNNAMED = ("", "Unnamed: 0", "__index_level_0__")  # pandas writes a row index under these names
DELIMITERS = (",", ";", "\t")
BUFFER = 2**16  # bytes of a column that are read at once; else its whole part of the file
FLOAT = np.dtype(np.float64)
MISSING = ("", "na", "n/a", "null")  # beside nan, in lower case
LEAST_ORDERED = 6  # numbers that rise or fall in a first line by chance once in 360
IS_DATA = "the first line was read as data: no header"
IS_NAMES = "the first line was read as names: its numbers are in order"


def read_csv(file: Path, wanted: Wanted) -> Source:
    """The columns of numbers, as float64. The first line has the names, unless it holds numbers without an order."""
    _refuse(wanted)
    try:
        with file.open("rb") as opened:
            first = opened.readline().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{wanted.where}: its first line is not UTF-8; save the file as UTF-8") from error
    delimiter = max(DELIMITERS, key=first.count)
    cells = [cell.strip().strip('"') for cell in first.rstrip("\r\n").split(delimiter)]
    is_numbers, is_ordered = _holds_numbers(cells), _is_ordered(cells)
    options = pa.csv.ReadOptions(autogenerate_column_names=is_numbers and not is_ordered)
    parse = pa.csv.ParseOptions(delimiter=delimiter)
    try:
        schema = pa.csv.open_csv(file, options, parse).schema
    except pa.ArrowInvalid as error:
        raise InputError(f"{wanted.where}: cannot read it as a table ({one_line(error)}); correct the file") from error
    names, notes = _columns(schema, wanted)
    notes += ((IS_NAMES if is_ordered else IS_DATA),) if is_numbers else ()
    booleans = {name for name in names if pa.types.is_boolean(schema.field(name).type)}
    types: dict[str, Any] = {name: pa.bool_() if name in booleans else pa.float64() for name in names}
    types |= {} if wanted.labels is None else {wanted.labels: pa.string()}
    convert = pa.csv.ConvertOptions(column_types=types, include_columns=list(types))

    def batches() -> Iterator[Batch]:
        try:
            for table in pa.csv.open_csv(file, options, parse, convert):
                yield _batch(table, names, wanted.labels, FLOAT)
            pa.default_memory_pool().release_unused()
        except pa.ArrowInvalid as error:
            raise InputError(f"{wanted.where}: {_misfit(error, schema.names)}") from error

    return Source((len(names),), FLOAT, names, batches, notes)


def read_parquet(file: Path, wanted: Wanted) -> Source:
    """The columns of numbers, in the narrowest type that holds them all."""
    _refuse(wanted)
    try:
        opened = pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{wanted.where}: cannot read it as a table ({one_line(error)}); correct the file") from error
    schema = opened.schema_arrow
    names, notes = _columns(schema, wanted)
    dtype = kept_dtype(wanted.where, np.result_type(*(schema.field(name).type.to_pandas_dtype() for name in names)))
    asked = [*names, *([] if wanted.labels is None else [wanted.labels])]

    def batches() -> Iterator[Batch]:
        for table in opened.iter_batches(batch_rows((len(asked),), FLOAT), columns=asked):
            yield _batch(table, names, wanted.labels, dtype)
        pa.default_memory_pool().release_unused()

    return Source((len(names),), dtype, names, batches, notes)


def _misfit(error: Exception, names: Sequence[str]) -> str:
    """What pyarrow refuses, with the column's name."""
    text = one_line(error)
    found = re.match(r"In CSV column #(\d+): (?:Row #(\d+): )?.*invalid value '(.*)'", text)
    if found is None:
        return f"cannot read it as a table ({text}); correct the file"
    row = f" in line {found[2]}" if found[2] else ""
    return f"column {names[int(found[1])]} has {found[3]!r}{row}; expected numbers: correct it, or leave the column out"


def _refuse(wanted: Wanted) -> None:
    for option, formats in (("key", ".npz"), ("layer", ".h5ad")):
        wanted.refuse(option, formats)


def _columns(schema: pa.Schema, wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the columns of numbers, without those to leave out, and notes on what was left out."""
    where, names = wanted.where, list(schema.names)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: several columns are named {named(twice)}; expected different names: rename them")
    for name in (*wanted.drop, *([] if wanted.labels is None else [wanted.labels])):
        if name not in names:
            raise InputError(f"{where}: has no column {name!r}; expected one of {named(names)}")
    indices = [name for name in names if name in UNNAMED and name != wanted.labels]
    out = {*wanted.drop, *indices, wanted.labels}
    kept = [name for name in names if name not in out]
    text = [name for name in kept if not _is_numeric(schema.field(name).type)]
    if text:
        kinds = f"{len(text):,} column{'' if len(text) == 1 else 's'} without numbers ({named(text)})"
        advice = "leave them out (--set 'dataset.drop=[\"NAME\"]'), or name one as labels (--set dataset.labels=NAME)"
        raise InputError(f"{where}: {kinds}; expected numbers: {advice}")
    if len(kept) < 2:
        raise InputError(f"{where}: {len(kept)} column{'' if len(kept) == 1 else 's'} of numbers; expected at least 2")
    notes = [f"left out: {named(wanted.drop)}"] if wanted.drop else []
    notes += ["left out: the row index"] if indices else []
    return tuple(kept), tuple(notes)


def _batch(table: Any, names: Sequence[str], labels: str | None, dtype: np.dtype[Any]) -> Batch:
    has_gap = any(table.column(name).null_count for name in names)
    values: NDArray[Any] = np.empty((table.num_rows, len(names)), FLOAT if has_gap else dtype)
    for number, name in enumerate(names):
        values[:, number] = table.column(name).to_numpy(zero_copy_only=False)
    return Batch(values, None if labels is None else table.column(labels).to_pylist())


def _is_numeric(kind: Any) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_null))


def _holds_numbers(cells: Sequence[str]) -> bool:
    """Whether a line has numbers or gaps alone, and one number at least."""
    found = [cell for cell in cells if cell.lower() not in MISSING]
    return bool(found) and all(map(_is_number, found))


def _is_ordered(cells: Sequence[str]) -> bool:
    """Whether a line of numbers names columns: 0, 1, 2, ..., or wavelengths; the row index has no name."""
    own = cells[1:] if cells[0] == "" else cells
    if not all(map(_is_number, own)):
        return False
    numbers = np.array([float(cell) for cell in own])
    if len(own) > 2 and list(own) == [str(number) for number in range(len(own))]:
        return True
    steps = np.diff(numbers)
    return len(own) >= LEAST_ORDERED and bool((steps > 0).all() or (steps < 0).all())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
