"""Which processes are alive on this machine, and how this one ends."""

import _thread
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import psutil

_is_guest: ContextVar[bool] = ContextVar("is_guest", default=False)
STARTS_ARE_EXACT = Path("/proc/self/stat").exists()  # elsewhere a start is a time of day and shifts with the clock


def machine() -> list[str]:
    """Returns the host and, on Linux, its boot and process namespace: where a process number is unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = namespace = ""
    return [socket.gethostname(), boot, namespace]


def started(pid: int) -> str | None:
    """The start of a process, on Linux in clock ticks since boot; None if no such process is alive."""
    try:
        if STARTS_ARE_EXACT:  # psutil would convert the ticks to a time of day
            stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return None if stat[0] in b"ZX" else stat[19].decode()
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except (OSError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:  # the process of another user
        return "unknown"


@contextmanager
def as_guest() -> Iterator[None]:
    """Within the block the process is the user's own, a notebook perhaps, and must not be ended."""
    token = _is_guest.set(True)
    try:
        yield
    finally:
        _is_guest.reset(token)


def is_guest() -> bool:
    """Whether this is the user's own process, in which our work is a guest."""
    return _is_guest.get()


def how_to_leave(exit_code: int) -> Callable[[], object]:
    """A function that ends this process from any thread, or, in the user's own, interrupts its main thread."""
    return _thread.interrupt_main if is_guest() else partial(os._exit, exit_code)
