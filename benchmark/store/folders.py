"""The files of a search and of its trainings."""

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import Damaged
from benchmark.store.atomic_files import (
    Checked,
    check_digests,
    digests,
    is_hidden,
    is_temporary,
    read_json,
    replacing,
    write_json,
)
from benchmark.store.columns import (
    COSTS,
    CURVE_COLUMNS,
    CURVE_EXTRAS,
    DIGESTED,
    FINAL_FILES,
    FLAGS,
    KEYS,
    LISTS,
    SEARCH_COLUMNS,
    TEXTS,
    TRIAL_COLUMNS,
    TRIAL_FILES,
)
from benchmark.store.rows import ARRAYS, EPOCH_COLUMNS, decode_rows, encode_rows, read_table
from searchers.assessment import Assessment
from searchers.quantities import DRAWN_METRICS, FINAL_METRICS, METRICS, last_means

SHOWN_EVERY = 0.25  # seconds; encoding the rows of a small network's training takes 2 % of its epochs
_SHARED_KEY = re.compile("[0-9a-f]{12}")  # of a training that several searches share


class SearchFolder:
    """The files of one search."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves = path / "curves.arrow"

    def read(self) -> dict[str, Any]:
        """The content of search.json; {} before the search has started. Raises Damaged."""
        path = self.path / "search.json"
        if not path.exists():
            return {}
        content = _read_record(path, required=KEYS, optional=SEARCH_COLUMNS)
        if content["search_id"] != self.path.name:
            raise Damaged(path)
        return content

    def status(self) -> str | None:
        """Returns done, failed or running; None if the search has not started or its search.json is damaged."""
        status: str | None = self._read_intact().get("status")
        return status

    def is_complete(self, with_size_only: bool = False) -> bool:
        """Whether the search is done and, where wanted, its size is scored by a plain training too."""
        search = self._read_intact()
        return search.get("status") == "done" and not (with_size_only and search.get("size_only") is None)

    def attempts(self) -> int:
        """How many times the search has been started."""
        return int(self._read_intact().get("attempts", 0))

    def _read_intact(self) -> dict[str, Any]:
        try:
            return self.read()
        except Damaged:
            return {}

    def begin(self, **values: Any) -> None:
        """Marks the search as running; replaces what an earlier attempt left in search.json."""
        values |= {"status": "running", "error": None, "attempts": self.attempts() + 1}
        write_json(self.path / "search.json", values)

    def reopen(self) -> None:
        """Marks a search with a damaged file as unfinished."""
        content = self._read_intact()
        if content:
            write_json(self.path / "search.json", {**content, "status": "running"})
        else:
            (self.path / "search.json").unlink()

    def tidy(self) -> None:
        """Removes unfinished files of killed processes; keeps other hidden files, which are not ours."""
        for leftover in filter(is_temporary, self.path.rglob(".*")):
            leftover.unlink(missing_ok=True)

    def update(self, **values: Any) -> None:
        """Sets these keys of search.json."""
        write_json(self.path / "search.json", {**self.read(), **values})

    def trial(self, number: int) -> "TrialFolder":
        """The folder of the search's n-th training."""
        return TrialFolder(self.path / "trials" / f"{number:03d}")

    def trials(self) -> Iterator["TrialFolder"]:
        """The trainings that have begun, ordered by number."""
        if (self.path / "trials").is_dir():
            folders = [TrialFolder(path) for path in (self.path / "trials").iterdir() if path.name.isdecimal()]
            for folder in sorted(folders, key=lambda folder: folder.number):
                if not all(map(is_hidden, folder.path.iterdir())):  # of a deleted folder, hidden files may be left
                    yield folder

    def check(self, checked: Checked | None = None) -> None:
        """Raises Damaged if a file of a finished search has changed since the search ended."""
        check_digests(self.path, self.read().get("files", {}), checked)
        for trial in self.trials():
            trial.check(checked)

    def finish(self, status: str, **values: Any) -> None:
        """Ends the search as done or failed, and sums the costs of its trainings."""
        files = digests(self.path, FINAL_FILES)
        records = [trial.summary() for trial in self.trials()]
        totals: dict[str, Any] = {name: sum(record[name] for record in records) for name in COSTS}
        totals["eval_seconds"] += sum(row["eval_seconds"] for row in read_rows(self.curves))
        totals["n_trials"] = len(records)
        for name in ("peak_memory_bytes", "reserved_memory_bytes"):
            totals[name] = max((record.get(name) or 0 for record in records), default=0) or None
        diverged = [record["latent_dim"] for record in records if record["status"] == "failed"]
        totals |= {"n_diverged": len(diverged), "diverged_sizes": ", ".join(map(str, diverged))}
        self.update(status=status, files=files, **totals, **values)


