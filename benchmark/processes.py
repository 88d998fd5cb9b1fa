"""Which processes are alive on this machine."""

import os
import socket
from pathlib import Path

import psutil

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
