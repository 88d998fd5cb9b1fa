"""What a search costs on this machine, by a short one in a folder that is thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmark.config.protocol import Protocol
from benchmark.errors import InputError
from benchmark.machine import n_cpus
from benchmark.stages import Stage
from benchmark.store import ResultsStore
from benchmark.suggest.budget import REPORT_SECONDS, Speed
from benchmark.suite.display import Display, Screen, Waiting
from benchmark.suite.estimate import measured_rate
from benchmark.suite.plan import SearchSpec
from benchmark.suite.runner import Suite, run_suite
from benchmark.text import one_line

EPOCHS, BATCHES = 3, 32  # of the short search: all else costs what it will cost
MOST_THREADS = 8
WORTH_A_THREAD = 1.1  # times as fast, or more threads are not worth it
MEASURING = "measuring the speed"


def fastest_threads(spec: SearchSpec, image_shape: tuple[int, ...]) -> int:
    """The number of CPU threads, of 1, 2, 4 and 8, with which training steps are fastest on this machine."""
    best, best_rate, threads = 1, 0.0, 1
    while threads <= min(MOST_THREADS, n_cpus()):
        rate = measured_rate(replace(spec, training=replace(spec.training, threads=threads)), image_shape)
        if rate > WORTH_A_THREAD * best_rate:
            best, best_rate = threads, rate
        threads *= 2
    return best


def measured_speed(protocol: Protocol, n_images: int, device: str, screen: Screen) -> Speed:
    """Runs the protocol's search with few short epochs and every evaluation, and returns what a whole one will cost.

    n_images: in the training split. Raises InputError where that search fails.
    """
    steps = protocol.training.steps_per_epoch(n_images)
    batches = min(BATCHES, steps)
    short = replace(protocol.training, epochs=EPOCHS, batches=None, scale=1.0, epoch_batches=batches)
    start = time.monotonic()
    with TemporaryDirectory(prefix="latentbench-") as folder, screen.waiting(MEASURING) as waiting:
        suite = Suite(replace(protocol, training=short), protocol.run, protocol.seeds, Path(folder), device, jobs=1)
        search = run_suite(suite, _Quiet(waiting)).iloc[0]
        if search["status"] != "done":
            raise InputError(
                f"a short search failed: {one_line(search['error'])}; see `latentbench run` and correct it"
            )
        epochs = ResultsStore(folder).epochs()
    return speed_of(epochs, time.monotonic() - start, steps / batches)


def speed_of(epochs: pd.DataFrame, seconds: float, lengthening: float) -> Speed:
    """The speed by a short search: its rows of `ResultsStore.epochs()`, its seconds in all.

    lengthening: how many times as long a whole epoch is. A training's first epoch is slow, so its last one counts for
    all. So does the median evaluation: what a searcher evaluates in one epoch alone, it does once in a longer one too.
    """
    training = sum(len(rows) * float(rows["train_seconds"].iloc[-1]) for _, rows in epochs.groupby("trial"))
    evaluation = len(epochs) * float(epochs["eval_seconds"].median())
    other = max(0.0, seconds - training - evaluation) + REPORT_SECONDS
    return Speed((lengthening * training + evaluation) / EPOCHS, other)


class _Quiet:
    """A screen, and the display of its search, of which only the epochs are shown, as stages."""

    def __init__(self, shown: Waiting) -> None:
        self._shown = shown

    def waiting(self, doing: str) -> AbstractContextManager[Waiting]:
        return nullcontext(self)

    def searches(
        self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int
    ) -> AbstractContextManager[Display]:
        return nullcontext(self)

    def line(self, text: str) -> None:
        return None

    def show(self, stage: Stage) -> None:
        return None

    def notice(self, line: str) -> None:
        return None

    def epoch(self, index: int, trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        self._shown.show(Stage(f"{MEASURING}: training {trial + 1}, epoch {epoch} of {epochs}"))

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        return None

    def stage(self, index: int, stage: Stage) -> None:
        return None

    def started(self, index: int, node: str) -> None:
        return None

    def status(self, status: str) -> None:
        return None

    def ended(self, index: int, outcome: str) -> None:
        return None
