"""Trainings of several sizes and seeds as one stacked model: each as it would be alone, killed or not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_bench import DATASET, EVALUATION, SETTINGS, TEST, TIMES, Killed, Pixels, SmallResults, assert_near, spec_of

from benchmark.metrics.evaluation import Evaluator
from benchmark.store.folders import TrialFolder
from benchmark.store.rows import ARRAYS
from benchmark.suite.plan import SearchSpec
from benchmark.suite.population import Population, train_stacked
from benchmark.suite.problem import Bench
from benchmark.suite.work import SharedTraining

SIZES = (2, 6, 4)


class Partitioned(SmallResults):
    """A results folder of searches that have their seed's own images to train and to validate on, as in a worker."""

    def bench(self, spec: SearchSpec, keeps_optimizers: bool = False) -> Bench:
        own = DATASET.for_seed(spec.seed)
        evaluator = Evaluator(own.val, own.n_classes, Pixels(), EVALUATION, torch.device("cpu"))
        return Bench(spec, own, evaluator, lambda: TEST, keeps_optimizers)


class Stacked(Partitioned):
    """A results folder in which the SIZES of some seeds are trained as one stack."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.checkpoint = self.trainings / "stack.pt"
        self.reports: list[tuple[int, int, int]] = []

    def training(self, seed: int, size: int) -> SharedTraining:
        return SharedTraining(spec_of(seed=seed), size, SETTINGS.epochs, self.trainings / f"{seed}-{size}")

    def train(self, seeds: Sequence[int], killed_after: int | None = None) -> None:
        """Killed after so many epochs."""

        def report(*progress: int) -> None:
            self.reports.append(progress)
            if progress[1] == killed_after:
                raise Killed

        trainings = [self.training(seed, size) for seed in seeds for size in SIZES]
        pairs = [(self.bench(one.spec), one) for one in trainings]
        train_stacked(pairs, self.checkpoint, report, self.notices.append)
        assert not self.checkpoint.exists()

    def rows(self, seeds: Sequence[int]) -> pd.DataFrame:
        frames = [
            pd.DataFrame(TrialFolder(self.training(seed, size).path).read_rows()).assign(seed=seed, size=size)
            for seed in seeds
            for size in SIZES
        ]
        rows = pd.concat(frames).drop(columns=[*ARRAYS, "trial"], errors="ignore")
        return rows.set_index(["seed", "size", "epoch"]).sort_index()


@pytest.fixture
def stacked(tmp_path: Path) -> Stacked:
    return Stacked(tmp_path / "stacked")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of one training after another, of seeds 3 and 5, which are in partitions 3 and 0."""
    frames = []
    for seed in (3, 5):
        problem = Partitioned(tmp_path_factory.mktemp("alone")).problem(spec_of(seed=seed))
        frames += [problem.train(size).history.assign(seed=seed, size=size) for size in SIZES]
    rows = pd.concat(frames).drop(columns=[*ARRAYS, "trial"], errors="ignore")
    return rows.set_index(["seed", "size", "epoch"]).sort_index()


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these members (by their place) NaN from an epoch on."""

    def poison(*members: int, from_epoch: int) -> None:
        train_epoch = Population.train_epoch

        def poisoned(self: Population, epoch: int) -> list[float]:
            if epoch == from_epoch:
                for member in members:
                    self._stack.parameters["vae.mean_head.bias"].data[member].fill_(math.nan)
            return train_epoch(self, epoch)

        monkeypatch.setattr(Population, "train_epoch", poisoned)

    return poison


@pytest.mark.parametrize("seeds", [(3,), (3, 5)], ids=str)
def test_each_trains_as_it_would_alone(seeds: tuple[int, ...], stacked: Stacked, alone: pd.DataFrame) -> None:
    stacked.train(seeds)
    rows = stacked.rows(seeds)
    assert_near(rows, alone.loc[list(seeds)])
    assert stacked.reports == [(3 * len(seeds), epoch, 4) for epoch in (1, 2, 3, 4)] and stacked.notices == []
    assert (rows[TIMES] > 0).all(axis=None)
    assert (rows.groupby("epoch")["train_seconds"].nunique() == 1).all()  # a share, the same for each
    spent = (rows["train_seconds"] + rows["eval_seconds"]).groupby(["seed", "size"]).cumsum()
    assert (rows["wall_seconds"] >= spent).all()  # what the training has cost, a share of the overheads included
    stacked.train(seeds)
    assert len(stacked.reports) == SETTINGS.epochs  # once


def test_a_search_takes_them_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacked, spec = Stacked(tmp_path), spec_of()
    monkeypatch.setattr(
        Stacked,
        "training",
        lambda self, seed, size: SharedTraining(spec, size, 4, self.trainings / spec.training_key(size, 4)),
    )
    stacked.train((3,))
    monkeypatch.delattr("benchmark.suite.problem.train")
    problem = stacked.problem(spec)
    histories = [problem.train(size).history for size in SIZES]
    base = 0.0
    for size, history in zip(SIZES, histories, strict=True):
        own = stacked.rows((3,)).loc[3, size]["wall_seconds"]
        assert history["wall_seconds"].to_numpy() == pytest.approx(base + own.to_numpy(), abs=0.2)
        base = history["wall_seconds"].iloc[-1]
    assert problem.clock.seconds() >= base and problem.clock.seconds() < base + 60


@pytest.mark.parametrize("from_epoch", [1, 3])
def test_a_diverged_member(
    from_epoch: int, stacked: Stacked, alone: pd.DataFrame, diverging: Callable[..., None]
) -> None:
    diverging(4, from_epoch=from_epoch)  # seed 5's second training
    stacked.train((3, 5))
    rows = stacked.rows((3, 5))
    own = rows.loc[5, SIZES[1]]
    assert len(own) == from_epoch and np.isnan(own["train_loss"].iloc[-1])
    assert np.isfinite(own["train_loss"].iloc[:-1]).all()
    assert_near(rows.drop(index=[(5, SIZES[1])]), alone.drop(index=[(5, SIZES[1])]))
    record = TrialFolder(stacked.training(5, SIZES[1]).path).finished()
    assert record is not None and record["status"] == "failed"


def test_when_all_have_diverged_it_ends(stacked: Stacked, diverging: Callable[..., None]) -> None:
    diverging(0, 1, 2, from_epoch=2)
    stacked.train((3,))
    assert stacked.reports == [(3, 1, 4), (3, 2, 4)]
    assert stacked.rows((3,))["train_loss"].isna().tolist() == [False, True] * 3


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_killed_with_a_diverged_member(
    killed_after: int, stacked: Stacked, tmp_path: Path, diverging: Callable[..., None]
) -> None:
    """A kill comes before its epoch is reported or after: whichever, results are bit for bit the undisturbed ones."""
    diverging(1, from_epoch=2)
    whole = Stacked(tmp_path / "whole")
    whole.train((3, 5))
    with pytest.raises(Killed):
        stacked.train((3, 5), killed_after)
    before = stacked.rows((3, 5))
    assert stacked.checkpoint.exists()
    stacked.train((3, 5))
    after, expected = stacked.rows((3, 5)), whole.rows((3, 5))
    pd.testing.assert_frame_equal(after.drop(columns=TIMES), expected.drop(columns=TIMES), check_exact=True)
    pd.testing.assert_frame_equal(after.loc[before.index, TIMES], before[TIMES], check_exact=True)
    assert [epoch for _, epoch, _ in stacked.reports] == [1, 2, 3, 4]  # each once
    assert len(after.loc[3, SIZES[1]]) == 2


@pytest.mark.parametrize("damage", ["flipped", "of other members"])
def test_a_checkpoint_that_is_of_no_use(damage: str, stacked: Stacked, alone: pd.DataFrame) -> None:
    seeds = (3,) if damage == "of other members" else (3, 5)
    with pytest.raises(Killed):
        stacked.train(seeds, killed_after=3)
    if damage == "flipped":
        content = bytearray(stacked.checkpoint.read_bytes())
        content[len(content) // 2] ^= 1
        stacked.checkpoint.write_bytes(content)
    stacked.train((3, 5))
    said = [f"{stacked.checkpoint} is damaged: those trainings are done anew"]
    assert stacked.notices == (said if damage == "flipped" else [])
    assert stacked.reports[3:] == [(6, epoch, 4) for epoch in (1, 2, 3, 4)]
    assert_near(stacked.rows((3, 5)), alone)


def test_what_another_process_does_is_left_to_it(stacked: Stacked, alone: pd.DataFrame) -> None:
    held = stacked.training(3, SIZES[0]).path
    held.mkdir(parents=True)
    (held / "claim-000001").write_text('{"machine": ["elsewhere", "", ""], "pid": 1, "started": "1"}')
    stacked.train((3,))
    assert [path.name for path in held.iterdir()] == ["claim-000001"] and stacked.reports[-1] == (2, 4, 4)
    own = pd.DataFrame(TrialFolder(stacked.training(3, SIZES[1]).path).read_rows()).set_index("epoch")
    assert_near(own.drop(columns=[*ARRAYS, "trial"], errors="ignore"), alone.loc[3, SIZES[1]])


ENDINGS = [(TrialFolder, "show_rows", 20), *((Bench, "finish", calls) for calls in (0, 1, 4))]


@pytest.mark.parametrize(("owner", "name", "calls"), ENDINGS)
def test_killed_when_all_epochs_are_trained(
    owner: type, name: str, calls: int, stacked: Stacked, alone: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the trainings have all their rows, or their models and records: none is trained anew."""
    original, left = getattr(owner, name), iter(range(calls))

    def killed(*arguments: object, **named: object) -> object:
        if next(left, None) is None:
            raise Killed
        return original(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, killed)
        stacked.train((3, 5))
    trained = len(stacked.reports)
    stacked.train((3, 5))
    assert_near(stacked.rows((3, 5)), alone)
    assert len(stacked.reports) == trained


def test_a_stacked_training_is_another_training_than_one_alone() -> None:
    """Its numbers differ in the last digits."""
    spec = spec_of("searchers.whole_run.grid:Grid")
    sizes = [training.latent_dim for training in spec.certain()]
    other = replace(spec, execution="stacked")
    assert spec.search_id != other.search_id and spec.protocol_hash == other.protocol_hash
    assert spec.training_key(sizes[0], 4) != other.training_key(sizes[0], 4)
    assert spec.training_key(sizes[0], 3) == other.training_key(sizes[0], 3)  # which nobody stacks
    assert spec.search_id == replace(spec, execution="spread").search_id
    assert len({spec.training_key(size, epochs) for size in (2, 3) for epochs in (3, 4)}) == 4
