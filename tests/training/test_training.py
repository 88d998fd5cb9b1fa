"""The training loop on a data set of a few hundred random images: what it logs, and that it is a plain loop."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from small_bench import DATASET, EVALUATOR
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Training
from benchmark.store.rows import EPOCH_COLUMNS, LATENT_ARRAYS
from benchmark.training.clock import Clock
from benchmark.training.loop import train
from benchmark.training.rng import Purpose, stream, stream_seed
from benchmark.training.state import TrainingState, new_state
from searchers.base import KEEP_ALL, Controller, Decision, FixedSize, Model
from searchers.parts.objectives import VAE, Loss, elbo_loss

CPU = torch.device("cpu")
PIXELS, HIDDEN, N, BATCH = 16, 12, 6, 32
N_TRAIN, STEPS = 198, 6  # 198 of 220 images train: 6 whole batches
LEARNING_RATE = 1e-2
SEED, TRIAL = 4, 2


class Scripted(Controller):
    """Does what it is told after each epoch; `gate`: the latents that are open."""

    def __init__(self, decisions: dict[int, Decision], gate: tuple[bool, ...] | None = None) -> None:
        super().__init__()
        self.decisions, self.gate = decisions, gate
        self.seen: list[pd.DataFrame] = []
        self.modes: set[bool] = set()

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        self.modes.add(vae.training)
        return elbo_loss(vae, x, generator)

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self.seen.append(history)
        return self.decisions.get(len(history), KEEP_ALL)

    def open_latents(self) -> Tensor | None:
        return None if self.gate is None else torch.tensor(self.gate)

    def traces(self) -> dict[str, float]:
        return {"epochs_seen": float(len(self.seen))}


class NotANumber(FixedSize):
    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        return Loss(elbo_loss(vae, x, generator).total * math.nan)


def _train(
    controller: Controller, epochs: int = 3, after_epoch: Callable[[TrainingState], None] = lambda state: None
) -> TrainingState:
    vae = build_vae("mlp", {"hidden": [HIDDEN]}, (1, 4, 4), N, 1)
    state = new_state(vae, controller, LEARNING_RATE)
    state.number = TRIAL
    settings = Training(epochs=epochs, batch_size=BATCH, learning_rate=LEARNING_RATE)
    train(state, settings, DATASET.train, EVALUATOR, (SEED, TRIAL), Clock(CPU), after_epoch)
    return state


def _step_flops(n: int) -> int:
    """A step's FLOPs: 2 m k n for each product. Backward takes two for each layer; the images need no gradient."""
    layers = [(PIXELS, HIDDEN), (HIDDEN, n), (HIDDEN, n), (n, HIDDEN), (HIDDEN, PIXELS)]
    products = 3 * sum(a * b for a, b in layers) - PIXELS * HIDDEN
    return 2 * BATCH * products


def test_rows() -> None:
    controller = Scripted({})
    state = _train(controller)
    frame = pd.DataFrame(state.rows)
    assert set(frame) == {*EPOCH_COLUMNS, *LATENT_ARRAYS, "ctl_epochs_seen"}
    assert frame["epoch"].tolist() == [1, 2, 3] == frame["ctl_epochs_seen"].tolist()
    assert set(frame["trial"]) == {TRIAL} and set(frame["fid_features"]) == {"stub"}
    assert set(frame["latent_dim"]) == {N}
    assert frame["images_seen"].tolist() == [BATCH * STEPS * epoch for epoch in (1, 2, 3)]
    assert len(DATASET.train) == N_TRAIN > BATCH * STEPS  # a part of a batch is left out
    assert np.isfinite(frame[[c for c in EPOCH_COLUMNS if c != "fid_features"]].to_numpy(float)).all()
    assert (frame[["train_seconds", "eval_seconds"]] > 0).all(axis=None)
    spent = (frame["train_seconds"] + frame["eval_seconds"]).cumsum()
    assert (frame["wall_seconds"] >= spent).all() and frame["wall_seconds"].is_monotonic_increasing
    for name in LATENT_ARRAYS:
        assert [len(values) for values in frame[name]] == [N] * 3
    assert [len(history) for history in controller.seen] == [1, 2, 3]
    assert {*EPOCH_COLUMNS, *LATENT_ARRAYS} <= set(controller.seen[0])
    assert controller.seen[2]["ctl_epochs_seen"].iloc[0] == 1 and state.images_seen == 3 * BATCH * STEPS


