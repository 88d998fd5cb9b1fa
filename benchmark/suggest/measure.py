"""What a search costs on this machine, by a short one in a folder that is thrown away."""

from __future__ import annotations

import time
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
from benchmark.suite.display import Quiet, Screen
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


def measured_speed(protocol: Protocol, n_images: int, device: str, screen: Screen, executor: str = "local") -> Speed:
    """Runs the protocol's search with few short epochs and every evaluation, and returns what a whole one will cost.

    n_images: in the training split. executor: see `benchmark.suite.runner.Suite`. Raises InputError where that search
    fails.
    """
    steps = protocol.training.steps_per_epoch(n_images)
    batches = min(BATCHES, steps)
    short = replace(protocol.training, epochs=EPOCHS, batches=None, scale=1.0, epoch_batches=batches)
    start = time.monotonic()
    with TemporaryDirectory(prefix="latentbench-") as folder, screen.waiting(MEASURING) as waiting:
        measured, seeds = replace(protocol, training=short), protocol.seeds[:1]
        suite = Suite(measured, protocol.run, seeds, Path(folder), device, jobs=1, executor=executor)

        def show(training: int, epoch: int, epochs: int) -> None:
            waiting.show(Stage(f"{MEASURING}: training {training + 1}, epoch {epoch} of {epochs}"))

        search = run_suite(suite, Quiet(show)).iloc[0]
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
