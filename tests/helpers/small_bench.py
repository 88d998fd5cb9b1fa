"""Searches by the real bench on a few hundred random images, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Generator, nn

from benchmark.config.protocol import Evaluation, Named, Training
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.metrics.evaluation import Evaluator
from benchmark.store import ResultsStore
from benchmark.store.folders import SearchFolder
from benchmark.suite.plan import SearchSpec
from benchmark.suite.problem import Bench, BenchProblem
from searchers.base import Choice, ChoiceRule, Searcher, SearchSpace

TIMES = ["train_seconds", "eval_seconds", "wall_seconds"]
MACHINE = [*TIMES, "peak_memory_bytes"]
EXACT = ["latent_dim", "images_seen", "train_flops", "fid_features"]
SETTINGS = Training(epochs=4, batch_size=32, learning_rate=1e-2)
EVALUATION = Evaluation(silhouette_images=20)
SPACE = SearchSpace(2, 8, (2, 4, 6))
NO_LATENTS_NLL = 12.0


class Pixels(nn.Flatten):
    """The pixels themselves as features."""

    name = "stub"


def _dataset() -> Dataset:
    generator = Generator().manual_seed(0)
    factors, mixing = torch.randn(260, 2, generator=generator), torch.randn(2, 16, generator=generator)
    images = (255 * torch.sigmoid(2 * factors @ mixing)).to(torch.uint8).unflatten(1, (1, 4, 4))
    labels = (factors[:, 0] > 0).long()
    return make_dataset("tiny", images[:220], labels[:220], images[220:], labels[220:], n_classes=2)


DATASET = _dataset()
EVALUATOR, TEST = (
    Evaluator(split, DATASET.n_classes, Pixels(), EVALUATION, torch.device("cpu"))
    for split in (DATASET.val, DATASET.test)
)


class Killed(Exception):
    """In place of a signal."""


def spec_of(name: str = "own", seed: int = 3, **changes: Any) -> SearchSpec:
    """The spec of a search. changes: other values of its fields."""
    named = Named("mlp", {"hidden": [12]})
    values = dict(backbone=named, training=SETTINGS, evaluation=EVALUATION, space=SPACE)
    values |= dict(choice=ChoiceRule(), searcher=name, settings={})
    return SearchSpec(
        **{"protocol": "tiny", "dataset": Named("tiny"), "data_fingerprint": "", **values, **changes}, seed=seed
    )


class SmallResults:
    """A results folder. epochs: those trained here, as (trial, epoch); notices: what was said."""

    def __init__(self, path: Path) -> None:
        self.path, self.trainings = path, path / "trainings"
        self.epochs: list[tuple[int, int]] = []
        self.notices: list[str] = []

    def bench(self, spec: SearchSpec, keeps_optimizers: bool = False) -> Bench:
        """The bench of a spec."""
        return Bench(spec, DATASET, EVALUATOR, lambda: TEST, keeps_optimizers)

    def folder(self, spec: SearchSpec) -> SearchFolder:
        """A search's folder."""
        return SearchFolder(self.path / "searches" / spec.search_id)

    def problem(
        self, spec: SearchSpec, killed_at: tuple[int, int] | None = None, keeps_optimizers: bool = False
    ) -> BenchProblem:
        """What the search's searcher is handed; killed when this (trial, epoch) is complete."""

        def report(trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
            self.epochs.append((trial, epoch))
            if (trial, epoch) == killed_at:
                raise Killed

        bench = self.bench(spec, keeps_optimizers)
        return BenchProblem(bench, self.folder(spec), self.trainings, NO_LATENTS_NLL, report, self.notices.append)

    def search(
        self, searcher: Searcher, spec: SearchSpec | None = None, killed_at: tuple[int, int] | None = None
    ) -> Choice:
        """Runs a search to its end, as a worker does."""
        spec = spec or spec_of()
        folder = self.folder(spec)
        folder.begin(**spec.identity())
        problem = self.problem(spec, killed_at, searcher.continues)
        choice = searcher.search(problem)
        wall_seconds = problem.clock.seconds()
        problem.discard_rest()
        folder.finish("done", latent_dim=choice.latent_dim, chosen_trial=choice.trial.number, wall_seconds=wall_seconds)
        return choice

    @property
    def store(self) -> ResultsStore:
        """The frames."""
        return ResultsStore(self.path)

    def models(self) -> dict[str, torch.Tensor]:
        """The weights of all finished models of searches."""
        paths = sorted((self.path / "searches").glob("*/trials/*/model.pt"))
        contents = {path.parent.name: torch.load(path, weights_only=True)["weights"] for path in paths}
        return {f"{trial}.{name}": value for trial, weights in contents.items() for name, value in weights.items()}


def assert_near(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Rows of the same trainings: counts exactly, metrics to what float32's rounding grows to in so many epochs."""
    pd.testing.assert_frame_equal(got[EXACT], expected[EXACT], check_exact=True)
    rest = [name for name in expected.columns if name not in (*EXACT, *TIMES)]
    pd.testing.assert_frame_equal(got[rest], expected[rest], check_exact=False, rtol=1e-3)


def assert_same(got: SmallResults, expected: SmallResults) -> None:
    """All frames and models, bit for bit apart from times."""
    for frame in ("searches", "trials", "epochs", "latents", "curves"):
        own, other = (
            getattr(results.store, frame)().drop(columns=["attempts", *MACHINE], errors="ignore")
            for results in (got, expected)
        )
        pd.testing.assert_frame_equal(own, other, check_exact=True)
    models, others = got.models(), expected.models()
    assert list(models) == list(others) and models
    for name, value in models.items():
        assert torch.equal(value, others[name]), name
