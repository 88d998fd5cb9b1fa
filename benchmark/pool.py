"""A pool of worker processes, one process a task: a crash fails its own task alone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import forkserver, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from searchers.registry import Entry

_context = multiprocessing.get_context("forkserver")  # imports torch once, and forks workers from there
_context.set_forkserver_preload(["benchmark.worker"])


class Task(NamedTuple):
    """A call in a worker process: `target` as module:function, which gets a connection to send messages on first."""

    target: str
    arguments: tuple[Any, ...]


def warm_up() -> None:
    """Starts the process that workers are forked from, which imports while this one goes on."""
    forkserver.ensure_running()


def _work(connection: Connection, task: Task) -> None:
    """A worker process's main: it ignores Ctrl-C, which the parent handles, and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    Entry(task.target, "").load()(connection, *task.arguments)


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    on_message: Callable[[int, Any], None],
    on_end: Callable[[int, str | None], None],
) -> None:
    """Runs all tasks, at most `jobs` at a time. Callbacks get the task's index.

    on_end gets None, or one line about how the process died. An exception here, Ctrl-C included, ends the workers.
    """
    waiting = list(enumerate(tasks))[::-1]
    running: dict[Any, tuple[int, Any]] = {}  # by the receiving end of its pipe
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, task = waiting.pop()
                receiver, sender = _context.Pipe(duplex=False)
                process = _context.Process(target=_work, args=(sender, task))
                process.start()
                sender.close()
                running[receiver] = (index, process)
            ready: list[Any] = wait(list(running))
            for receiver in ready:
                index, process = running[receiver]
                try:
                    on_message(index, receiver.recv())
                except (EOFError, ConnectionError):  # the worker has ended: its side is closed
                    process.join()
                    del running[receiver]
                    on_end(index, _cause_of_death(process.exitcode))
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _cause_of_death(exit_code: int | None) -> str | None:
    if exit_code == 0:
        return None
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}; run the same command again to continue"
    return f"the worker process ended with exit code {exit_code}; run the same command again to continue"
