"""Worker processes on this machine: their messages and their deaths."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from benchmark.suite.executors.local_pool import Death, Task, run_tasks

LARGE = 2**22  # bytes: more than a pipe holds


def send_and_die(connection: Any) -> None:
    """Dies in the middle of a message that its reader has begun to read."""
    whole = os.write(connection.fileno(), (LARGE).to_bytes(4, "big") + b"half of a message")
    assert whole > 4
    os.kill(os.getpid(), signal.SIGKILL)


def send_whole(connection: Any) -> None:
    """Sends a large message and ends."""
    connection.send(bytes(LARGE))


def _run(target: str) -> tuple[list[Any], list[Death | None]]:
    messages: list[Any] = []
    deaths: list[Death | None] = []

    def on_end(_: int, death: Death | None) -> bool:
        deaths.append(death)
        return False

    task = Task(f"test_pool:{target}", ())
    run_tasks(1, 1, lambda _: task, lambda _, message: messages.append(message), on_end)
    return messages, deaths


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.path.dirname(__file__))


def test_a_worker_killed_in_the_middle_of_a_message_has_died() -> None:
    messages, (death,) = _run("send_and_die")
    assert messages == [] and death is not None and not death.lost
    assert death.cause.startswith("the worker process was killed by SIGKILL")


def test_a_message_larger_than_a_pipe_arrives() -> None:
    assert _run("send_whole") == ([bytes(LARGE)], [None])


def test_an_error_of_the_callback_is_not_taken_for_a_death() -> None:
    def full(_: int, message: Any) -> None:
        raise OSError("the disk is full")

    ended: list[Any] = []
    begin, threads = time.monotonic(), threading.active_count()
    with pytest.raises(OSError, match="the disk is full"):
        run_tasks(1, 1, lambda _: Task("test_pool:send_whole", ()), full, lambda *end: bool(ended.append(end)))
    assert ended == [] and threading.active_count() == threads and time.monotonic() - begin < 60