def test_modes() -> None:
    """BatchNorm layers train in every epoch's steps and are at rest when the model is scored."""
    at_rest: list[bool] = []
    controller = Scripted({})
    _train(controller, after_epoch=lambda state: at_rest.append(not state.vae.training))
    assert controller.modes == {True} and at_rest == [True] * 3


def test_training_loss_falls() -> None:
    losses = [row["train_loss"] for row in _train(FixedSize(), epochs=6).rows]
    assert losses[-1] < losses[1] < losses[0] - 0.1


def test_flops_by_hand() -> None:
    state = _train(FixedSize())
    assert [row["train_flops"] for row in state.rows] == [_step_flops(N) * STEPS * epoch for epoch in (1, 2, 3)]


def test_flops_are_counted_anew_after_a_shrink() -> None:
    state = _train(Scripted({1: Decision(keep=(0, 3, 5))}))
    by_epoch = np.diff([0, *(row["train_flops"] for row in state.rows)])
    assert by_epoch.tolist() == [_step_flops(N) * STEPS, *[_step_flops(3) * STEPS] * 2]
    assert _step_flops(3) < _step_flops(N)


def test_shrink() -> None:
    state = _train(Scripted({1: Decision(keep=(0, 3, 5)), 2: Decision(keep=(1, 2))}), epochs=4)
    assert [row["latent_dim"] for row in state.rows] == [6, 3, 2, 2]
    assert [row["latent_id"].tolist() for row in state.rows] == [[0, 1, 2, 3, 4, 5], [0, 3, 5], [3, 5], [3, 5]]
    assert [len(row["latent_kl"]) for row in state.rows] == [6, 3, 2, 2]
    assert state.vae.latent_dim == 2 and state.latent_ids == [3, 5]


def test_stop() -> None:
    completed: list[int] = []
    controller = Scripted({2: Decision(keep=(0, 1), stop=True)})
    state = _train(controller, epochs=9, after_epoch=lambda state: completed.append(len(state.rows)))
    assert len(state.rows) == 2 == len(controller.seen) and state.stopped and completed == [1, 2]
    assert state.vae.latent_dim == 6  # nothing is removed that no epoch follows
    settings = Training(epochs=9, batch_size=BATCH)
    train(state, settings, DATASET.train, EVALUATOR, (SEED, TRIAL), Clock(CPU), lambda state: None)
    assert len(state.rows) == 2  # a stopped training that is resumed stays stopped


def test_the_finished_model_is_the_one_that_the_last_row_describes() -> None:
    state = _train(Scripted({3: Decision(keep=(0, 1, 2)), 4: Decision(keep=(0, 1))}), epochs=4)
    assert [row["latent_dim"] for row in state.rows] == [6, 6, 6, 3]
    assert state.vae.latent_dim == 3


def test_a_loss_that_is_not_a_number_ends_the_training_and_says_so() -> None:
    state = _train(NotANumber(), epochs=4)
    assert len(state.rows) == 1 and state.stopped
    (row,) = state.rows
    assert all(math.isnan(row[name]) for name in ("train_loss", "recon_nll", "fid_recon", "fid_gen", "silhouette"))


# --- closed gates


def _without_noise(vae: VAE) -> VAE:
    """The same model whose posterior has next to no variance: its scores then follow from the means alone."""
    still = copy.deepcopy(vae)
    still.logvar_head.weight.data.zero_()
    still.logvar_head.bias.data.fill_(-60.0)
    return still


