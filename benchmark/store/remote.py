"""Results at a URL such as s3://bucket/results: processes write local files and copy them there (fsspec)."""

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
from benchmark.paths import cache_folder, is_url
from benchmark.store.atomic_files import replacing
from benchmark.store.claims import PREFIX
from benchmark.store.sources.results import ResultsStore

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}  # they write a file completely or not at all
TRIES = 4  # of a transfer
PAUSE_SECONDS = 1.0  # after the first failed try; it doubles with every try
PRIVATE = ("checkpoint.pt", "trainings")  # files and folders that only the next worker of a search needs


def local_results(results: str | Path) -> Path:
    """The results folder, or an up-to-date copy of results at a URL. Raises InputError if they cannot be read."""
    if not is_url(results):
        return Path(results)
    path = Results(results).path
    if not any((path / "searches").iterdir()):
        raise InputError(f"no results at {results}; expected a URL that a suite wrote to (--results)")
    return path


def open_results(results: Sequence[str | Path]) -> ResultsStore:
    """The results at these paths and URLs, read as one. Raises InputError if one cannot be read."""
    return ResultsStore(*map(local_results, results), names=[str(one) for one in results])


class Results:
    """Where the results of a suite are: a folder, or a URL and a local copy of it."""

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
        """Raises InputError if files cannot be written to the URL."""
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

    def publish_beside(self, parts: Sequence[str]) -> None:
        """Copies files beside the searches to the URL. parts: prefixes of their paths. Raises InputError."""
        if self.url is not None:
            with _access("write", self.url):
                Mirror(self.url, self.path, parts).push()

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
    except Exception as error:  # every kind of store raises its own errors
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot {action} {url}: {reason}; check the URL and your access to it") from error


def pull(url: str, folder: Path, parts: Sequence[str] = ("",), again: bool = True, skip: Sequence[str] = ()) -> None:
    """Makes the files of a local folder equal to those at the URL.

    parts: prefixes of the paths to copy. again: also copies files that seem unchanged by size and time. skip: names of
    files and folders to leave out.
    """
    store, root = _store(url)
    store.invalidate_cache()
    try:
        listing = _retry(lambda: store.find(root, detail=True))
    except FileNotFoundError:
        listing = {}
    remote = {source[len(root) :].lstrip("/"): (source, info["size"]) for source, info in listing.items()}
    wanted = [name for name in remote if _is_part(name, parts) and not {*Path(name).parts} & {*skip}]
    for name in _files(folder, parts) - {*wanted}:
        (folder / name).unlink()
    for name in wanted:
        source, size = remote[name]
        with suppress(FileNotFoundError):  # a running suite has deleted it since
            _download(store, source, folder / name, None if again else size)
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder before the folder
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _download(store: Any, source: str, target: Path, size: int | None) -> None:
    """size: leaves the file alone if it has this size and the modification time of the source."""
    modified = _retry(store.modified, source).timestamp()
    if size is not None and target.exists() and (target.stat().st_size, target.stat().st_mtime) == (size, modified):
        return
    with replacing(target) as temporary:
        _retry(store.get_file, source, str(temporary))
        os.utime(temporary, (modified, modified))


class Mirror:
    """Keeps the files at a URL equal to those of a local folder. parts: prefixes of the paths to copy."""

    def __init__(self, url: str, folder: Path, parts: Sequence[str] = ("",)) -> None:
        self._url, self._folder, self._parts = url, folder, parts
        self._pushed: dict[str, tuple[int, int]] = {}  # files at the URL: path -> signature of the same local file

    def pull(self) -> None:
        """Copies the files at the URL to the folder."""
        pull(self._url, self._folder, self._parts)
        self._pushed = self._signatures()

    def push(self) -> None:
        """Copies the files that changed in the folder to the URL, and deletes there what was deleted here."""
        store, root = _store(self._url)
        local = self._signatures()
        changed = {name for name, signature in local.items() if self._pushed.get(name) != signature}
        last = changed & {"search.json"}
        for name in sorted(changed - last, key=lambda name: (_upload_order(name), name)):
            self._upload(store, root, name, local[name])
        for name in self._pushed.keys() - local.keys():
            with suppress(FileNotFoundError):  # an earlier try seemed to fail, but has deleted it
                _retry(store.rm_file, f"{root}/{name}")
            del self._pushed[name]
        for name in last:
            self._upload(store, root, name, local[name])

    def _signatures(self) -> dict[str, tuple[int, int]]:
        statuses = {name: (self._folder / name).stat() for name in _files(self._folder, self._parts)}
        return {name: (status.st_mtime_ns, status.st_size) for name, status in statuses.items()}

    def _upload(self, store: Any, root: str, name: str, signature: tuple[int, int]) -> None:
        _retry(_upload, store, self._folder / name, f"{root}/{name}")
        self._pushed[name] = signature


def _upload_order(name: str) -> int:
    """Records go after the files that they describe, so that a search can be resumed after a kill."""
    return {"request.json": 0, "trial.json": 2}.get(Path(name).name, 1)


def _upload(store: Any, source: Path, target: str) -> None:
    protocols = {store.protocol} if isinstance(store.protocol, str) else set(store.protocol)
    if protocols & OBJECT_STORES:
        store.put_file(str(source), target)
        return
    folder, _, name = target.rpartition("/")
    store.makedirs(folder, exist_ok=True)
    store.put_file(str(source), f"{folder}/.{name}")
    store.mv(f"{folder}/.{name}", target)


def _retry(action: Callable[..., Any], *arguments: Any) -> Any:
    for attempt in range(TRIES):
        try:
            return action(*arguments)
        except FileNotFoundError:
            raise
        except Exception:  # such as a network failure; every kind of store raises its own errors
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
    """The relative paths of the files to copy: no hidden files and no claims."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", PREFIX))]
    return {name for name in (path.relative_to(folder).as_posix() for path in paths) if _is_part(name, parts)}


def _is_part(name: str, parts: Sequence[str]) -> bool:
    return name.startswith(tuple(parts)) and not any(part.startswith(".") for part in Path(name).parts)
