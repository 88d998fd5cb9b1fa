"""Shows a call's progress in a notebook or a terminal: lines, and one bar over all epochs that are expected."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from benchmark.stages import Stage
from benchmark.suite.display import Display, Waiting
from benchmark.suite.plan import SearchSpec
from benchmark.text import printable


class Progress:
    """Implements `benchmark.suite.display.Screen`."""

    def waiting(self, doing: str) -> AbstractContextManager[Waiting]:
        """Shows only what the user must see, as these stages are short."""
        return nullcontext(_Notices())

    def searches(self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int) -> "_Bar":
        """A bar over the epochs of all searches."""
        return _Bar(specs)

    def line(self, text: str) -> None:
        """Prints a line."""
        _print(text)


class _Notices:
    def show(self, stage: Stage) -> None:
        """Shows nothing."""

    def notice(self, line: str) -> None:
        """Prints a line."""
        _print(line)


class _Bar:
    """Implements Display. An epoch counts once, however often a resumed search repeats it."""

    def __init__(self, specs: Sequence[SearchSpec]) -> None:
        self._specs = specs
        self._epochs: dict[tuple[int, int], int] = {}  # (search, training) -> epochs done
        total = sum(training.epochs for spec in specs for training in spec.planned())
        is_seen = sys.stdout.isatty() or "ipykernel" in sys.modules
        self._bar: Any = tqdm(total=total, unit="epoch", disable=not (specs and is_seen), leave=False, file=sys.stdout)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.close()

    def epoch(self, index: int, trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        """Moves the bar on."""
        self._epochs[index, trial] = max(epoch, self._epochs.get((index, trial), 0))
        done = sum(self._epochs.values())
        self._bar.total = max(self._bar.total, done)
        spec = self._specs[index]
        self._bar.set_description(f"{spec.searcher} seed {spec.seed}, {latent_dim} latents", refresh=False)
        self._bar.update(done - self._bar.n)

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        """Shows nothing."""

    def stage(self, index: int, stage: Stage) -> None:
        """Shows nothing."""

    def started(self, index: int, node: str) -> None:
        """Shows nothing."""

    def status(self, status: str) -> None:
        """Shows nothing."""

    def notice(self, line: str) -> None:
        """Prints a line."""
        _print(line)

    def ended(self, index: int, outcome: str) -> None:
        """Prints a line."""
        spec = self._specs[index]
        _print(f"{spec.searcher} seed {spec.seed}: {outcome}")


def _print(text: str) -> None:
    tqdm.write(printable(text), file=sys.stdout)
