"""Results at a URL, such as s3://bucket/results: files are made locally and mirrored there (fsspec)."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from benchmark.errors import InputError
from benchmark.paths import cache_folder
from benchmark.store.atomic_files import replacing
from benchmark.store.claims import PREFIX
from benchmark.text import is_url

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}  # where a file is there whole or not at all
TRIES = 4  # of a transfer
PAUSE_SECONDS = 1.0  # after the first
PRIVATE = ("checkpoint.pt", "trainings")  # names of files and folders of use to a search's next worker alone


def local_results(results: str | Path) -> Path:
    """The folder of the results; of those at a URL an up-to-date copy. Raises InputError where they cannot be read."""
    if not is_url(results):
        return Path(results)
    path = Results(results).path
    if not any((path / "searches").iterdir()):
        raise InputError(f"no results at {results}; expected a URL that a suite wrote to (--results)")
    return path


class Results:
    """Where a suite's results are: a folder, or a URL and a folder with a copy of what is there."""

    def __init__(self, results: str | Path) -> None:
        self.url = str(results).rstrip("/") if is_url(results) else None
        if self.url is None:
            self.path = Path(results)
            return
        self.path = cache_folder("results", hashlib.sha256(self.url.encode()).hexdigest()[:16])
        (self.path / "searches").mkdir(exist_ok=True)
        with _access("read", self.url):
            pull(f"{self.url}/searches", self.path / "searches", again=False, skip=PRIVATE)

    def check_writable(self) -> None:
        """Raises InputError where the URL takes no files."""
        if self.url is None:
            return
        with tempfile.TemporaryDirectory() as folder, _access("write", self.url):
            mirror, probe = Mirror(f"{self.url}/probe", Path(folder)), Path(folder) / "probe"
            probe.touch()
            mirror.push()
            probe.unlink()
            mirror.push()

    def refresh(self, search_id: str) -> None:
        """Copies a search from the URL. Raises InputError."""
        if self.url is not None:
            with _access("read", self.url):
                pull(f"{self.url}/searches/{search_id}", self.path / "searches" / search_id, skip=PRIVATE)

    def publish(self, search_id: str) -> None:
        """Copies a search's search.json to the URL. Raises InputError."""
        if self.url is not None:
            folder = self.path / "searches" / search_id
            with _access("write", self.url):
                Mirror(f"{self.url}/searches/{search_id}", folder, ("search.json",)).push()


@contextmanager
def _access(action: str, url: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # every kind of store has its own
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot {action} {url}: {reason}; check the URL and your access to it") from error


def pull(url: str, folder: Path, parts: Sequence[str] = ("",), again: bool = True, skip: Sequence[str] = ()) -> None:
    """Makes the files of a folder those at the URL.

    parts: only files whose names begin so. again: also those that seem unchanged, by size and time. skip: not what has
    such a name, nor what lies in it.
    """
    store, root = _store(url)
    store.invalidate_cache()
    try:
        found = _tried(lambda: store.find(root, detail=True))
    except FileNotFoundError:
        found = {}
    remote = {name[len(root) :].lstrip("/"): (name, info["size"]) for name, info in found.items()}
    skipped = {name for name in remote if not _is_part(name, parts) or {*Path(name).parts} & {*skip}}
    remote = {name: value for name, value in remote.items() if name not in skipped}
    for name in _files(folder, parts) - remote.keys():
        (folder / name).unlink()
    for name, (source, size) in remote.items():
        with suppress(FileNotFoundError):  # deleted since: a suite is running
            _get(store, source, folder / name, None if again else size)
    for path in sorted(folder.rglob("*"), reverse=True):  # what lies in a folder comes before it
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _get(store: Any, source: str, target: Path, size: int | None) -> None:
    """size: the file is left alone where it has this size and the time of the source."""
    modified = _tried(store.modified, source).timestamp()
    if size is not None and target.exists() and (target.stat().st_size, target.stat().st_mtime) == (size, modified):
        return
    with replacing(target) as temporary:
        _tried(store.get_file, source, str(temporary))
        os.utime(temporary, (modified, modified))


class Mirror:
    """Keeps the files at a URL those of a folder. parts: only those whose names begin so."""

    def __init__(self, url: str, folder: Path, parts: Sequence[str] = ("",)) -> None:
        self._url, self._folder, self._parts = url, folder, parts
        self._there: dict[str, tuple[int, int]] = {}  # what is at the URL, by the signature of the local file

    def pull(self) -> None:
        """Copies what is at the URL to the folder."""
        pull(self._url, self._folder, self._parts)
        self._there = {name: _signature(self._folder / name) for name in _files(self._folder, self._parts)}

    def push(self) -> None:
        """Copies what has changed in the folder to the URL, and deletes there what was deleted here."""
        store, root = _store(self._url)
        here = {name: _signature(self._folder / name) for name in _files(self._folder, self._parts)}
        changed = [name for name, signature in here.items() if self._there.get(name) != signature]
        last = [name for name in changed if name == "search.json"]
        for name in sorted(set(changed) - set(last), key=lambda name: (_rank(name), name)):
            self._put(store, root, name, here[name])
        for name in self._there.keys() - here.keys():
            with suppress(FileNotFoundError):  # a try that seemed to fail has not
                _tried(store.rm_file, f"{root}/{name}")
            del self._there[name]
        for name in last:
            self._put(store, root, name, here[name])

    def _put(self, store: Any, root: str, name: str, signature: tuple[int, int]) -> None:
        _tried(_put, store, self._folder / name, f"{root}/{name}")
        self._there[name] = signature


def _rank(name: str) -> int:
    """The order in which files go, so that what a kill leaves can be resumed: what says that others are there last."""
    return {"request.json": 0, "trial.json": 2}.get(Path(name).name, 1)


def _put(store: Any, source: Path, target: str) -> None:
    protocols = {store.protocol} if isinstance(store.protocol, str) else set(store.protocol)
    if protocols & OBJECT_STORES:
        store.put_file(str(source), target)
        return
    folder, _, name = target.rpartition("/")
    store.makedirs(folder, exist_ok=True)
    store.put_file(str(source), f"{folder}/.{name}")
    store.mv(f"{folder}/.{name}", target)


def _tried(action: Callable[..., Any], *arguments: Any) -> Any:
    for attempt in range(TRIES):
        try:
            return action(*arguments)
        except FileNotFoundError:
            raise
        except Exception:  # a network's hiccup; every kind of store has its own errors
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE_SECONDS * 2**attempt)


def _store(url: str) -> tuple[Any, str]:
    try:
        store, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot use {url}: {error}; expected a URL that fsspec knows, and its package") from error
    return store, root.rstrip("/")


def _files(folder: Path, parts: Sequence[str]) -> set[str]:
    """Names of the files that count, by their path below the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", PREFIX))]
    return {name for name in (path.relative_to(folder).as_posix() for path in paths) if _is_part(name, parts)}


def _is_part(name: str, parts: Sequence[str]) -> bool:
    return name.startswith(tuple(parts)) and not any(part.startswith(".") for part in Path(name).parts)


def _signature(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
