"""Which processes live, on this machine."""

import os
import socket
from pathlib import Path

import psutil

STARTS_ARE_EXACT = Path("/proc/self/stat").exists()  # elsewhere a start is a time of day, which shifts with the clock


def machine() -> list[str]:
    """Where process numbers mean the same processes: host, boot and, in a container, its process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = namespace = ""
    return [socket.gethostname(), boot, namespace]


def started(pid: int) -> str | None:
    """When a process started, on Linux in the kernel's ticks since the boot; None where no such process lives."""
    try:
        if STARTS_ARE_EXACT:  # psutil makes a time of day of the ticks
            stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return None if stat[0] in b"ZX" else stat[19].decode()
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except (OSError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:  # another user's
        return "unknown"
