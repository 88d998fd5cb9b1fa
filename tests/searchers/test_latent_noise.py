"""The noise experiment: its rules on made-up rows, and its events in a small real training."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.config.settings import from_mapping
from benchmark.metrics.latents import posterior_stats
from searchers.base import KEEP_ALL
from searchers.experiments.latent_noise import LatentNoise, LatentNoiseController, Phase
from searchers.parts.likelihoods import Bernoulli, bernoulli_nll
from searchers.parts.objectives import elbo_loss, kl_per_dim

# ---- a small real training

IMAGE_SHAPE = (1, 8, 8)
N_FACTORS, N_IMAGES, BATCH, LATENTS = 3, 1024, 64, 6
WARM_UP, HOLD, RECOVERY = 40, 25, 13
CHECKPOINTED = ("vae", "controller", "optimizer")
SETTINGS = LatentNoise(warm_up=WARM_UP, noise_step=0.4, hold=HOLD)


class SmallTraining:
    """Images of three factors, trained with the experiment's controller; one row an epoch, of the whole data."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        factors = torch.randn(N_IMAGES, N_FACTORS, generator=generator)
        mixing = torch.randn(N_FACTORS, math.prod(IMAGE_SHAPE), generator=generator)
        self.images = torch.sigmoid(2 * factors @ mixing).unflatten(1, IMAGE_SHAPE)
        self.seed = seed
        self.controller = LatentNoiseController(SETTINGS, LATENTS)
        self.vae = build_vae("mlp", {"hidden": [64]}, IMAGE_SHAPE, LATENTS, seed)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=3e-3)
        self.rows: list[dict[str, Any]] = []

    def _epoch(self) -> None:
        generator = torch.Generator().manual_seed(1000 * self.seed + len(self.rows))
        for positions in torch.randperm(N_IMAGES, generator=generator).split(BATCH):
            self.optimizer.zero_grad()
            self.controller.loss(self.vae, self.images[positions], generator).total.backward()
            self.optimizer.step()
        with torch.no_grad():
            stats = posterior_stats(*self.vae.encode(self.images))
        row = {
            "latent_mean_variance": stats.mean_variance,
            "latent_variance_mean": stats.variance_mean,
            "latent_kl": stats.kl,
        }
        assert self.controller.after_epoch(pd.DataFrame([*self.rows, row]), None) == KEEP_ALL
        self.rows.append({**row, **self.controller.traces()})

    def checkpoint(self) -> bytes:
        file = io.BytesIO()
        torch.save({name: getattr(self, name).state_dict() for name in CHECKPOINTED}, file)
        return file.getvalue()

    def restore(self, content: bytes) -> None:
        states = torch.load(io.BytesIO(content), weights_only=True)
        for name in CHECKPOINTED:
            getattr(self, name).load_state_dict(states[name])

    def run(self, epochs: int) -> pd.DataFrame:
        while len(self.rows) < epochs:
            self._epoch()
        return pd.DataFrame(self.rows)


@dataclass(frozen=True)
class Story:
    """The rows of a whole training, and its checkpoint after some of its epochs."""

    history: pd.DataFrame
    checkpoints: dict[int, bytes]


STOPS = (WARM_UP - 3, WARM_UP + 2)


@pytest.fixture(scope="module")
def story() -> Story:
    training, checkpoints = SmallTraining(), {}
    for stop in STOPS:
        training.run(stop)
        checkpoints[stop] = training.checkpoint()
    while training.controller.phase != Phase.REMOVED:
        training.run(len(training.rows) + 1)
        assert len(training.rows) < 100, "the gain never fell below the KL"
    return Story(training.run(len(training.rows) + RECOVERY), checkpoints)


@pytest.fixture
def history(story: Story) -> pd.DataFrame:
    return story.history


def _phase(history: pd.DataFrame, phase: Phase) -> pd.DataFrame:
    return history[history["phase"] == phase]


