"""A pool of worker processes with one process per task, so that a crash fails only its own task."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from multiprocessing import forkserver, parent_process, resource_tracker, util
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from benchmark.errors import InputError
from searchers.registry import Entry

_context = multiprocessing.get_context("forkserver")  # imports torch once, and forks workers from there
_context.set_forkserver_preload(["benchmark.suite.worker"])


POLL_SECONDS = 1.0  # between two offers of the waiting tasks
START_TRIES = 3  # of a process
LONGEST_TEMPORARY = 70  # bytes: a socket's path has at most 103, of which /pymp-xxxxxxxx/listener-xxxxxxxx takes 32


class Sender(Protocol):
    """Carries a task's messages to the command."""

    def send(self, message: Any, /) -> None:
        """Sends the message. Raises BrokenPipeError if the command has ended."""


class Task(NamedTuple):
    """A call in a worker process. target: module:function; its first argument is a `Sender`."""

    target: str
    arguments: tuple[Any, ...]


class Offer(Enum):
    """The reason why a task does not start now."""

    LATER = "it waits"
    ENDED = "it has ended elsewhere"


class Death(NamedTuple):
    """How a task's process died. lost: its machine was lost, too."""

    cause: str
    lost: bool = False


OnOffer = Callable[[int], Task | Offer]
OnMessage = Callable[[int, Any], None]
OnEnd = Callable[[int, Death | None], bool]


class RunTasks(Protocol):
    """The type of `run_tasks` and of `benchmark.suite.executors.ray_pool.Cluster.run_tasks`."""

    def __call__(self, count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
        """Runs `count` tasks, at most `jobs` at a time, and returns when all have ended. Callbacks get a task's index.

        offer: called when there is room; returns the task to start now, or why it does not start. on_end: gets how the
        process died, or None; returns True to run the task again. An exception here, such as Ctrl-C, ends the workers.
        """


@contextmanager
def safe_path() -> Iterator[None]:
    """Keeps a Python process started in the block from importing modules such as queue.py of the working folder."""
    previous = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        os.environ |= {} if previous is None else {"PYTHONSAFEPATH": previous}


def warm_up() -> None:
    """Starts the process that workers are forked from; it imports in the background.

    It inherits a blocked SIGINT, because it ignores Ctrl-C by itself only after its imports. Raises InputError if
    TMPDIR is too long for the path of a socket and /tmp cannot be used.
    """
    _choose_socket_folder()
    with safe_path():
        resource_tracker.ensure_running()  # else the fork server's start would start it and unblock SIGINT
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _choose_socket_folder() -> None:
    """Creates multiprocessing's folder for sockets in /tmp if the path of the temporary folder is too long."""
    given = tempfile.gettempdir()
    if len(os.fsencode(given)) <= LONGEST_TEMPORARY:
        return
    if not os.access("/tmp", os.W_OK | os.X_OK):
        raise InputError(f"TMPDIR {given} is too long; expected at most {LONGEST_TEMPORARY} bytes: set it to a shorter")
    tempfile.tempdir = "/tmp"
    try:
        util.get_temp_dir()  # multiprocessing keeps this folder
    finally:
        tempfile.tempdir = given


def _work(connection: Connection, task: Task, gpu: str | None) -> None:
    """The main function of a worker process. It ignores Ctrl-C, which the parent handles, and ends with the parent.

    gpu: the only one that it sees, before anything has used one; None: all of them.
    """
    os.environ |= {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    Entry(task.target, "").load()(connection, *task.arguments)


def startable(
    waiting: list[int], has_room: Callable[[], bool], offer: OnOffer, on_end: OnEnd
) -> Iterator[tuple[int, Task]]:
    """Yields the tasks to start, in order and while there is room, and removes them from `waiting`."""
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


def run_tasks(
    count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd, places: Sequence[str] = ()
) -> None:
    """Implements `RunTasks` with processes of this machine.

    places: the GPU that each of the tasks has that run at a time, as many as `jobs`; none where they do not choose.
    """
    waiting = list(range(count))
    running: dict[Any, tuple[int, Any]] = {}  # receiving end of the pipe -> index and process
    placed: dict[Any, int] = {}  # receiving end of the pipe -> place
    try:
        while waiting or running:
            for index, task in startable(waiting, lambda: len(running) < jobs, offer, on_end):
                place = min(set(range(len(places))) - set(placed.values()), default=None)
                receiver, process = _start(task, None if place is None else places[place])
                running[receiver] = (index, process)
                placed |= {} if place is None else {receiver: place}
            must_poll = waiting and len(running) < jobs
            timeout = POLL_SECONDS if must_poll else None
            ready: list[Any] = wait(list(running), timeout) if waiting or running else []
            for receiver in ready:
                index, process = running[receiver]
                try:
                    message = receiver.recv()
                except (EOFError, OSError):  # the worker has ended, or died while it sent a message
                    process.join()
                    receiver.close()
                    del running[receiver]
                    placed.pop(receiver, None)
                    if on_end(index, _cause_of_death(process.exitcode)):
                        waiting.append(index)
                else:
                    on_message(index, message)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _start(task: Task, gpu: str | None, tries: int = START_TRIES) -> tuple[Connection, Any]:
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_work, args=(sender, task, gpu))
    try:
        with safe_path():  # this may start the fork server again
            process.start()
    except (EOFError, ConnectionError):  # the fork server has just died; the next try starts another
        if tries == 1:
            raise
        return _start(task, gpu, tries - 1)
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
