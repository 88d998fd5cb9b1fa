"""The results store: one folder a search, read into pandas frames.

RESULTS/searches/<search_id>/
    search.json             what was asked for, status, error, environment, and the finished search's totals
    study.journal           Optuna's study, of searchers that have one
    error.txt               a failed search's traceback
    trials/000/request.json what the training was asked to be
    trials/000/trial.json   a finished training's totals
    trials/000/epochs.arrow its rows, one an epoch (Arrow IPC; `pandas.read_feather` reads it)
    trials/000/checkpoint.pt, model.pt
    model.pt, images.npz    the chosen model and what it reconstructs and samples
    population.pt           the checkpoint of trainings that are stacked
    claim-000001            which process runs it, while one does (`benchmark.store.claims`)
    ahead/000/claim-000001  which process runs one of its trainings ahead of it

search.json and trial.json hold their own checksum, and the digests of the files that they are the last word on.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmark.errors import Damaged, InputError
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
from benchmark.store.doubts import flags, search_flags
from benchmark.store.rows import (
    ARRAYS,
    EPOCH_COLUMNS,
    LATENT_ARRAYS,
    PROBE_ARRAYS,
    decode_rows,
    encode_rows,
    read_table,
)
from searchers.quantities import METRICS, last_means

KEYS = ("search_id", "dataset", "backbone", "searcher", "seed")
COSTS = ("n_epochs", "train_seconds", "eval_seconds", "images_seen", "train_flops")
TRIAL_COLUMNS = (
    *("trial", "status", "start_latent_dim", "latent_dim", *COSTS, "wall_seconds", "peak_memory_bytes"),
    *(*METRICS, "fid_features", "fid_images", "n_fid_features", *flags({})),
)
SEARCH_COLUMNS = (
    *("status", "error", "latent_dim", "n_trials", *COSTS, "wall_seconds", "peak_memory_bytes"),
    *(f"test_{metric}" for metric in METRICS),
    *("test_fid_features", "protocol", "protocol_hash", "epochs", "scale", "chosen_trial", "pareto"),
    *("settled", "n_diverged", "diverged_sizes", "fid_images", "test_fid_images", "n_fid_features"),
    *("data", "data_fingerprint", "late_gain", "late_gain_error", "pca_sse", "no_latents_nll"),
    *search_flags({}),
)
_TEXTS = frozenset(
    {
        *(*KEYS[:-1], "status", "error", "protocol", "protocol_hash", "fid_features", "test_fid_features"),
        *("diverged_sizes", "data", "data_fingerprint"),
    }
)
_FLAGS = frozenset({"settled"})
FINAL_FILES = ("study.journal", "model.pt", "images.npz")
DIGESTED = ("epochs.arrow", *FINAL_FILES)
_ARRAY_TYPES = dict(zip(ARRAYS, ("int64", *3 * ["float64"], "int64", "object", "object"), strict=True))  # one element's


class SearchFolder:
    """One search's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """search.json's content, {} before the search has started. Raises Damaged."""
        path = self.path / "search.json"
        if not path.exists():
            return {}
        content = _read_record(path, required=KEYS, optional=SEARCH_COLUMNS)
        if content["search_id"] != self.path.name:
            raise Damaged(path)
        return content

    def status(self) -> str | None:
        """done, failed, running, or None before the search has started; a damaged search.json counts as none."""
        status: str | None = self._read_intact().get("status")
        return status

    def attempts(self) -> int:
        """How often the search has been started."""
        return int(self._read_intact().get("attempts", 0))

    def _read_intact(self) -> dict[str, Any]:
        try:
            return self.read()
        except Damaged:
            return {}

    def begin(self, **values: Any) -> None:
        """Notes that the search runs; what an earlier attempt left in search.json is forgotten."""
        values |= {"status": "running", "error": None, "attempts": self.attempts() + 1}
        write_json(self.path / "search.json", values)

    def reopen(self) -> None:
        """Makes a search with a damaged file one that has not ended."""
        content = self._read_intact()
        if content:
            write_json(self.path / "search.json", {**content, "status": "running"})
        else:
            (self.path / "search.json").unlink()

    def tidy(self) -> None:
        """Removes half-written files of processes that were killed; other hidden files and folders are not ours."""
        for leftover in filter(is_temporary, self.path.rglob(".*")):
            leftover.unlink(missing_ok=True)

    def update(self, **values: Any) -> None:
        """Sets these keys of search.json."""
        write_json(self.path / "search.json", {**self.read(), **values})

    def trial(self, number: int) -> "TrialFolder":
        """The folder of the search's n-th training."""
        return TrialFolder(self.path / "trials" / f"{number:03d}")

    def trials(self) -> Iterator["TrialFolder"]:
        """The trainings that have begun, in the order of their numbers."""
        if (self.path / "trials").is_dir():
            folders = [TrialFolder(path) for path in (self.path / "trials").iterdir() if path.name.isdecimal()]
            for folder in sorted(folders, key=lambda folder: folder.number):
                if not all(map(is_hidden, folder.path.iterdir())):  # else it was deleted, but for an open file
                    yield folder

    def check(self, checked: Checked | None = None) -> None:
        """Raises Damaged where a file of a finished search is not as it was when the search ended."""
        check_digests(self.path, self.read().get("files", {}), checked)
        for trial in self.trials():
            trial.check(checked)

    def finish(self, status: str, **values: Any) -> None:
        """Closes the search as done or failed, with its trainings' costs summed from their rows."""
        files = digests(self.path, FINAL_FILES)
        records = [trial.summary() for trial in self.trials()]
        totals: dict[str, Any] = {name: sum(record[name] for record in records) for name in COSTS}
        peak = max((record.get("peak_memory_bytes") or 0 for record in records), default=0)
        totals |= {"n_trials": len(records), "peak_memory_bytes": peak or None}
        diverged = [record["latent_dim"] for record in records if record["status"] == "failed"]
        totals |= {"n_diverged": len(diverged), "diverged_sizes": ", ".join(map(str, diverged))}
        self.update(status=status, files=files, **totals, **values)


