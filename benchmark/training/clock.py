"""The only clock: it waits for the device before it reads the time, so that it measures finished work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Counts seconds since its creation, plus those that earlier processes of an interrupted search used."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._start = self._now()

    def resume_at(self, seconds: float) -> None:
        """Continues from the seconds of an earlier process, unless the clock already shows more."""
        self._start = min(self._start, self._now() - seconds)

    def go_to(self, seconds: float) -> None:
        """Sets the clock to these seconds, forward or back, so that waiting is not charged."""
        self._start = self._now() - seconds

    def seconds(self) -> float:
        """The seconds so far."""
        return self._now() - self._start

    @contextmanager
    def lap(self, laps: list[float]) -> Iterator[None]:
        """Appends the duration of the block to `laps`."""
        start = self._now()
        yield
        laps.append(self._now() - start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()
