"""The command `latentbench suggest`, but for its page."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split
from benchmark.machine import resolve_device
from benchmark.stages import begin_stage, listening
from benchmark.store import ResultsStore
from benchmark.suggest.budget import Budget, budget_file, budget_for, read_budget, write_budget
from benchmark.suggest.measure import fastest_threads, measured_speed
from benchmark.suggest.request import Request
from benchmark.suggest.wording import answer, dimension_sentence
from benchmark.suite.display import Screen
from benchmark.suite.plan import plan
from benchmark.suite.runner import Suite, check_results, prepare, run_suite
from benchmark.text import one_line
from searchers.parts.intrinsic_dimension import two_nn

DIMENSION_IMAGES = 2_000  # 3 s for images of 64x64x3 on one core


@dataclass(frozen=True)
class Suggestion:
    """The answer: its sentences, and the file of the model with the suggested size. model is None if it failed."""

    sentences: list[str]
    model: Path | None


def suggest(request: Request, screen: Screen) -> Suggestion:
    """Estimates the images' dimension, decides on a budget, and runs one search, as far as that is not done yet.

    Raises InputError where that cannot be.
    """
    protocol = request.protocol
    plan(protocol, "", protocol.run, protocol.seeds)  # settings and names, before any data
    device = str(resolve_device(request.device))
    check_results(request.results)
    with screen.waiting("loading the images") as waiting, listening(waiting.show):
        dataset = load_dataset(protocol.dataset.name, **protocol.dataset.options).for_seed(protocol.seeds[0])
        begin_stage("estimating the images' dimension")
        dimension, n_images = intrinsic_dimension(dataset.train)
    screen.line(dimension_sentence(dimension, n_images))
    budget = _budget(request, device, dataset, screen)
    for sentence in budget.sentences():
        screen.line(sentence)
    scaled = budget.training(protocol, len(dataset.train))
    suite = Suite(scaled, protocol.run, protocol.seeds, request.results, device, jobs=1)
    search = run_suite(suite, screen).iloc[0]
    if search["status"] != "done":
        return Suggestion([f"The search failed: {one_line(search['error'])}"], None)
    store = ResultsStore(request.results)
    curves = store.curves()
    own = curves[curves["search_id"] == search["search_id"]].to_dict("records")
    return Suggestion(answer(search.to_dict(), own), store.folder(search["search_id"]).path / "model.pt")


def intrinsic_dimension(split: Split) -> tuple[float | None, int]:
    """The dimension of the split's images by TwoNN, None where it cannot be told, and the number of images."""
    sample = split.sample(DIMENSION_IMAGES)
    points = sample.take(torch.arange(len(sample))).flatten(1).numpy()
    try:
        return two_nn(points), len(points)
    except ValueError:
        return None, len(points)


def _budget(request: Request, device: str, dataset: Dataset, screen: Screen) -> Budget:
    """The budget of an earlier call with the same request, or a new one."""
    protocol, n_images = request.protocol, len(dataset.train)
    spec = plan(protocol, dataset.fingerprint, protocol.run, protocol.seeds, device)[0]
    path = budget_file(request.results, spec, request.limit, request.asked_threads)
    known = read_budget(path)
    if known is not None:
        return known
    prepare(protocol, device, screen)
    threads, full = protocol.training.threads, protocol.training.with_epochs(n_images).epochs
    if request.asked_threads is None and spec.device == "cpu":
        threads = fastest_threads(spec, dataset.image_shape)
    budget = Budget(full, full, threads)
    if request.limit is not None:
        with_threads = replace(protocol, training=replace(protocol.training, threads=threads))
        speed = measured_speed(with_threads, n_images, device, screen)
        budget = budget_for(request.limit, time.monotonic() - request.started, speed, full, threads)
    write_budget(path, budget)
    return read_budget(path) or budget
