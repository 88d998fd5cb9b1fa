"""How far long work is: what downloads, decodes or trains says it here, and whoever shows it listens."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

from benchmark.text import short_number

TELL_SECONDS = 0.25  # between two reports of a stage

T = TypeVar("T")


class Stage(NamedTuple):
    """A stage of the work: what is done, and how many of its units; total is None where that is not known."""

    what: str
    done: float = 0.0
    total: float | None = None
    unit: str = ""

    @property
    def text(self) -> str:
        """Such as `decoding: 12,000 of 27,000 images`."""
        if not self.unit:
            return self.what
        of = "" if self.total is None else f" of {short_number(self.total)}"
        return f"{self.what}: {short_number(self.done)}{of} {self.unit}"


_listener: ContextVar[Callable[[Stage], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[Stage], None]) -> Iterator[None]:
    """Within the block `listener` is told of every stage that this thread begins, and at times how far it is."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def begin_stage(what: str, total: float | None = None, unit: str = "") -> Callable[[float], None]:
    """Tells the listener that a stage has begun; call what is returned with each number of units that are done."""
    listener = _listener.get() or (lambda _: None)
    stage = Stage(what, 0.0, total, unit)
    listener(stage)
    told = time.monotonic()

    def advance(count: float) -> None:
        nonlocal stage, told
        stage = stage._replace(done=stage.done + count)
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            listener(stage)

    return advance


def as_stage(items: Sequence[T], what: str, unit: str) -> Iterator[T]:
    """The items, as a stage that is done when the last of them is."""
    advance = begin_stage(what, len(items), unit)
    for item in items:
        yield item
        advance(1)
