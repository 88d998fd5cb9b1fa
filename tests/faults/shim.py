"""Runs first in every Python process of a disturbed suite (as `sitecustomize`), and disturbs it from within.

FAULT_FOLDER, FAULT_COUNTER: every operation below the folder that makes, renames, opens to write or removes a file
adds a byte to the counter file. FAULT_KILL_AT="N": SIGKILL of the whole process group just before the N-th of them.
FAULT_JUMP="N:BY": after N of them `time.time` is BY seconds ahead of the real time.
"""

import os
import signal
import sys
import time
from typing import Any

NAME_CHANGES = {"os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir"}
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _jump(counter: str, at: int, by: int) -> None:
    real, real_ns = time.time, time.time_ns

    def ahead() -> int:
        return by if os.stat(counter).st_size >= at else 0

    time.time = lambda: real() + ahead()
    time.time_ns = lambda: real_ns() + ahead() * 10**9


def _watch(folder: str, counter: str, kill_at: int) -> None:
    count = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def in_folder(path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            counts = in_folder(arguments[0]) and arguments[2] & TO_WRITE
        else:  # their last argument is a folder's descriptor, in which shutil.rmtree works, or -1
            counts = event in NAME_CHANGES and (in_folder(arguments[0]) or arguments[-1] >= 0)
        if counts:
            os.write(count, b".")
            if os.lseek(count, 0, os.SEEK_CUR) == kill_at:  # after an append it is the file's length
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


if "FAULT_FOLDER" in os.environ:
    _watch(os.environ["FAULT_FOLDER"], os.environ["FAULT_COUNTER"], int(os.environ.get("FAULT_KILL_AT", 0)))
if "FAULT_JUMP" in os.environ:
    _jump(os.environ["FAULT_COUNTER"], *map(int, os.environ["FAULT_JUMP"].split(":")))