def test_closed_latents_are_removed_at_the_end() -> None:
    gate = (True, False, True, True, False, False)
    gated: list[VAE] = []
    controller = Scripted({}, gate)
    state = _train(controller, after_epoch=lambda state: gated.append(copy.deepcopy(state.vae)))
    assert [row["latent_dim"] for row in state.rows] == [3, 3, 3] and gated[-1].latent_dim == N
    assert state.vae.latent_dim == 3 and state.latent_ids == [0, 2, 3]

    evaluator, mask = EVALUATOR, torch.tensor(gate)
    names = ("recon_nll", "recon_sse", "fid_recon", "kl", "active_units")

    def scores(vae: VAE, open_latents: Tensor | None) -> list[float]:
        metrics, _ = evaluator.evaluate(_without_noise(vae), open_latents, Generator().manual_seed(0))
        return [metrics[name] for name in names]

    assert scores(state.vae, None) == pytest.approx(scores(gated[-1], mask), rel=1e-4)
    assert scores(state.vae, None) != pytest.approx(scores(gated[-1], None), rel=1e-4)


def test_every_latent_closed() -> None:
    with pytest.raises(ArithmeticError, match="closed every latent; .* loosen its constraint"):
        _train(Scripted({}, (False,) * N))


def test_every_latent_closed_for_an_epoch() -> None:
    class Blink(Scripted):
        def open_latents(self) -> Tensor:
            return torch.full((N,), len(self.seen) != 1)

    rows = _train(Blink({})).rows
    assert [row["latent_dim"] for row in rows] == [N, 0, N]
    assert [math.isnan(row["silhouette"]) for row in rows] == [False, True, False]


# --- against a plain loop


def _plain_losses(epochs: int) -> list[float]:
    """The usual PyTorch loop on the same streams: mean loss of each epoch's steps."""
    vae = build_vae("mlp", {"hidden": [HIDDEN]}, (1, 4, 4), N, 1)
    optimizer = torch.optim.Adam(vae.parameters(), lr=LEARNING_RATE, fused=True)
    images = DATASET.train.images[DATASET.train.rows]
    losses = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(images), generator=stream(Purpose.ORDER, SEED, TRIAL, epoch))
        noise = stream(Purpose.NOISE, SEED, TRIAL, epoch)
        total = torch.zeros(())
        for step in range(len(images) // BATCH):
            x = images[order[step * BATCH : (step + 1) * BATCH]].float() / 255
            loss = elbo_loss(vae, x, noise).total
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        losses.append(float(total) / (len(images) // BATCH))
    return losses


@pytest.mark.parametrize("chunk_bytes", [None, 3 * BATCH * PIXELS, 1])
def test_equals_a_plain_loop(chunk_bytes: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, however many batches are gathered at once."""
    if chunk_bytes is not None:
        monkeypatch.setattr("benchmark.training.loop.CHUNK_BYTES", chunk_bytes)
    before = torch.random.get_rng_state()
    losses = [row["train_loss"] for row in _train(FixedSize(), epochs=2).rows]
    assert losses == _plain_losses(2) and losses[0] != losses[1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_batch_larger_than_the_data() -> None:
    vae = build_vae("mlp", {"hidden": [HIDDEN]}, (1, 4, 4), N, 1)
    state = new_state(vae, FixedSize(), LEARNING_RATE)
    settings = Training(epochs=2, batch_size=1000)
    train(state, settings, DATASET.train, EVALUATOR, (SEED, TRIAL), Clock(CPU), lambda state: None)
    assert [row["images_seen"] for row in state.rows] == [N_TRAIN, 2 * N_TRAIN]


def test_controller_parameters_are_trained_and_projected() -> None:
    class Scale(FixedSize):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))
            self.after_steps = 0

        def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
            return Loss(elbo_loss(vae, x, generator).total - 100 * self.scale)

        def after_step(self, vae: VAE) -> None:
            assert not torch.is_grad_enabled()
            self.after_steps += 1
            self.scale.clamp_(max=1.03)

    controller = Scale()
    _train(controller, epochs=1)
    assert controller.after_steps == STEPS and controller.scale.item() == pytest.approx(1.03)


def test_streams_differ() -> None:
    seeds = [
        stream_seed(purpose, seed, trial, epoch)
        for purpose in Purpose
        for seed in range(3)
        for trial in range(3)
        for epoch in range(3)
    ]
    assert len(set(seeds)) == len(seeds) == 7 * 27 and all(0 <= seed < 2**63 for seed in seeds)
    draws = [torch.rand(4, generator=stream(Purpose.NOISE, 1, 2, 3)) for _ in range(2)]
    assert torch.equal(*draws)