class TrialFolder:
    """One training's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.pt"
        self.model = path / "model.pt"
        self.rows = path / "epochs.arrow"

    @property
    def number(self) -> int:
        """The training's place among those of its search, from 0."""
        return int(self.path.name)

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replaces the training's rows."""
        self.write_encoded(encode_rows(rows))

    def write_encoded(self, rows: bytes) -> None:
        """Replaces the training's rows by those that `encode_rows` gave."""
        with replacing(self.rows) as temporary:
            temporary.write_bytes(rows)

    def read_rows(self) -> list[dict[str, Any]]:
        """The training's rows, [] where there are none yet."""
        return decode_rows(self.rows.read_bytes()) if self.rows.exists() else []

    def begin(self, request: dict[str, Any]) -> None:
        """Notes what this training was asked to be."""
        write_json(self.path / "request.json", request)

    def request(self) -> dict[str, Any] | None:
        """What it was asked to be; None before it has begun."""
        path = self.path / "request.json"
        return read_json(path) if path.exists() else None

    def finish(self, record: dict[str, Any]) -> None:
        """Closes the training: its row of `ResultsStore.trials()`, and what its files are from now on."""
        write_json(self.path / "trial.json", {**record, "files": digests(self.path, (self.rows.name, self.model.name))})

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
        """Raises Damaged where a file of a finished training is not as it was when the training ended."""
        self.request()
        check_digests(self.path, (self._record() or {}).get("files", {}), checked)

    def summary(self) -> dict[str, Any]:
        """The training's row of `ResultsStore.trials()`, without the search's keys."""
        finished = self.finished()
        if finished is not None:
            return finished
        if not self.rows.exists():
            return {"trial": self.number, "status": "running", **dict.fromkeys(COSTS, 0)}
        return summarise(read_table(self.rows, skip=ARRAYS).to_pandas(), status="running")


def summarise(frame: pd.DataFrame, **values: Any) -> dict[str, Any]:
    """A training's totals from its rows; metrics are means over the last 5 epochs, as the choice among trials sees."""
    first, last = frame.iloc[0], frame.iloc[-1]
    begin = first["wall_seconds"] - first["train_seconds"] - first["eval_seconds"]
    return {
        "trial": int(last["trial"]),
        "start_latent_dim": int(first["latent_dim"]),
        "latent_dim": int(last["latent_dim"]),
        "n_epochs": len(frame),
        "train_seconds": float(frame["train_seconds"].sum()),
        "eval_seconds": float(frame["eval_seconds"].sum()),
        "wall_seconds": float(last["wall_seconds"] - begin),
        "images_seen": int(last["images_seen"]),
        "train_flops": float(last["train_flops"]),
        "fid_features": str(last["fid_features"]),
        **last_means(frame, METRICS),
        **values,
    }


