"""Runs tasks one after another in the user's own process: nothing is started, and its settings are put back."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmark.processes import as_guest
from benchmark.suite.executors.local_pool import POLL_SECONDS, Death, OnEnd, OnMessage, OnOffer, Task, startable
from benchmark.text import one_line
from searchers.registry import Entry

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


class _Stop(BaseException):
    """Carries an error of a callback through a task, which catches every Exception of its own."""


class _Messages:
    """Implements `Sender`: hands a task's messages to the command at once."""

    def __init__(self, receive: Callable[[Any], None]) -> None:
        self._receive = receive

    def send(self, message: Any, /) -> None:
        """Sends the message."""
        try:
            self._receive(message)
        except Exception as error:
            raise _Stop from error


def run_tasks_here(count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
    """Implements `RunTasks` without another process: one task at a time, whatever `jobs` says.

    Ctrl-C takes effect when the epoch in progress has its checkpoint, a second one at once. An exception of a task is
    its death, as it would be in a process of its own.
    """
    waiting = list(range(count))
    with as_guest(), _settings_restored(), _late_interrupt() as interrupt:

        def receive(index: int, message: Any) -> None:
            on_message(index, message)
            interrupt()

        while waiting:
            before = len(waiting)
            for index, task in startable(waiting, lambda: True, offer, on_end):
                if on_end(index, _death(task, partial(receive, index))):
                    waiting.append(index)
            interrupt()
            if len(waiting) == before:
                time.sleep(POLL_SECONDS)


def _death(task: Task, receive: Callable[[Any], None]) -> Death | None:
    try:
        Entry(task.target, "").load()(_Messages(receive), *task.arguments)
    except _Stop as stop:
        assert stop.__cause__ is not None
        raise stop.__cause__ from None
    except Exception as error:
        traceback.print_exc()  # as a worker's process does
        return Death(one_line(f"{type(error).__name__}: {error}"))
    return None


@contextmanager
def _late_interrupt() -> Iterator[Callable[[], None]]:
    """Yields a function that raises KeyboardInterrupt where Ctrl-C was pressed; a second Ctrl-C works as before.

    Only the main thread can do so; elsewhere, and where Ctrl-C is ignored, it stays as it is.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield lambda: None
        return
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)
        signal.signal(signal.SIGINT, previous)

    def interrupt() -> None:
        if asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _settings_restored() -> Iterator[None]:
    """Puts back what a worker sets for its process: threads, flushing of denormals, determinism, the current GPU."""
    threads, flushes = torch.get_num_threads(), _flushes_denormals()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    tunes, cublas = torch.backends.cudnn.benchmark, os.environ.get(CUBLAS)
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else 0  # to ask would start CUDA
    try:
        with threadpool_limits(None):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns_only)
        torch.backends.cudnn.benchmark = tunes
        if torch.cuda.is_initialized():
            torch.cuda.set_device(gpu)
        os.environ.pop(CUBLAS, None)
        os.environ |= {} if cublas is None else {CUBLAS: cublas}


def _flushes_denormals() -> bool:
    return bool(torch.tensor(torch.finfo(torch.float32).tiny).mul(0.5) == 0)
