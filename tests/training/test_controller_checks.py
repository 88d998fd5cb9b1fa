"""Controllers with state for each latent that also remove latents: a clear error, and none where all is well."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_bench import DATASET, EVALUATOR
from torch import Generator, Tensor, nn

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Training
from benchmark.store.folders import TrialFolder
from benchmark.training import checkpoint
from benchmark.training.clock import Clock
from benchmark.training.loop import train
from benchmark.training.state import TrainingState
from searchers.base import KEEP_ALL, Controller, Decision, FixedSize, Model
from searchers.parts.objectives import VAE, Loss, elbo_loss, kl_per_dim
from tests.training.test_training import BATCH, SEED, TRIAL, N, Scripted, _train

SHRINK = {1: Decision(keep=(0, 2, 3))}
INSTEAD = "; state for each latent has to follow in latents_kept(): see searchers.base.resize"


class Weighted(Scripted):
    """A weight for each latent's KL."""

    def __init__(self, decisions: dict[int, Decision]) -> None:
        super().__init__(decisions)
        self.weights = nn.Parameter(torch.ones(N))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        weighted = (kl_per_dim(*vae.encode(x)) * self.weights).sum() / len(x)
        return Loss(elbo_loss(vae, x, generator).total + weighted)


class Averaged(Scripted):
    """A moving average of each latent's KL, that `after_epoch` keeps."""

    def __init__(self, decisions: dict[int, Decision]) -> None:
        super().__init__(decisions)
        self.register_buffer("average", torch.zeros(N))

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self.average.add_(torch.from_numpy(np.asarray(history["latent_kl"].iloc[-1])))
        return super().after_epoch(history, model)


class ById(Averaged):
    """The same, at the ids that latents had at the start: it fits whatever goes."""

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        last = history.iloc[-1]
        self.average[torch.from_numpy(last["latent_id"])] += torch.from_numpy(last["latent_kl"]).float()
        return Scripted.after_epoch(self, history, model)


class Resized(Weighted):
    """Removes its own entries too, not in `latents_kept`: its optimizer and a resumed training would not know."""

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        decision = super().after_epoch(history, model)
        if decision.keep is not None:
            self.weights = nn.Parameter(self.weights.detach()[list(decision.keep)])
        return decision


def test_removing_latents_and_closing_them() -> None:
    with pytest.raises(TypeError) as caught:
        _train(Scripted(SHRINK, gate=(True,) * N))
    assert str(caught.value) == f"Scripted changes the latents (Decision) and has open_latents(){INSTEAD}"


@pytest.mark.parametrize(("controller", "name"), [(Weighted, "weights"), (Averaged, "average")])
def test_state_of_each_latent_that_no_longer_fits(controller: type[Scripted], name: str) -> None:
    with pytest.raises(TypeError) as caught:
        _train(controller(SHRINK))
    said = str(caught.value)
    assert re.match(rf"{controller.__name__} has {name} for {N} latents and removed some: .*must match", said)
    assert said.endswith(INSTEAD) and caught.value.__cause__ is not None
    assert len(_train(controller({})).rows) == 3  # without a removal all is well


def test_state_that_fits_is_left_alone() -> None:
    state = _train(ById(SHRINK))
    assert state.vae.latent_dim == 3 and len(state.rows) == 3
    average = state.controller.state_dict()["average"]
    assert (average > 0).all() and average[0] > average[1]  # three epochs against one


def test_state_that_is_resized() -> None:
    with pytest.raises(TypeError) as caught:
        _train(Resized(SHRINK))
    got = "weights of Resized changed shape in training; expected the shape that it had"
    assert str(caught.value) == got + INSTEAD


def test_an_error_that_no_removal_explains_stays_what_it_is() -> None:
    class Broken(Weighted):
        def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        _train(Broken(SHRINK))


def test_it_is_said_after_a_resume_too(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    saved: list[int] = []

    def save(state: TrainingState) -> None:
        checkpoint.save(state, folder)
        saved.append(state.vae.latent_dim)

    with pytest.raises(TypeError, match="Weighted has weights"):
        _train(Weighted(SHRINK), after_epoch=save)
    assert saved == [3]
    vae = build_vae("mlp", {"hidden": [12]}, (1, 4, 4), N, 1)
    state = checkpoint.restore(folder, vae, Weighted(SHRINK), 1e-2)
    assert state.vae.latent_dim == 3 and len(state.rows[0]["latent_id"]) == N
    with pytest.raises(TypeError, match="Weighted has weights for 6 latents"):
        _train_on(state)


def _train_on(state: TrainingState) -> None:
    settings = Training(epochs=3, batch_size=BATCH)
    train(state, settings, DATASET.train, EVALUATOR, (SEED, TRIAL), Clock(EVALUATOR.device), lambda _: None)


def test_open_latents_of_another_number() -> None:
    with pytest.raises(ValueError) as caught:
        _train(Scripted({}, gate=(True,) * (N - 1)))
    assert str(caught.value) == "open_latents() of Scripted has shape [5]; expected [6], a value for each latent"


class Traced(FixedSize):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def traces(self) -> dict[str, float]:
        return {"mine": self.value}  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [3, True, np.int64(3), torch.tensor(3), torch.tensor([3]), 3.5])
def test_a_trace_is_logged_as_a_float(value: object) -> None:
    rows = _train(Traced(value), epochs=1).rows
    assert type(rows[0]["ctl_mine"]) is float and rows[0]["ctl_mine"] == float(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["warm-up", None, [1.0], np.ones(2), torch.ones(2)])
def test_a_trace_that_is_no_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"^traces\(\) of Traced is .*; expected a number for each name$"):
        _train(Traced(value), epochs=1)


def test_controllers_of_the_house_pass() -> None:
    class Plain(Controller):
        def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
            return SHRINK.get(len(history), KEEP_ALL)

    assert _train(Plain()).vae.latent_dim == 3
