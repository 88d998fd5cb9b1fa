"""Metrics in every n-th epoch only: what is trained stays the same, and the searchers that need more are refused."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import small_bench
import torch
from small_bench import DATASET, EVALUATION, EVALUATOR, SETTINGS, TIMES, Killed, SmallResults, assert_same, spec_of

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Protocol, load_protocol
from benchmark.errors import InputError
from benchmark.store.folders import TrialFolder
from benchmark.suite.plan import plan
from benchmark.suite.population import train_stacked
from benchmark.suite.work import SharedTraining
from benchmark.training.clock import Clock
from benchmark.training.loop import train
from benchmark.training.state import TrainingState, new_state
from searchers.base import Choice, Controller, Decision, FixedSize, Model, Problem, Searcher
from searchers.parts.objectives import VAE, Loss, elbo_loss

EVERY, EPOCHS = 3, 7
HASH_BEFORE, KEY_BEFORE = "d8141583e472", "220e0d2b814a"  # before there was this setting
SETTINGS_OF_7 = replace(SETTINGS, epochs=EPOCHS)


class Looks(Controller):
    """Notes the epochs that it is shown, and ends the training at one."""

    def __init__(self, ends_at: int = 99) -> None:
        super().__init__()
        self.ends_at = ends_at
        self.seen: list[list[int]] = []

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self.seen.append(history["epoch"].tolist())
        return Decision(stop=self.seen[-1][-1] == self.ends_at)


class Diverges(FixedSize):
    def loss(self, vae: VAE, x: torch.Tensor, generator: torch.Generator) -> Loss:
        return Loss(elbo_loss(vae, x, generator).total * math.nan)


class Two(Searcher):
    """Two plain trainings."""

    def search(self, problem: Problem) -> Choice:
        problem.train(2)
        return Choice(problem.train(4))


def _train(every: int, controller: Controller | None = None) -> TrainingState:
    evaluator = copy.copy(EVALUATOR)
    evaluator.every = every
    vae = build_vae("mlp", {"hidden": [12]}, (1, 4, 4), 4, 1)
    state = new_state(vae, controller or FixedSize(), SETTINGS.learning_rate)
    device = torch.device("cpu")
    train(state, SETTINGS_OF_7, DATASET.train, evaluator, (0, 0), Clock(device), lambda state: None)
    return state


def test_rows_of_every_third_epoch_and_the_last() -> None:
    all_rows, some = _train(1), _train(EVERY)
    assert [row["epoch"] for row in some.rows] == [3, 6, 7]
    rows, expected = pd.DataFrame(some.rows), pd.DataFrame([all_rows.rows[epoch - 1] for epoch in (3, 6, 7)])
    arrays = [name for name in rows if name.startswith("latent_") and name != "latent_dim"]
    for name in arrays:
        assert [list(value) for value in rows[name]] == [list(value) for value in expected[name]]
    same = [name for name in rows if name not in (*TIMES, *arrays)]
    pd.testing.assert_frame_equal(rows[same], expected[same], check_exact=True)
    for name, value in some.vae.state_dict().items():
        assert torch.equal(value, all_rows.vae.state_dict()[name]), name
    assert rows["train_seconds"].iloc[0] > rows["train_seconds"].iloc[-1] > 0  # of three epochs, and of one
    assert rows["train_seconds"].sum() + rows["eval_seconds"].sum() <= rows["wall_seconds"].iloc[-1]


def test_a_controller_sees_the_rows_there_are() -> None:
    looks = Looks(ends_at=6)
    state = _train(EVERY, looks)
    assert looks.seen == [[3], [3, 6]] and state.stopped and state.epochs == 6


def test_a_loss_that_is_not_finite_has_its_row_at_once() -> None:
    state = _train(EVERY, Diverges())
    assert [row["epoch"] for row in state.rows] == [1] and state.stopped


@pytest.fixture
def evaluated_seldom(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], SmallResults]:
    """Results whose trainings are evaluated every third epoch."""
    evaluator = copy.copy(EVALUATOR)
    evaluator.every = EVERY
    monkeypatch.setattr(small_bench, "EVALUATOR", evaluator)
    return SmallResults


@pytest.mark.parametrize("killed_at", [(0, 1), (0, 5), (1, 6)], ids=str)
def test_a_kill_loses_one_epoch_at_most(
    killed_at: tuple[int, int], evaluated_seldom: Callable[[Path], SmallResults], tmp_path: Path
) -> None:
    spec = spec_of(training=SETTINGS_OF_7, evaluation=replace(EVALUATION, every=EVERY))
    whole, killed = evaluated_seldom(tmp_path / "whole"), evaluated_seldom(tmp_path / "killed")
    whole.search(Two(), spec)
    with pytest.raises(Killed):
        killed.search(Two(), spec, killed_at)
    killed.search(Two(), spec)
    assert_same(killed, whole)
    trials = killed.store.trials()
    assert trials["n_epochs"].tolist() == [EPOCHS] * 2 and (trials["images_seen"] == EPOCHS * 6 * 32).all()
    assert killed.epochs.count(killed_at) == 1  # reported where it was trained, and not again


def test_stacked_trainings_too(evaluated_seldom: Callable[[Path], SmallResults], tmp_path: Path) -> None:
    results, spec = evaluated_seldom(tmp_path), spec_of(training=SETTINGS_OF_7)
    trainings = [SharedTraining(spec, size, EPOCHS, tmp_path / "trainings" / str(size)) for size in (2, 4)]

    def report(n: int, epoch: int, epochs: int) -> None:
        if epoch == 4 and not killed:
            killed.append(epoch)
            raise Killed

    killed: list[int] = []
    pairs = [(results.bench(spec), one) for one in trainings]
    with pytest.raises(Killed):
        train_stacked(pairs, tmp_path / "stack.pt", report, results.notices.append)
    train_stacked(pairs, tmp_path / "stack.pt", report, results.notices.append)
    for training in trainings:
        rows = pd.DataFrame(TrialFolder(training.path).read_rows())
        assert rows["epoch"].tolist() == [3, 6, 7] and rows["wall_seconds"].is_monotonic_increasing
        alone = results.problem(spec).train(training.latent_dim).history
        assert rows["recon_nll"].tolist() == pytest.approx(alone["recon_nll"].tolist(), rel=1e-3)


def _protocol(every: int) -> Protocol:
    protocol = load_protocol("digits")
    return replace(protocol, evaluation=replace(protocol.evaluation, every=every))


def test_only_more_than_one_changes_the_search() -> None:
    (today,), (third,) = (plan(_protocol(every), "f", ["grid"], [0]) for every in (1, 3))
    assert today.protocol_hash == HASH_BEFORE and today.training_key(4, 9) == KEY_BEFORE
    assert third.protocol_hash != today.protocol_hash and third.training_key(4, 9) != today.training_key(4, 9)


@pytest.mark.parametrize("searcher", ["ald", "sparsity", "nested", "ard", "fondue", "irmae", "geco-l0arm"])
def test_searchers_that_need_every_epoch_are_refused(searcher: str) -> None:
    plan(_protocol(1), "f", [searcher], [0])
    with pytest.raises(
        InputError, match=f"evaluation.every is 3 and {searcher} reads every epoch's metrics; expected 1"
    ):
        plan(_protocol(3), "f", ["grid", searcher], [0])


def test_the_others_run() -> None:
    names = ["grid", "random", "tpe", "tolerance", "halving", "pca", "twonn"]
    assert len(plan(_protocol(3), "f", names, [0])) == len(names)
    pruning = replace(_protocol(3), searchers={"tpe": {"pruner": "median", "objective": "elbo"}})
    with pytest.raises(InputError, match="tpe reads"):
        plan(pruning, "f", ["tpe"], [0])