def test_the_noise_rises_until_the_gain_is_below_the_kl(history: pd.DataFrame) -> None:
    raising = _phase(history, Phase.RAISING)
    np.testing.assert_allclose(raising["noise_sd"], 0.4 * np.arange(1, len(raising) + 1), rtol=1e-6)
    above = raising["recon_gain"] >= raising["noisy_kl"]
    assert len(raising) > 4 and above.iloc[:-1].all() and not above.iloc[-1]
    # "the network reacts by enlarging the mean values"
    assert raising["noisy_variance"].max() > 2 * raising["noisy_variance"].iloc[0]
    held = _phase(history, Phase.HOLDING)
    assert len(held) == HOLD and (held["noise_sd"] == raising["noise_sd"].iloc[-1]).all()


def test_then_the_latent_collapses_and_comes_back_without_noise(history: pd.DataFrame) -> None:
    before, held = _phase(history, Phase.RAISING).iloc[0], _phase(history, Phase.HOLDING).iloc[-1]
    assert before["noisy_variance"] > 0.5 and before["recon_gain"] > 3 and before["noisy_kl"] > 1
    assert held["noisy_variance"] < 0.15 and abs(held["recon_gain"]) < 0.3 and held["noisy_kl"] < 0.1
    assert before["noisy_variance_mean"] < 0.3 and held["noisy_variance_mean"] > 0.85
    after = _phase(history, Phase.REMOVED)
    assert (after["noise_sd"] == 0).all() and after["noisy_latent"].nunique() == 1
    assert after["noisy_variance"].iloc[-1] > 0.5 and after["recon_gain"].iloc[-1] > 2


def test_only_one_latent_is_noisy_and_the_inactive_stay_so(history: pd.DataFrame) -> None:
    chosen = history.iloc[WARM_UP - 1]
    active = np.flatnonzero(chosen["latent_mean_variance"] > 0.01)
    assert len(active) == N_FACTORS
    noisy = int(history["noisy_latent"].iloc[-1])
    assert noisy == sorted(active, key=lambda j: chosen["latent_kl"][j])[1]  # the median of three
    others = [j for j in active if j != noisy]
    last = _phase(history, Phase.HOLDING).iloc[-1]
    assert (last["latent_mean_variance"][others] > 0.5).all()
    idle = [j for j in range(LATENTS) if j not in active]
    assert all((row[idle] < 0.05).all() for row in history["latent_mean_variance"].iloc[WARM_UP:])


@pytest.mark.parametrize("stop", STOPS)
def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(story: Story, stop: int) -> None:
    resumed = SmallTraining()
    resumed.restore(story.checkpoints[stop])
    resumed.rows = story.history.iloc[:stop].to_dict("records")
    rows = resumed.run(WARM_UP + 4)
    pd.testing.assert_frame_equal(rows.iloc[stop:], story.history.iloc[stop : WARM_UP + 4], check_exact=True)


# ---- the rules


class LinearVAE:
    """Encodes to fixed numbers without variance to speak of; decodes z by a matrix, and notes what it was given."""

    latent_dim = 3
    likelihood = Bernoulli()

    def __init__(self) -> None:
        self.mean = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0]])
        self.matrix = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, 1.0]])
        self.given: list[Tensor] = []

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean, torch.full((2, 3), -60.0)

    def decode(self, z: Tensor) -> Tensor:
        self.given.append(z)
        return (z @ self.matrix).reshape(2, 1, 1, 2)


def _controller(**settings: Any) -> LatentNoiseController:
    return LatentNoiseController(LatentNoise(**{"warm_up": 1, "noise_step": 0.5, "hold": 2, **settings}), latent_dim=3)


def _row(mean_variance: list[float], kl: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "latent_mean_variance": np.array(mean_variance),
                "latent_variance_mean": 1 - np.array(mean_variance),
                "latent_kl": np.array(kl),
            }
        ]
    )


ROW = _row([0.9, 0.8, 1e-4], [2.0, 1.0, 1e-3])
X = torch.tensor([[[[1.0, 0.0]]], [[[0.2, 0.6]]]])


