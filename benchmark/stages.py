"""Progress of long work: code that downloads, decodes or trains reports its stages to a listener."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

from benchmark.text import short_number

TELL_SECONDS = 0.25  # at least, between two reports of a stage

T = TypeVar("T")


class Stage(NamedTuple):
    """A stage of the work: its name, and how many of its units are done; `total` is None if it is unknown."""

    what: str
    done: float = 0.0
    total: float | None = None
    unit: str = ""

    @property
    def text(self) -> str:
        """A line such as `decoding: 12,000 of 27,000 images`."""
        if not self.unit:
            return self.what
        of = "" if self.total is None else f" of {short_number(self.total)}"
        return f"{self.what}: {short_number(self.done)}{of} {self.unit}"


_listener: ContextVar[Callable[[Stage], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[Stage], None]) -> Iterator[None]:
    """Calls `listener` for every stage that this thread begins in the block, and regularly with its progress."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def begin_stage(what: str, total: float | None = None, unit: str = "") -> Callable[[float], None]:
    """Reports a new stage to the listener. Returns a function; call it with each number of units just done."""
    listener = _listener.get() or (lambda _: None)
    stage = Stage(what, 0.0, total, unit)
    listener(stage)
    reported = time.monotonic()

    def advance(count: float) -> None:
        nonlocal stage, reported
        stage = stage._replace(done=stage.done + count)
        if time.monotonic() - reported >= TELL_SECONDS:
            reported = time.monotonic()
            listener(stage)

    return advance


def as_stage(items: Sequence[T], what: str, unit: str) -> Iterator[T]:
    """Yields the items and reports them as a stage, which ends with the last item."""
    advance = begin_stage(what, len(items), unit)
    for item in items:
        yield item
        advance(1)
