"""What a results folder's searches are doing at one moment, read so cheaply that it can be asked every second."""

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
_COLUMNS = [*CURVES, "active_units", "fid_features", "train_seconds", "eval_seconds", "wall_seconds"]
_RECENT_EPOCHS = 10  # that the pace is measured on
_NEWS_SECONDS = 60.0  # without a change of its files, a search is said to be without news
_GONE_SECONDS = 1800.0  # and after these it is not waited for any longer
_EPOCHS_OF_SILENCE = 3  # are nothing unusual, however long they take

T = TypeVar("T")


class FileCache:
    """Contents of files, loaded again only where the file has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], Any]] = {}

    def read(self, path: Path, load: Callable[[], T]) -> T | None:
        """What `load` makes of the file; None where there is none, or it cannot be read."""
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if path not in self._known or self._known[path][0] != signature:
                self._known[path] = (signature, load())
        except (OSError, ValueError):
            return None
        content: T = self._known[path][1]
        return content


@dataclass(frozen=True)
class Name:
    """Which search it is, in printable characters."""

    dataset: str
    backbone: str
    searcher: str
    seed: str


@dataclass(frozen=True)
class Running:
    """A search that has begun and not ended, and the training that it is at.

    training: counted from 1, 0 before the first. n_trainings: None where the search has not noted it, or takes more
    than it has noted. epochs: of this
    training, at most. training_ended: the next training or the scoring of the chosen model has not shown yet.
    curves: a value an epoch, by column of `ResultsStore.epochs()`. seconds_left: until the search ends where
    n_trainings is known, else until this training does; None before an epoch tells. silent_seconds: since a file of
    the search last changed. longest_epoch: in seconds, of this training. active_units: after the last epoch.
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
        """Epochs of this training that are done."""
        return len(self.curves.get("latent_dim", ()))

    @property
    def without_news(self) -> bool:
        """True where it has been silent for longer than epochs like its own explain: its process may be dead."""
        return self.silent_seconds > max(_NEWS_SECONDS, _EPOCHS_OF_SILENCE * self.longest_epoch)

    @property
    def gone(self) -> bool:
        """True where it has been silent for so long that nobody should wait for it."""
        return self.silent_seconds > max(_GONE_SECONDS, _EPOCHS_OF_SILENCE * self.longest_epoch)


@dataclass(frozen=True)
class Ended:
    """A finished or failed search. seconds_ago: since it ended.

    latent_dim, active_units (on the test split) and wall_seconds: NaN for a failed one.
    """

    name: Name
    latent_dim: float
    active_units: float
    wall_seconds: float
    error: str | None
    seconds_ago: float


@dataclass(frozen=True)
class Snapshot:
    """The searches of a results folder: running ones in a fixed order, ended ones with the latest first.

    n_unreadable: searches whose record is damaged.
    """

    running: tuple[Running, ...]
    done: tuple[Ended, ...]
    failed: tuple[Ended, ...]
    n_unreadable: int


def snapshot(store: ResultsStore, files: FileCache, now: float) -> Snapshot:
    """Reads what has changed since `files` last saw the store. now: seconds since the epoch, as `time.time()`."""
    running, ended, n_unreadable = [], [], 0
    for folder in sorted(_entries(store.path / "searches")):
        record = folder / "search.json"
        search = files.read(record, SearchFolder(folder).read)
        if search is None:
            n_unreadable += record.exists()  # a folder without one belongs to a search that is about to begin
        elif search.get("status") == "running":
            running.append(_running(folder, search, files, now))
        else:
            ended.append((search.get("status"), _ended(search, _seconds_since([record], now))))
    ended.sort(key=lambda pair: pair[1].seconds_ago)
    done, failed = (tuple(one for status, one in ended if status == wanted) for wanted in ("done", "failed"))
    return Snapshot(tuple(running), done, failed, n_unreadable)


def _running(folder: Path, search: Mapping[str, Any], files: FileCache, now: float) -> Running:
    trial = _newest_trial(folder)
    silent = _seconds_since([*_entries(folder), *(_entries(trial.path) if trial else [])], now)
    name, n_trainings = _name(search), search.get("n_trainings")
    if trial is None:
        return Running(name, n_trainings=n_trainings, silent_seconds=silent)
    number = trial.number + 1
    if n_trainings is not None and number > n_trainings:  # a searcher need not say how many it takes
        n_trainings = None
    request = files.read(trial.path / "request.json", trial.request) or {}
    ended = (trial.path / "trial.json").exists()
    begun = Running(name, number, n_trainings, request.get("epochs"), ended, silent_seconds=silent)
    path = trial.rows_so_far(request)
    rows = files.read(path, lambda: pd.read_feather(path, columns=_COLUMNS))
    if rows is None or rows.empty:
        return begun
    since_epoch = _seconds_since([path], now)
    return _with_rows(replace(begun, silent_seconds=min(silent, since_epoch)), rows, since_epoch)


def _with_rows(begun: Running, rows: pd.DataFrame, since_epoch: float) -> Running:
    seconds = rows["train_seconds"] + rows["eval_seconds"]
    recent = rows["wall_seconds"].diff().fillna(seconds).tail(_RECENT_EPOCHS)  # with what lies between two epochs
    pace, left = float(recent.mean()), 0
    if begun.epochs is not None:
        left = 0 if begun.training_ended else begun.epochs - len(rows)
        left += begun.epochs * max(0, (begun.n_trainings or 0) - begun.training)
    return replace(
        begun,
        curves={name: rows[name].astype(float).tolist() for name in CURVES},
        active_units=float(rows["active_units"].iloc[-1]),
        fid_features=printable(rows["fid_features"].iloc[-1]),
        seconds_left=max(0.0, left * pace - min(since_epoch, pace)) if left else 0.0,
        longest_epoch=float(seconds.max()),
    )


def _ended(search: Mapping[str, Any], seconds_ago: float) -> Ended:
    numbers = [search.get(key) for key in ("latent_dim", "test_active_units", "wall_seconds")]
    error = search.get("error")
    latent_dim, active_units, wall_seconds = (math.nan if value is None else float(value) for value in numbers)
    return Ended(
        _name(search),
        latent_dim,
        active_units,
        wall_seconds,
        None if error is None else printable(error),
        seconds_ago,
    )


def _name(search: Mapping[str, Any]) -> Name:
    return Name(*(printable(search.get(key, "?")) for key in ("dataset", "backbone", "searcher", "seed")))


def _newest_trial(folder: Path) -> TrialFolder | None:
    trials = [TrialFolder(path) for path in _entries(folder / "trials") if path.name.isdecimal()]
    return max(trials, key=lambda trial: trial.number, default=None)


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not is_hidden(path)]
    except OSError:  # not there yet, or gone since: a training that its searcher no longer asks for is removed
        return []


def _seconds_since(paths: Iterable[Path], now: float) -> float:
    """Since the latest change of these files, at least 0: another machine's clock may be ahead."""
    changes = []
    for path in paths:
        with suppress(OSError):
            changes.append(path.stat().st_mtime)
    return max(0.0, now - max(changes, default=now))