def test_the_warm_up_is_the_elbo() -> None:
    controller, vae = _controller(), build_vae("mlp", {"hidden": [5]}, (1, 1, 2), 3, seed=0)
    one, two = (torch.Generator().manual_seed(1) for _ in range(2))
    assert controller.loss(vae, X, one).total == elbo_loss(vae, X, two).total
    controller.after_epoch(ROW, None)
    assert controller.traces() == {"phase": Phase.WARM_UP, "noise_sd": 0}


def test_gain_kl_and_noise_by_hand() -> None:
    controller, vae = _controller(), LinearVAE()
    controller.after_epoch(ROW, None)
    assert controller.open_latents().tolist() == [True, True, False]
    assert int(controller.noisy) == 1 and float(controller.noise_sd) == 0.5  # of two the lower KL
    loss = controller.loss(vae, X, Generator().manual_seed(3)).total
    with_it, zeroed = vae.given
    torch.testing.assert_close(with_it[:, 0], vae.mean[:, 0])
    assert (with_it[:, 2] == 0).all()  # held inactive
    generator = Generator().manual_seed(3)
    torch.empty(2, 3).normal_(generator=generator)  # the sampling of z, here without variance
    noise = torch.empty(2).normal_(generator=generator)
    torch.testing.assert_close(with_it[:, 1] - vae.mean[:, 1], 0.5 * noise)
    torch.testing.assert_close(zeroed, torch.stack([vae.mean[:, 0], torch.zeros(2), torch.zeros(2)], 1))
    kl = kl_per_dim(*vae.encode(X))
    error, without = (bernoulli_nll((z @ vae.matrix).reshape(2, 1, 1, 2), X) for z in (with_it, zeroed))
    torch.testing.assert_close(loss, error + kl.sum() / 2)
    controller.after_epoch(ROW, None)
    traces = controller.traces()
    assert traces["recon_gain"] == pytest.approx(float(without - error), rel=1e-5)
    assert traces["noisy_kl"] == pytest.approx(float(kl[:, 1].mean()))
    assert (traces["noisy_latent"], traces["noisy_variance"], traces["noise_sd"]) == (1, 0.8, 0.5)


def test_the_phases_follow_gain_and_kl() -> None:
    controller = _controller()
    seen = []
    for gain, kl in ((0, 0), (3, 1), (2, 1), (0.9, 1), (5, 1), (5, 1), (5, 1), (0, 1)):
        controller.gain_sum.fill_(2 * gain)
        controller.kl_sum.fill_(2 * kl)
        controller.steps.fill_(2)
        controller.after_epoch(ROW, None)
        traces = controller.traces()
        seen.append((int(traces["phase"]), traces["noise_sd"]))
    assert seen == [(0, 0), (1, 0.5), (1, 1.0), (1, 1.5), (2, 1.5), (2, 1.5), (3, 0), (3, 0)]
    assert traces["recon_gain"] == 0 and traces["noisy_kl"] == 1  # sums start anew each epoch


@pytest.mark.parametrize("kl, chosen", [([3.0, 1.0, 2.0], 2), ([2.0, 2.0, 2.0], 1), ([1.0, 2.0, 3.0], 1)])
def test_the_noisy_latent_is_the_median_one(kl: list[float], chosen: int) -> None:
    controller = _controller()
    controller.after_epoch(_row([0.9, 0.9, 0.9], kl), None)
    assert int(controller.noisy) == chosen


def test_nothing_to_make_noisy() -> None:
    with pytest.raises(ArithmeticError, match="no latent is active after the warm-up.*raise warm_up"):
        _controller().after_epoch(_row([0.0, 1e-3, 0.01], [0.0, 0.0, 0.0]), None)


@pytest.mark.parametrize("settings", [{"warm_up": 0}, {"hold": 0}, {"noise_step": 0.0}, {"noise_step": math.inf}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(settings))} is .*; expected"):
        from_mapping(LatentNoise, settings, "noise")