class TrialFolder:
    """The files of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.pt"
        self.optimizer = path / "optimizer.pt"
        self.model = path / "model.pt"
        self.rows = path / "epochs.arrow"
        self._rows_written_at = -math.inf
        self.curves = path / "curves.arrow"

    @property
    def number(self) -> int:
        """The index of the training in its search, from 0."""
        return int(self.path.name)

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces the training's rows."""
        write_rows(self.rows, rows)
        self._rows_written_at = time.monotonic()

    def show_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces the training's rows for those who watch it, at most every SHOWN_EVERY seconds."""
        if time.monotonic() - self._rows_written_at >= SHOWN_EVERY:
            self.write_rows(rows)

    def read_rows(self) -> list[dict[str, Any]]:
        """The training's rows; [] if there are none yet."""
        return read_rows(self.rows)

    def assessments(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of `ResultsStore.curves()` of a finished training's model, on validation data and on the test split.

        Raises Damaged where there are none.
        """
        rows = read_rows(self.curves)
        if [row["split"] for row in rows[-2:]] != ["val", "test"]:
            raise Damaged(self.curves)
        return rows[-2], rows[-1]

    def rows_so_far(self, request: Mapping[str, Any] | None = None) -> Path:
        """The file with the rows so far. A shared training that still runs has it in its own folder.

        request: the result of `request`, if the caller has it.
        """
        if self.rows.exists():
            return self.rows
        key = (self.request() or {} if request is None else request).get("shared")
        if not isinstance(key, str) or not _SHARED_KEY.fullmatch(key):
            return self.rows
        return self.path.parents[3] / "trainings" / key / self.rows.name

    def begin(self, request: dict[str, Any]) -> None:
        """Writes the arguments of the training."""
        write_json(self.path / "request.json", request)

    def request(self) -> dict[str, Any] | None:
        """The arguments of the training; None before it has begun."""
        path = self.path / "request.json"
        return read_json(path) if path.exists() else None

    def finish(self, record: dict[str, Any]) -> None:
        """Ends the training: writes its row of `ResultsStore.trials()` and the digests of its files."""
        write_json(self.path / "trial.json", {**record, "files": digests(self.path, TRIAL_FILES)})

    def finished(self) -> dict[str, Any] | None:
        """The training's row of `ResultsStore.trials()`; None while it has not ended. Raises Damaged."""
        record = self._record()
        return record and {k: v for k, v in record.items() if k != "files"}

    def _record(self) -> dict[str, Any] | None:
        path = self.path / "trial.json"
        if not path.exists():
            return None
        return _read_record(path, required=("trial", "status", "latent_dim", *COSTS), optional=TRIAL_COLUMNS)

    def check(self, checked: Checked | None = None) -> None:
        """Raises Damaged if a file of a finished training has changed since the training ended."""
        self.request()
        check_digests(self.path, (self._record() or {}).get("files", {}), checked)

    def summary(self) -> dict[str, Any]:
        """The training's row of `ResultsStore.trials()`, without the search's keys."""
        finished = self.finished()
        if finished is not None:
            return finished
        path = self.rows_so_far()
        if not path.exists():
            return {"trial": self.number, "status": "running", **dict.fromkeys(COSTS, 0)}
        frame = read_table(path, skip=ARRAYS).to_pandas()
        return summarise(frame, status="running") | {"trial": self.number}


def assessment_of(row: Mapping[str, Any]) -> Assessment:
    """The assessment in a row of `ResultsStore.curves()`, as the file has it."""
    return Assessment(
        size=row["size"],
        metrics={name: row[name] for name in (*FINAL_METRICS, *other_metrics(row))},
        errors={name: row[f"{name}_error"] for name in DRAWN_METRICS},
        losses=np.array(row["losses"], dtype=np.float64),
        higher=frozenset(row.get("higher_is_better") or ()),
    )


def other_metrics(row: Iterable[str]) -> list[str]:
    """The metrics in a row of `ResultsStore.curves()` or `epochs()` that not all kinds of data have, by their names."""
    known = {*CURVE_COLUMNS, *CURVE_EXTRAS, *EPOCH_COLUMNS, *ARRAYS}
    return [name for name in row if name not in known and not name.startswith("ctl_")]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Replaces the rows of a file; removes the file if there are no rows."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(encode_rows(rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_rows` wrote; [] if there is no file."""
    return decode_rows(path.read_bytes()) if path.exists() else []


def summarise(frame: pd.DataFrame, **values: Any) -> dict[str, Any]:
    """Sums up a training's rows; metrics are means over the last 5 epochs, which searchers choose by."""
    first, last = frame.iloc[0], frame.iloc[-1]
    wall_start = first["wall_seconds"] - first["train_seconds"] - first["eval_seconds"]
    return {
        "trial": int(last["trial"]),
        "start_latent_dim": int(first["latent_dim"]),
        "latent_dim": int(last["latent_dim"]),
        "n_epochs": int(last["epoch"]),
        "train_seconds": float(frame["train_seconds"].sum()),
        "eval_seconds": float(frame["eval_seconds"].sum()),
        "wall_seconds": float(last["wall_seconds"] - wall_start),
        "images_seen": int(last["images_seen"]),
        "train_flops": float(last["train_flops"]),
        "fid_features": str(last["fid_features"]),
        **last_means(frame, (*METRICS, *other_metrics(map(str, frame.columns)))),
        **values,
    }


def _read_record(path: Path, required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """Reads a JSON file and checks the types of its columns, because a user may edit it and renew the checksum."""
    content = read_json(path)
    tables = [content.get(name, {}) for name in ("settings", "environment", "files")]
    if not all(isinstance(table, dict) for table in tables) or not set(tables[-1]) <= set(DIGESTED):
        raise Damaged(path)
    for name in (*required, *optional):
        value = content.get(name)
        fits = isinstance(value, str) if name in TEXTS else type(value) is float or _is_int64(value)
        fits = type(value) is bool if name in FLAGS else fits
        if not (fits or (value is None and name not in required) or name in LISTS):
            raise Damaged(path)
    return content


def _is_int64(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63
