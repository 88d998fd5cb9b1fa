"""What a suite tells whoever shows its progress; the terminal's is `benchmark.terminal.screen`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from benchmark.stages import Stage
from benchmark.suite.plan import SearchSpec


class Display(Protocol):
    """Searches are told apart by their index among those that the suite runs."""

    def epoch(self, index: int, trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        """A search has finished an epoch."""

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        """An epoch of the stacked trainings of these searches has finished; it is shown in the line of `index`."""

    def stage(self, index: int, stage: Stage) -> None:
        """A search does something long that is no training."""

    def started(self, index: int, node: str) -> None:
        """A task of a search has begun on this node."""

    def status(self, status: str) -> None:
        """What the cluster is doing."""

    def notice(self, line: str) -> None:
        """Something the user must see."""

    def ended(self, index: int, outcome: str) -> None:
        """A search has ended."""


class Waiting(Protocol):
    """What is shown before the first search."""

    def show(self, stage: Stage) -> None:
        """A stage has begun, or got on."""

    def notice(self, line: str) -> None:
        """Something the user must see."""


class Screen(Protocol):
    """Where a suite shows what it does."""

    def waiting(self, doing: str) -> AbstractContextManager[Waiting]:
        """What the user waits for before the first search; `doing` until the first stage."""

    def searches(
        self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int
    ) -> AbstractContextManager[Display]:
        """The searches that run, and of each how many trainings it expects. done_before: how many others are done."""

    def line(self, text: str) -> None:
        """A line of its own."""


class Quiet:
    """Implements Screen, Display and Waiting, and shows nothing. on_epoch: gets the training, its epoch and epochs."""

    def __init__(self, on_epoch: Callable[[int, int, int], None] | None = None) -> None:
        self._on_epoch = on_epoch

    def waiting(self, doing: str) -> AbstractContextManager[Waiting]:
        """Itself."""
        return nullcontext(self)

    def searches(
        self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int
    ) -> AbstractContextManager[Display]:
        """Itself."""
        return nullcontext(self)

    def line(self, text: str) -> None:
        """Shows nothing."""

    def show(self, stage: Stage) -> None:
        """Shows nothing."""

    def notice(self, line: str) -> None:
        """Shows nothing."""

    def epoch(self, index: int, trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        """Hands the epoch on."""
        if self._on_epoch is not None:
            self._on_epoch(trial, epoch, epochs)

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        """Shows nothing."""

    def stage(self, index: int, stage: Stage) -> None:
        """Shows nothing."""

    def started(self, index: int, node: str) -> None:
        """Shows nothing."""

    def status(self, status: str) -> None:
        """Shows nothing."""

    def ended(self, index: int, outcome: str) -> None:
        """Shows nothing."""
