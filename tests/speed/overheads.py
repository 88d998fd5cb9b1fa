"""What is neither training nor metrics: removals, Frechet distances, start-up, and a search's own cost."""

import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Generator

from benchmark.datasets import load_dataset
from benchmark.errors import InputError
from benchmark.machine import limit_threads
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.store import ResultsStore
from tests.speed.cases import CONV, MLP, REMOVED, Case, ours
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio, seconds, with_threads

Array = NDArray[np.float64]

FEATURES = (500, 2048)  # of Inception, of the silhouettes' 500 images
PROTOCOL = """
[dataset]
name = "{dataset}"
[backbone]
name = "mlp"
[training]
epochs = 1
epoch_batches = 10
[evaluation]
features = "classifier"
max_images = 100
silhouette_images = 50
[space]
sizes = [16]
"""


def measure(effort: Effort) -> list[Table]:
    """Removals and sizes, the Frechet distance, processes."""
    return [_sizes(effort), _frechet(effort), _processes(effort)]


def _sizes(effort: Effort) -> Table:
    rows: dict[str, list[float]] = {}
    rounds = effort.rounds or 5
    limit_threads(1)
    for case in (MLP, CONV):
        wide = replace(case, latents=64).shortened(effort)
        removals = [removal(wide) for _ in track(range(rounds), description=f"overheads: removal, {case.backbone}")]
        ms, first = zip(*removals, strict=True)
        loops = {n: ours(replace(wide, latents=n)) for n in (64, 8)}
        measures = {str(n): with_threads(1, loop.rate) for n, loop in loops.items()}
        rates = interleaved(f"overheads: sizes, {case.backbone}", rounds, measures)
        rows[f"{case.backbone}: removing {REMOVED} of 64 latents: ms"] = list(ms)
        rows[f"{case.backbone}: first step after it, FLOPs counted / later ones"] = list(first)
        rows[f"{case.backbone}: epoch of 8 latents / of 64 (time)"] = ratio(rates["64"], rates["8"])
    return Table("1 thread: removing latents", rows)


def removal(case: Case) -> tuple[float, float]:
    """Milliseconds to remove latents, and the time of the first step after that over the later ones'."""
    step = replace(case, images=case.training.batch_size, steps=1)
    state = step.state()
    removed = seconds(lambda: state.remove_all_but(range(case.latents - REMOVED)))
    first, *later = [seconds(lambda: step.train(state)) for _ in range(11)]
    return 1e3 * removed, first / statistics.median(later)


def _frechet(effort: Effort) -> Table:
    """One round: the general formula takes many seconds."""
    limit_threads(effort.threads)
    generator = Generator().manual_seed(0)
    a, b = torch.rand(2, *(effort.of(size) for size in FEATURES), generator=generator)
    exact = frechet_distance(feature_stats(a), feature_stats(b))
    arrays = a.double().numpy(), b.double().numpy()
    general: list[float] = []
    measures: dict[str, Measure] = {
        "ours": lambda: seconds(lambda: frechet_distance(feature_stats(a), feature_stats(b)), repeats=5),
        "eigvals": lambda: seconds(lambda: general.append(general_distance(*arrays, trace_by_eigvals))),
        "sqrtm": lambda: seconds(lambda: general_distance(*arrays, trace_by_sqrtm)),
    }
    took = interleaved("overheads: Frechet distance", 1, measures)
    rows = {
        "ours: ms": [1e3 * value for value in took["ours"]],
        "general formula by eigvals, as torch-fidelity has it / ours (time)": ratio(took["eigvals"], took["ours"]),
        "general formula by sqrtm / ours (time)": ratio(took["sqrtm"], took["ours"]),
        "eigvals and ours: relative difference": [abs(general[0] - exact) / exact],
    }
    return Table(f"Frechet distance of {a.shape[0]} x {a.shape[1]} features, {effort.threads} threads", rows)


def general_distance(a: Array, b: Array, trace_of_root: Callable[[Array], float]) -> float:
    """Of features [N, F], as it is usually computed: from the covariances' product [F, F]."""
    covariances = [np.cov(features, rowvar=False) for features in (a, b)]
    trace = np.trace(covariances[0]) + np.trace(covariances[1])
    root = trace_of_root(covariances[0] @ covariances[1])
    return float(np.square(a.mean(0) - b.mean(0)).sum() + trace - 2 * root)


def trace_by_eigvals(product: Array) -> float:
    """Of the product's root."""
    return float(np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum())


def trace_by_sqrtm(product: Array) -> float:
    """Of the product's root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer vectors than features: the product is singular
        return float(np.trace(scipy.linalg.sqrtm(product)).real)


def _processes(effort: Effort) -> Table:
    rounds = effort.rounds or 3
    command = [sys.executable, "-m", "benchmark", "list"]
    starts = [
        seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        for _ in track(range(rounds), description="overheads: start-up")
    ]
    dataset = "mnist"
    try:
        load_dataset(dataset)
    except InputError:
        dataset = "digits"
    rows = {
        "`python -m benchmark list`: s": starts,
        f"a search on {dataset} beyond its training and its metrics: s": search_overhead(dataset, min(2, rounds)),
    }
    return Table("processes", rows)


def search_overhead(dataset: str, rounds: int) -> list[float]:
    """Seconds of a search outside its logged training and metrics, the last evaluation on the test split included.

    Half of what two searches more add to a suite, so that what a suite does once is left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        protocol = Path(folder) / "tiny.toml"
        protocol.write_text(PROTOCOL.format(dataset=dataset), encoding="utf-8")
        _suite(protocol, Path(folder) / "cached", (0,))  # makes the classifier
        overheads = []
        for i in track(range(rounds), description="overheads: a search"):
            one, of_one = _suite(protocol, Path(folder) / f"one-{i}", (0,))
            three, of_three = _suite(protocol, Path(folder) / f"three-{i}", (0, 1, 2))
            overheads.append((three - one - (of_three - of_one)) / 2)
    return overheads


def _suite(protocol: Path, results: Path, seeds: Sequence[int]) -> tuple[float, float]:
    """Seconds of a whole suite of one search a seed, and of those what its searches log."""
    command = [sys.executable, "-m", "benchmark", "run", "--protocol", str(protocol), "--searchers", "grid"]
    command += ["--results", str(results), "--jobs", "1", "--device", "cpu", "--seeds", *map(str, seeds)]
    took = seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    searches = ResultsStore(results).searches()
    return took, float((searches["train_seconds"] + searches["eval_seconds"]).sum())
