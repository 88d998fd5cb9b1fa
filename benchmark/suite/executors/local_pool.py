"""A pool of worker processes, one process a task: a crash fails its own task alone."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from multiprocessing import forkserver, parent_process, resource_tracker, util
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from benchmark.errors import InputError
from searchers.registry import Entry

_context = multiprocessing.get_context("forkserver")  # imports torch once, and forks workers from there
_context.set_forkserver_preload(["benchmark.suite.worker"])


POLL_SECONDS = 1.0  # between two looks at tasks that wait
START_TRIES = 3  # of a process
LONGEST_TEMPORARY = 70  # bytes: a socket's path has at most 103, and /pymp-xxxxxxxx/listener-xxxxxxxx is added


class Sender(Protocol):
    """What a task sends its messages on."""

    def send(self, message: Any, /) -> None:
        """Hands the message to the command. Raises BrokenPipeError where that is gone."""


class Task(NamedTuple):
    """A call in a worker process: `target` as module:function, which gets a `Sender` first."""

    target: str
    arguments: tuple[Any, ...]


class Offer(Enum):
    """Why a task is not started now."""

    LATER = "it waits"
    ENDED = "it has ended elsewhere"


class Death(NamedTuple):
    """How a task's process died. lost: with the machine that it ran on."""

    cause: str
    lost: bool = False


OnOffer = Callable[[int], Task | Offer]
OnMessage = Callable[[int, Any], None]
OnEnd = Callable[[int, Death | None], bool]


class RunTasks(Protocol):
    """Runs tasks somewhere: `run_tasks`, or `benchmark.suite.executors.ray_pool.Cluster.run_tasks`."""

    def __call__(self, count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
        """Runs `count` tasks, at most `jobs` at a time. Callbacks get the task's index.

        offer: asked when there is room: the task to start now, or that it has to wait or has ended elsewhere. on_end:
        gets None, or how the process died; True from it puts a task that was started back among those that wait. An
        exception here, Ctrl-C included, ends the workers.
        """


@contextmanager
def safe_path() -> Iterator[None]:
    """A Python that is started within does not take a queue.py in the working folder for its own."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        os.environ |= {} if before is None else {"PYTHONSAFEPATH": before}


def warm_up() -> None:
    """Starts the process that workers are forked from, which imports while this one goes on.

    Ctrl-C reaches it too; only after its imports would it ignore that by itself. Raises InputError where TMPDIR is
    longer than the path of a socket may be and there is no /tmp.
    """
    _choose_socket_folder()
    with safe_path():
        resource_tracker.ensure_running()  # the fork server starts it, which unblocks the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _choose_socket_folder() -> None:
    """Makes multiprocessing's folder for sockets, which it keeps, in /tmp where the temporary folder's name is long."""
    given = tempfile.gettempdir()
    if len(os.fsencode(given)) <= LONGEST_TEMPORARY:
        return
    if not os.access("/tmp", os.W_OK | os.X_OK):
        raise InputError(f"TMPDIR {given} is too long; expected at most {LONGEST_TEMPORARY} bytes: set it to a shorter")
    tempfile.tempdir = "/tmp"
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = given


def _work(connection: Connection, task: Task) -> None:
    """A worker process's main: it ignores Ctrl-C, which the parent handles, and ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    Entry(task.target, "").load()(connection, *task.arguments)


def startable(
    waiting: list[int], has_room: Callable[[], bool], offer: OnOffer, on_end: OnEnd
) -> Iterator[tuple[int, Task]]:
    """Takes tasks off those that wait, in order and while there is room: the ones to start, as they come."""
    for index in list(waiting):
        if not has_room():
            return
        task = offer(index)
        if task is Offer.LATER:
            continue
        waiting.remove(index)
        if isinstance(task, Task):
            yield index, task
        else:
            on_end(index, None)


def run_tasks(count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
    """See `RunTasks`: processes on this machine."""
    waiting = list(range(count))
    running: dict[Any, tuple[int, Any]] = {}  # by the receiving end of its pipe
    try:
        while waiting or running:
            for index, task in startable(waiting, lambda: len(running) < jobs, offer, on_end):
                receiver, process = _start(task)
                running[receiver] = (index, process)
            idle = waiting and len(running) < jobs
            ready: list[Any] = wait(list(running), timeout=POLL_SECONDS if idle else None) if waiting or running else []
            for receiver in ready:
                index, process = running[receiver]
                try:
                    message = receiver.recv()
                except (EOFError, OSError):  # the worker has ended, or died in the middle of a message
                    process.join()
                    receiver.close()
                    del running[receiver]
                    if on_end(index, _cause_of_death(process.exitcode)):
                        waiting.append(index)
                else:
                    on_message(index, message)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _start(task: Task, tries: int = START_TRIES) -> tuple[Connection, Any]:
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_work, args=(sender, task))
    try:
        with safe_path():  # the fork server may have to be started again
            process.start()
    except (EOFError, ConnectionError):  # the fork server has died just now; the next start makes another
        if tries == 1:
            raise
        return _start(task, tries - 1)
    finally:
        sender.close()
    return receiver, process


def _cause_of_death(exit_code: int | None) -> Death | None:
    if exit_code == 0:
        return None
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return Death(f"the worker process was killed by {name}{hint}; run the same command again to continue")
    return Death(f"the worker process ended with exit code {exit_code}; run the same command again to continue")
