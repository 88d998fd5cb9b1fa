"""Reads the current state of a folder's searches, cheaply enough to do so every second."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from benchmark.store import ResultsStore
from benchmark.store.atomic_files import is_hidden
from benchmark.store.folders import SearchFolder, TrialFolder
from benchmark.text import printable

CURVES = ("recon_nll", "fid_recon", "fid_gen", "silhouette", "latent_dim")
_COLUMNS = [*CURVES, "epoch", "active_units", "fid_features", "train_seconds", "eval_seconds", "wall_seconds"]
_RECENT_EPOCHS = 10  # whose mean duration predicts the end
_NEWS_SECONDS = 60.0  # a search whose files do not change for longer is shown as without news
_GONE_SECONDS = 1800.0  # after this silence `watch` no longer waits for the search
_EPOCHS_OF_SILENCE = 3  # silence of so many epochs is normal, however long they take

T = TypeVar("T")


class FileCache:
    """Keeps the content of files, and loads a file again only if it has changed."""

    def __init__(self) -> None:
        self._loaded: dict[Path, tuple[tuple[int, int, int], Any]] = {}

    def read(self, path: Path, load: Callable[[], T]) -> T | None:
        """The result of `load` for the file; None if the file is missing or unreadable."""
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if path not in self._loaded or self._loaded[path][0] != signature:
                self._loaded[path] = (signature, load())
        except (OSError, ValueError):
            return None
        content: T = self._loaded[path][1]
        return content


@dataclass(frozen=True)
class Name:
    """What identifies a search, in printable characters."""

    dataset: str
    backbone: str
    searcher: str
    seed: str


@dataclass(frozen=True)
class Running:
    """A running search and its current training.

    training: counts from 1; 0 before the first. n_trainings: the expected number; None if unknown or exceeded.
    epochs: the most epochs of this training. training_ended: this training has ended, and the next training or the
    test of the chosen model has not begun. curves: one value per logged epoch, by column of `ResultsStore.epochs()`.
    seconds_left: until the end of the search, or of this training if n_trainings is None; None before the first epoch.
    silent_seconds: since a file of the search last changed. longest_epoch: of this training, in seconds.
    active_units: after the last epoch.
    """

    name: Name
    training: int = 0
    n_trainings: int | None = None
    epochs: int | None = None
    training_ended: bool = False
    curves: Mapping[str, list[float]] = field(default_factory=dict)
    fid_features: str = ""
    seconds_left: float | None = None
    silent_seconds: float = 0.0
    longest_epoch: float = 0.0
    active_units: float = math.nan

    @property
    def epoch(self) -> int:
        """The last logged epoch of this training."""
        return int(self.curves["epoch"][-1]) if self.curves else 0

    @property
    def without_news(self) -> bool:
        """True if the silence is longer than its epochs explain: the process may be dead."""
        return self.silent_seconds > max(_NEWS_SECONDS, _EPOCHS_OF_SILENCE * self.longest_epoch)

    @property
    def gone(self) -> bool:
        """True if the silence is so long that nobody should wait for the search."""
        return self.silent_seconds > max(_GONE_SECONDS, _EPOCHS_OF_SILENCE * self.longest_epoch)


@dataclass(frozen=True)
class Ended:
    """A finished or failed search, which ended `seconds_ago`.

    latent_dim, active_units (on the test split) and wall_seconds: NaN if it failed. error: None if it finished.
    """

    name: Name
    latent_dim: float
    active_units: float
    wall_seconds: float
    error: str | None
    seconds_ago: float


@dataclass(frozen=True)
class Snapshot:
    """The searches of a results folder: running ones in a fixed order, ended ones latest first.

    n_unreadable: the number of searches whose search.json is damaged.
    """

    running: tuple[Running, ...]
    done: tuple[Ended, ...]
    failed: tuple[Ended, ...]
    n_unreadable: int


def snapshot(store: ResultsStore, files: FileCache, now: float) -> Snapshot:
    """Reads the files that changed since the last call with `files`. now: the current `time.time()`."""
    running, ended, n_unreadable = [], [], 0
    for folder in sorted(_entries(store.path / "searches")):
        path = folder / "search.json"
        search = files.read(path, SearchFolder(folder).read)
        if search is None:
            n_unreadable += path.exists()  # without the file, the search is about to begin
        elif search.get("status") == "running":
            running.append(_running_search(folder, search, files, now))
        else:
            ended.append((search.get("status"), _ended_search(search, _seconds_since([path], now))))
    ended.sort(key=lambda pair: pair[1].seconds_ago)
    done, failed = (tuple(search for status, search in ended if status == wanted) for wanted in ("done", "failed"))
    return Snapshot(tuple(running), done, failed, n_unreadable)


def _running_search(folder: Path, search: Mapping[str, Any], files: FileCache, now: float) -> Running:
    trial = _newest_trial(folder)
    silent = _seconds_since([*_entries(folder), *(_entries(trial.path) if trial else [])], now)
    name, n_trainings = _name(search), search.get("n_trainings")
    if trial is None:
        return Running(name, n_trainings=n_trainings, silent_seconds=silent)
    number = trial.number + 1
    if n_trainings is not None and number > n_trainings:  # a searcher may train more often than it expected
        n_trainings = None
    request = files.read(trial.path / "request.json", trial.request) or {}
    ended = (trial.path / "trial.json").exists()
    running = Running(name, number, n_trainings, request.get("epochs"), ended, silent_seconds=silent)
    path = trial.rows_so_far(request)
    rows = files.read(path, lambda: pd.read_feather(path, columns=_COLUMNS))
    if rows is None or rows.empty:
        return running
    since_epoch = _seconds_since([path], now)
    return _add_epochs(replace(running, silent_seconds=min(silent, since_epoch)), rows, since_epoch)


def _add_epochs(running: Running, rows: pd.DataFrame, since_epoch: float) -> Running:
    seconds = rows["train_seconds"] + rows["eval_seconds"]
    apart = rows["epoch"].diff().fillna(rows["epoch"])
    recent = (rows["wall_seconds"].diff().fillna(seconds) / apart).tail(_RECENT_EPOCHS)  # with the time between epochs
    epoch, epoch_seconds, epochs_left = int(rows["epoch"].iloc[-1]), float(recent.mean()), 0
    if running.epochs is not None:
        epochs_left = 0 if running.training_ended else running.epochs - epoch
        epochs_left += running.epochs * max(0, (running.n_trainings or 0) - running.training)
    seconds_left = epochs_left * epoch_seconds - min(since_epoch, epoch_seconds)
    return replace(
        running,
        curves={name: rows[name].astype(float).tolist() for name in (*CURVES, "epoch")},
        active_units=float(rows["active_units"].iloc[-1]),
        fid_features=printable(rows["fid_features"].iloc[-1]),
        seconds_left=max(0.0, seconds_left) if epochs_left else 0.0,
        longest_epoch=float(seconds.max()),
    )


def _ended_search(search: Mapping[str, Any], seconds_ago: float) -> Ended:
    values = [search.get(key) for key in ("latent_dim", "test_active_units", "wall_seconds")]
    latent_dim, active_units, wall_seconds = (math.nan if value is None else float(value) for value in values)
    error = None if search.get("error") is None else printable(search["error"])
    return Ended(_name(search), latent_dim, active_units, wall_seconds, error, seconds_ago)


def _name(search: Mapping[str, Any]) -> Name:
    return Name(*(printable(search.get(key, "?")) for key in ("dataset", "backbone", "searcher", "seed")))


def _newest_trial(folder: Path) -> TrialFolder | None:
    trials = [TrialFolder(path) for path in _entries(folder / "trials") if path.name.isdecimal()]
    return max(trials, key=lambda trial: trial.number, default=None)


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not is_hidden(path)]
    except OSError:  # the folder does not exist yet, or was removed: its searcher no longer asks for the training
        return []


def _seconds_since(paths: Iterable[Path], now: float) -> float:
    """Seconds since the latest change of these files; at least 0, as another machine's clock may be ahead."""
    mtimes = []
    for path in paths:
        with suppress(OSError):
            mtimes.append(path.stat().st_mtime)
    return max(0.0, now - max(mtimes, default=now))
