"""The command `latentbench suggest`, but for its page."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset
from benchmark.machine import resolve_device
from benchmark.stages import begin_stage, listening
from benchmark.store import ResultsStore
from benchmark.store.doubts import Row
from benchmark.suggest.budget import REPORT_SECONDS, Budget, budget_file, budget_for, read_budget, write_budget
from benchmark.suggest.measure import fastest_threads, measured_speed
from benchmark.suggest.request import Request
from benchmark.suggest.wording import answer, dimension_sentence
from benchmark.suite.display import Screen
from benchmark.suite.plan import plan
from benchmark.suite.runner import Suite, check_results, prepare, run_suite
from benchmark.text import one_line
from searchers.parts.intrinsic_dimension import two_nn
from searchers.space import SearchSpace

DIMENSION_IMAGES = 2_000  # 3 s for images of 64x64x3 on one core


FEWEST = 4  # rows of training data for each latent of the largest size


@dataclass(frozen=True)
class Searched:
    """What a request has found: its rows of `ResultsStore.searches()`, the store, image or row, and columns' names."""

    searches: pd.DataFrame
    store: ResultsStore
    sample: str
    value_names: tuple[str, ...]

    def sentences(self, search: Row, another: str = "") -> list[str]:
        """What a finished search says, in plain words; another: how to try another seed."""
        curves = self.store.curves()
        own = curves[curves["search_id"] == search["search_id"]].to_dict("records")
        return answer(search, own, self.sample, another)


@dataclass(frozen=True)
class Suggestion:
    """The answer: its sentences, and the file of the model with the suggested size. model is None if it failed."""

    sentences: list[str]
    model: Path | None


def suggest(request: Request, screen: Screen) -> Suggestion:
    """Estimates the data's dimension, decides on a budget, and runs one search, as far as that is not done yet.

    Raises InputError where that cannot be.
    """
    found = search(request, screen)
    row = found.searches.iloc[0].to_dict()
    if row["status"] != "done":
        return Suggestion([f"The search failed: {one_line(row['error'])}"], None)
    return Suggestion(found.sentences(row), found.store.folder(row["search_id"]).path / "model.pt")


def search(request: Request, screen: Screen) -> Searched:
    """Runs what the request asks for, as far as it is not done yet; see `suggest`."""
    protocol = request.protocol
    plan(protocol, "", protocol.run, protocol.seeds)  # settings and names, before any data
    device = str(resolve_device(request.device))
    check_results(request.results)
    with screen.waiting("loading the data") as waiting, listening(waiting.show):
        dataset = load_dataset(protocol.dataset.name, **protocol.dataset.options).for_seed(protocol.seeds[0])
        sample = "image" if dataset.is_images else "row"
        begin_stage(f"estimating the {sample}s' dimension")
        dimension, n_samples = intrinsic_dimension(dataset)
    screen.line(dimension_sentence(dimension, n_samples, sample))
    if not request.asks_space:
        protocol = replace(protocol, space=fitting_space(protocol.space, dataset))
    budget = _budget(replace(request, protocol=protocol), device, dataset, screen)
    for sentence in budget.sentences():
        screen.line(sentence)
    scaled = budget.training(protocol, len(dataset.train))
    jobs, executor = request.jobs, request.executor
    suite = Suite(scaled, protocol.run, protocol.seeds, request.results, device, jobs=jobs, executor=executor)
    return Searched(run_suite(suite, screen), ResultsStore(request.results), sample, dataset.value_names)


def intrinsic_dimension(dataset: Dataset) -> tuple[float | None, int]:
    """The dimension of the training data by TwoNN, None where it cannot be told, and the number of samples.

    Of the pixels as they are stored, and of a table's columns as they are scaled.
    """
    sample = dataset.train.sample(DIMENSION_IMAGES)
    stored = sample.take(torch.arange(len(sample)))
    points = (stored if dataset.is_images else sample.scaling(stored)).flatten(1).numpy()
    try:
        return two_nn(points), len(points)
    except ValueError:
        return None, len(points)


def fitting_space(space: SearchSpace, dataset: Dataset) -> SearchSpace:
    """The sizes that a table can have: no more than its columns, nor than a fourth of its training rows; at least 2."""
    high = max(2, min(space.high, math.prod(dataset.image_shape), len(dataset.train) // FEWEST))
    if dataset.is_images or high == space.high:
        return space
    low = min(space.low, high)
    return SearchSpace(low, high, tuple(size for size in space.sizes if low <= size < high) + (high,))


def _budget(request: Request, device: str, dataset: Dataset, screen: Screen) -> Budget:
    """The budget of an earlier call with the same request, or a new one; seeds share the limit."""
    protocol, n_images = request.protocol, len(dataset.train)
    threads, full = protocol.training.threads, protocol.training.with_epochs(n_images).epochs
    if request.limit is None and request.asked_threads is not None:
        return Budget(full, full, threads)
    spec = plan(protocol, dataset.fingerprint, protocol.run, protocol.seeds, device)[0]
    path = budget_file(request.results, spec, request.limit, request.asked_threads)
    known = read_budget(path)
    if known is not None:
        return known
    prepare(protocol, device, screen, request.executor)
    if request.asked_threads is None and spec.device == "cpu":
        threads = fastest_threads(spec, dataset.image_shape)
    budget = Budget(full, full, threads)
    if request.limit is not None:
        with_threads = replace(protocol, training=replace(protocol.training, threads=threads))
        speed = measured_speed(with_threads, n_images, device, screen, request.executor)
        if not request.makes_page:
            speed = replace(speed, other_seconds=speed.other_seconds - REPORT_SECONDS)
        spent, seeds = time.monotonic() - request.started, len(protocol.seeds)
        budget = budget_for(request.limit / seeds, spent / seeds, speed, full, threads)
    write_budget(path, budget)
    return read_budget(path) or budget