class ResultsStore:
    """A results folder as DataFrames. Raises InputError where the path is none or cannot be read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "searches").is_dir():
            raise InputError(f"no results at {self.path}; expected a folder that `make benchmark` wrote (RESULTS=...)")
        if not os.access(self.path / "searches", os.R_OK | os.X_OK):
            raise InputError(f"cannot read {self.path / 'searches'}; expected a readable folder; check its permissions")

    def folder(self, search_id: str) -> SearchFolder:
        """The files of one search."""
        return SearchFolder(self.path / "searches" / search_id)

    def searches(self) -> pd.DataFrame:
        """One row a search, failed and running ones included; settings as `setting_*`, environment as `env_*`.

        settled: False where the size was still changing at the end. n_diverged: of its trainings, those whose loss was
        not finite; diverged_sizes: their sizes. fid_images and test_fid_images: the images of the validation and of the
        test FIDs. late_gain: how far the validation ELBO rose in the chosen training's last tenth, as a share of what
        latents are worth, and late_gain_error its standard error. pca_sse and no_latents_nll: on the test split, the
        squared error of PCA with latent_dim components (256 at most) and the NLL (nats per image) of the training
        images' mean. The flags: see `benchmark.store.doubts`.
        """
        rows = [
            {
                **{key: search.get(key) for key in (*KEYS, *SEARCH_COLUMNS)},
                **search_flags(search),
                **{f"setting_{key}": str(value) for key, value in search.get("settings", {}).items()},
                **{f"env_{key}": value for key, value in search.get("environment", {}).items()},
            }
            for search in self._searches()
        ]
        return pd.DataFrame(rows, columns=None if rows else [*KEYS, *SEARCH_COLUMNS])

    def trials(self) -> pd.DataFrame:
        """One row a training. Metrics are on validation data, means over its last 5 epochs.

        collapsed, few_fid_images: see `benchmark.store.doubts`.
        """
        rows = [
            {**{key: search[key] for key in KEYS}, **dict.fromkeys(TRIAL_COLUMNS), **row, **flags(row)}
            for search in self._searches()
            for row in (trial.summary() for trial in self.folder(search["search_id"]).trials())
        ]
        return pd.DataFrame(rows, columns=[*KEYS, *TRIAL_COLUMNS])

    def epochs(self) -> pd.DataFrame:
        """One row an epoch of every training: metrics on validation data, a searcher's own `ctl_*`, costs.

        train_seconds and eval_seconds are the epoch's own; wall_seconds runs up within the search (of a spread one,
        whose trainings begin together, within the training), images_seen and train_flops within the training.
        """
        return self._concat(self._tables(skip=ARRAYS), EPOCH_COLUMNS)

    def latents(self) -> pd.DataFrame:
        """One row a latent and epoch: latent_id (its index at the training's start), over the validation data the
        variance of its posterior mean, the mean of its posterior variance, and its mean KL in nats.
        """
        return self._exploded(LATENT_ARRAYS)

    def probes(self) -> pd.DataFrame:
        """One row a probe image (`evaluation.probe_images`), epoch and training: the image's probe_label, and its
        posterior's probe_mean and probe_variance, an array [latent_dim] each. Images come in the same order every time.
        """
        return self._exploded(PROBE_ARRAYS)

    def _exploded(self, arrays: Sequence[str]) -> pd.DataFrame:
        columns = ("trial", "epoch", *arrays)
        tables = (pair for pair in self._tables(only=columns) if arrays[-1] in pair[1].column_names)
        types = {name: _ARRAY_TYPES[name] for name in arrays}
        return self._concat(tables, columns).explode(list(arrays), ignore_index=True).astype(types)

    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None:
        """The chosen model's uint8 images [N, C, H, W]: originals (test split) with their labels [N], reconstructions,
        samples.
        """
        folder = self.folder(search_id)
        path = folder.path / "images.npz"
        if not path.exists():
            return None
        files = folder.read().get("files", {})
        check_digests(folder.path, {path.name: files[path.name]} if path.name in files else {})
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception as error:  # from broken archives come all sorts
            raise Damaged(path) from error

    def _searches(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.path / "searches").iterdir()):
            content = {} if is_hidden(path) else SearchFolder(path).read()
            if content:
                yield content

    def _tables(self, skip: Sequence[str] = (), only: Sequence[str] | None = None) -> Iterator[tuple[Any, pa.Table]]:
        for search in self._searches():
            keys = tuple(search[key] for key in KEYS)
            for trial in self.folder(search["search_id"]).trials():
                if trial.rows.exists():
                    yield keys, read_table(trial.rows, skip, only)

    @staticmethod
    def _concat(keyed_tables: Iterator[tuple[Any, pa.Table]], columns: Sequence[str]) -> pd.DataFrame:
        pairs = list(keyed_tables)
        if not pairs:
            return pd.DataFrame(columns=[*KEYS, *columns])
        lengths = [len(table) for _, table in pairs]
        keys = {
            name: np.repeat(np.array([values[i] for values, _ in pairs], dtype=object), lengths)
            for i, name in enumerate(KEYS)
        }
        frame: pd.DataFrame = pa.concat_tables([t for _, t in pairs], promote_options="permissive").to_pandas()
        first = pd.DataFrame({**keys, "seed": keys["seed"].astype(np.int64)})
        rest = [name for name in frame.columns if name not in columns]
        return pd.concat([first, frame[[*columns, *rest]]], axis=1)


def _read_record(path: Path, required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """A JSON file whose columns hold text or numbers as they should: checksums do not stop a hand that edits it."""
    content = read_json(path)
    tables = [content.get(name, {}) for name in ("settings", "environment", "files")]
    if not all(isinstance(table, dict) for table in tables) or not set(tables[-1]) <= set(DIGESTED):
        raise Damaged(path)
    for name in (*required, *optional):
        value = content.get(name)
        fits = isinstance(value, str) if name in _TEXTS else type(value) is float or _is_int64(value)
        fits = type(value) is bool if name in _FLAGS else fits
        if not (fits or (value is None and name not in required) or name == "pareto"):
            raise Damaged(path)
    return content


def _is_int64(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63
