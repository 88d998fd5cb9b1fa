"""A study in one Parquet file: all that reports read of a results folder but models and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.errors import InputError
from benchmark.store.atomic_files import replacing
from benchmark.store.columns import KEYS
from benchmark.store.folders import SearchFolder

FORMAT = "latentbench-study-1"
FRAMES = ("searches", "trials", "epochs", "curves", "latents")
_META = b"latentbench"


class Frames(Protocol):
    """What a study's file is written from."""

    def searches(self) -> pd.DataFrame: ...  # noqa: D102
    def trials(self) -> pd.DataFrame: ...  # noqa: D102
    def epochs(self) -> pd.DataFrame: ...  # noqa: D102
    def curves(self) -> pd.DataFrame: ...  # noqa: D102
    def latents(self) -> pd.DataFrame: ...  # noqa: D102
    def kept(self) -> dict[str, str]: ...  # noqa: D102


def write_study_file(store: Frames, path: Path, most_epochs: int | None = None) -> None:
    """Writes the file, which appears only when it is complete.

    It is one table, a row group a frame: the column `epochs.kl` is `kl` of `epochs()` and empty in the rows of other
    frames. Of `latents()` it has the last epoch of each training. Protocols and packages stand in its metadata.
    most_epochs: about so many rows of `epochs()` at most are kept of a training, the last among them; None keeps all.
    """
    frames = {name: getattr(store, name)() for name in FRAMES[:-1]}
    if most_epochs is not None:
        frames["epochs"] = _thinned(frames["epochs"], frames["searches"], most_epochs)
    frames["latents"] = _last_epochs(store.latents())
    tables = [_prefixed(name, frame) for name, frame in frames.items()]
    fields = [field.with_nullable(True) for table in tables for field in table.schema]
    meta = {"format": FORMAT, "rows": {name: len(frame) for name, frame in frames.items()}, "kept": store.kept()}
    schema = pa.schema(fields, metadata={_META: json.dumps(meta)})
    floats = [field.name for field in fields if pa.types.is_floating(field.type)]
    others = [field.name for field in fields if not pa.types.is_nested(field.type) and field.name not in floats]
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 9, "write_page_checksum": True}
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, use_dictionary=others, use_byte_stream_split=floats, **options) as writer,
    ):
        for table in tables:
            writer.write_table(_widened(table, schema), row_group_size=max(1, len(table)))


class StudyFile:
    """The frames of a study's file, as those of the folder that it was written from.

    latents: of the last epoch of each training. Probes, galleries, example rows and the searches' files are left out.
    Raises InputError where the file is no study's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            schema = pq.read_schema(path)
            self._meta: dict[str, Any] = json.loads((schema.metadata or {})[_META])
            if self._meta["format"] != FORMAT:
                raise ValueError(f"its format is {self._meta['format']!r}, expected {FORMAT!r}")
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            self._refuse(error)
        self._columns = schema.names

    def searches(self) -> pd.DataFrame:
        return self._frame("searches")

    def trials(self) -> pd.DataFrame:
        return self._frame("trials")

    def epochs(self) -> pd.DataFrame:
        return self._frame("epochs")

    def curves(self) -> pd.DataFrame:
        return self._frame("curves")

    def latents(self) -> pd.DataFrame:
        return self._frame("latents")

    def probes(self) -> pd.DataFrame:
        return pd.DataFrame(columns=[*KEYS, "trial", "epoch"])

    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None:
        return None

    def rows(self, search_id: str) -> dict[str, np.ndarray] | None:
        return None

    def folder(self, search_id: str) -> SearchFolder:
        raise InputError(f"{self.path} has no models and no files of single searches; expected a results folder")

    def kept(self) -> dict[str, str]:
        return dict(self._meta["kept"])

    def _frame(self, name: str) -> pd.DataFrame:
        columns = [column for column in self._columns if column.startswith(f"{name}.")]
        names = [column.removeprefix(f"{name}.") for column in columns]
        written = [other for other, rows in self._meta["rows"].items() if rows]
        if name not in written:
            return pd.DataFrame(columns=names)
        try:
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
            filled = [i for i in range(file.num_row_groups) if file.metadata.row_group(i).num_rows]
            table = file.read_row_group(filled[written.index(name)], columns=columns).rename_columns(names)
        except (pa.ArrowException, OSError) as error:
            self._refuse(error)
        frame: pd.DataFrame = table.to_pandas()
        lists = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        return frame.assign(**{column: pd.Series(table[column].to_pylist(), dtype=object) for column in lists})

    def _refuse(self, error: Exception) -> NoReturn:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"no results at {self.path}, a file ({reason}); expected a results folder, or a file that "
            "`latentbench export --to study` wrote"
        ) from error


def _thinned(epochs: pd.DataFrame, searches: pd.DataFrame, most: int) -> pd.DataFrame:
    """Every n-th epoch and each training's last; n is the same for all trainings under a protocol."""
    hashes = epochs["search_id"].map(searches.set_index("search_id")["protocol_hash"])
    step = np.ceil(epochs["epoch"].groupby(hashes.fillna("")).transform("max") / most)
    last = epochs.groupby(["search_id", "trial"])["epoch"].transform("max")
    kept: pd.DataFrame = epochs[(epochs["epoch"] % step == 0) | (epochs["epoch"] == last)]
    return kept.reset_index(drop=True)


def _last_epochs(latents: pd.DataFrame) -> pd.DataFrame:
    last = latents.groupby(["search_id", "trial"])["epoch"].transform("max")
    return latents[latents["epoch"] == last].reset_index(drop=True)


def _prefixed(name: str, frame: pd.DataFrame) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.rename_columns([f"{name}.{column}" for column in table.column_names])


def _widened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    empty = {field.name: pa.nulls(len(table), field.type) for field in schema}
    own = {name: table[name] for name in table.column_names}
    return pa.table({**empty, **own}, schema=schema)
