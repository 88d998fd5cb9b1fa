"""Claim files say which process runs a search, so that several commands can share one results folder.

The folder of a search holds `claim-000001`, `claim-000002`, ...; only the newest one counts. The process that creates
the next number owns the search. Creating a file that must not exist is atomic on local and network file systems.
Numbers are never reused, so a slow process cannot remove a newer claim. A claim ends when its process dies. On the
same machine the kernel tells whether the process lives. A claim of another machine counts as dead if nothing has
touched it for STALE_SECONDS by this machine's monotonic clock, so clocks that differ or jump do no harm.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.processes import STARTS_ARE_EXACT, machine, started
from benchmark.store.atomic_files import temporary_path

PREFIX = "claim-"
BEAT_SECONDS = 10.0
STALE_SECONDS = 180.0  # network file systems show other machines' changes up to a minute late


class Claim:
    """A claim that this process holds; a thread touches its file until it is released."""

    def __init__(self, path: Path, on_lost: Callable[[], object]) -> None:
        self.path = path
        self._released = threading.Event()
        self._on_lost = on_lost
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path)
                if newest_claim(self.path.parent) > _number(self.path):  # this process was stopped, so it seemed dead
                    self._on_lost()

    def release(self, finished: bool) -> None:
        """Ends the claim. finished: nobody needs to run the search again, so all its claim files are removed."""
        self._released.set()
        if finished:
            clear(self.path.parent)
        else:
            _write(temporary_path(self.path), {}).replace(self.path)


def claim(folder: Path, number: int, on_lost: Callable[[], object]) -> Claim | None:
    """Claims the search in `folder` under a number from `Watch.next_number`; None if another process was faster.

    on_lost: another thread calls it if another process takes the search over because this one seemed dead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PREFIX}{number:06d}"
    content = {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid())}
    temporary = _write(temporary_path(path), content)
    try:
        os.link(temporary, path)  # unlike a rename, a link fails if the name exists
    except (FileExistsError, FileNotFoundError):
        return None
    except OSError:  # the file system has no hard links
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(content, file)
        except FileExistsError:
            return None
    finally:
        temporary.unlink(missing_ok=True)
    return Claim(path, on_lost)


class Watch:
    """Finds out which searches are free, from the changes of their claim files over time."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, float]] = {}  # by claim: its mtime, and when this object first saw that mtime

    def next_number(self, folder: Path) -> int | None:
        """The number under which a process can claim the search in `folder`; None while a live process holds it."""
        newest = newest_claim(folder)
        if newest and self._is_held(folder / f"{PREFIX}{newest:06d}"):
            return None
        return newest + 1

    def _is_held(self, path: Path) -> bool:
        try:
            modified = path.stat().st_mtime_ns
            content = path.read_bytes()
        except FileNotFoundError:  # its process has just released it
            return False
        try:
            holder: dict[str, Any] = json.loads(content)
        except ValueError:  # the file is empty or incomplete
            holder = {"machine": None}
        if not holder:  # released
            return False
        if holder["machine"] == machine():
            now_started = started(holder["pid"])
            if now_started in (None, holder["started"]) or STARTS_ARE_EXACT:
                return bool(now_started == holder["started"])
        now = time.monotonic()
        if self._seen.get(path, (None, 0.0))[0] != modified:
            self._seen[path] = (modified, now)
        return now - self._seen[path][1] < STALE_SECONDS


def _claims(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}[0-9]*"))


def _number(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))


def clear(folder: Path) -> None:
    """Removes all claim files of a search that nobody needs to run again."""
    for path in _claims(folder):
        path.unlink(missing_ok=True)


def newest_claim(folder: Path) -> int:
    """The number of the newest claim on the search in `folder`; 0 if there is none."""
    paths = _claims(folder)
    return _number(paths[-1]) if paths else 0


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
