"""The user's data as a dataset that the bench loads by name: what is in memory becomes a file beside the results."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import ArrayLike

from benchmark.datasets import check_dataset_name
from benchmark.datasets.arrays.path import OWN_CACHE
from benchmark.errors import InputError
from benchmark.store.atomic_files import replacing
from benchmark.text import one_line

Data: TypeAlias = ArrayLike | torch.Tensor | pd.DataFrame | str | Path
"""An array [N, D] or [N, C, H, W], a table, or a dataset's name, such as `digits`, `folder:PATH` or `array:PATH`."""

LABELS = "labels"


class NamedData(NamedTuple):
    """A dataset's name and its options."""

    name: str
    options: Mapping[str, Any]


def named_data(data: Data, labels: Sequence[Any] | str | None, results: Path) -> NamedData:
    """The dataset of these data; what is in memory is written below `results`, under a name that its content gives.

    labels: the class of each row, or the column, array or file that holds it. Raises InputError where they do not fit.
    """
    if isinstance(data, Path):
        data = f"{'folder' if data.is_dir() else 'array'}:{data}"
    if isinstance(data, str):
        if labels is not None and not isinstance(labels, str):
            raise InputError(f"labels is a {type(labels).__name__} beside data by name; expected the name of a column")
        check_dataset_name(data)
        return NamedData(data, {} if labels is None else {LABELS: labels})
    given: Any
    for what, given in (("X", data), ("labels", labels)):
        if np.ma.is_masked(given):
            raise InputError(f"{what} has masked values: {int(np.ma.getmaskarray(given).sum()):,}; expected none")
    if hasattr(data, "tocsr"):
        raise InputError("X is a sparse matrix; expected rows of numbers: pass X.toarray(), or a .h5ad by array:PATH")
    if isinstance(data, pd.DataFrame):
        return _table(data, labels, results)
    if isinstance(labels, str):
        raise InputError(f"labels is {labels!r}, and X has no columns with names; expected the class of each row")
    values = _array(data)
    if values.dtype == object:
        raise InputError("X holds Python objects; expected numbers")
    own = None if labels is None else _classes(labels)
    path = _folder(results) / f"X-{_digest(values, own)}.npy"
    _save(path, values)
    if own is None:
        return NamedData(f"array:{path}", {})
    beside = path.with_name(f"{path.stem}-{LABELS}.npy")
    _save(beside, own.astype(str) if own.dtype == object else own)
    return NamedData(f"array:{path}", {LABELS: beside.name})


class Columns(NamedTuple):
    """The columns that a model takes: names, with a total of 0, or the numbers of an array's, which has so many.

    None for images, and for a file whose columns have no names.
    """

    used: list[Any] | None
    total: int


def used_columns(data: Data, value_names: Sequence[str]) -> Columns:
    """Those of these data that are in use; value_names: what the dataset calls them, if it has names."""
    if isinstance(data, (str, Path)):
        return Columns(list(value_names) or None, 0)
    if isinstance(data, pd.DataFrame):
        return Columns([column for column in data.columns if str(column) in set(value_names)], 0)
    values = _array(data)
    if values.ndim != 2:
        return Columns(None, 0)
    return Columns(np.flatnonzero(values.min(0) < values.max(0)).tolist(), values.shape[1])


def _table(data: pd.DataFrame, labels: Sequence[Any] | str | None, results: Path) -> NamedData:
    frame, column = data.reset_index(drop=True), labels if isinstance(labels, str) else None
    frame.columns = frame.columns.map(str)
    if labels is not None and column is None:
        column = LABELS if LABELS not in frame.columns else f"{LABELS} of the rows"
        if len(labels) != len(frame):
            raise InputError(f"{len(labels)} labels for {len(frame)} rows; expected one for each row")
        frame[column] = _classes(labels)
    digest = hashlib.blake2b(repr(list(frame.columns)).encode(), digest_size=8)
    try:
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        path = _folder(results) / f"X-{digest.hexdigest()}.parquet"
        if not path.is_file():
            with replacing(path) as temporary:
                frame.to_parquet(temporary, index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(f"X cannot be kept as a table ({one_line(error)}); expected columns of numbers") from error
    return NamedData(f"array:{path}", {} if column is None else {LABELS: column})


def _folder(results: Path) -> Path:
    """Where data in memory are written, with a cache of their own, so that they go with the results."""
    folder = results / "data"
    (folder / OWN_CACHE).mkdir(parents=True, exist_ok=True)
    return folder


def _array(data: Any) -> np.ndarray:
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        data = data.float() if data.dtype == torch.bfloat16 else data
    return np.asarray(data)


def _classes(labels: Any) -> np.ndarray:
    """The class of each row; a list's None and NaN are refused before numpy makes text of them."""
    found = _array(labels)
    missing = int(pd.isna(np.asarray(labels, dtype=object) if isinstance(labels, (list, tuple)) else found).sum())
    if missing:
        raise InputError(f"{missing:,} label{'' if missing == 1 else 's'} missing; expected one for each row")
    return found


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        if array is not None:
            digest.update(repr((array.dtype.str, array.shape)).encode())
            content = np.ascontiguousarray(array.astype(str) if array.dtype == object else array)
            digest.update(content.view(np.uint8).data if content.size and content.ndim else content.tobytes())
    return digest.hexdigest()


def _save(path: Path, values: np.ndarray) -> None:
    if path.is_file():
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
