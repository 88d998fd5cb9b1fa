"""The one clock: seconds of work, with the device's queue drained at both ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds since it was made, or more where an interrupted search had already used more."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._start = self._now()

    def resume_at(self, seconds: float) -> None:
        """Goes on from what an earlier process had used, unless that is less than the clock shows."""
        self._start = min(self._start, self._now() - seconds)

    def go_to(self, seconds: float) -> None:
        """Shows this many seconds now, more or less than before: what was waited for is not charged."""
        self._start = self._now() - seconds

    def seconds(self) -> float:
        """Seconds so far."""
        return self._now() - self._start

    @contextmanager
    def lap(self, laps: list[float]) -> Iterator[None]:
        """Appends the block's seconds to `laps`."""
        start = self._now()
        yield
        laps.append(self._now() - start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()
