"""What the methods find where the answer is known: linear data, matrices, sequences of losses."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor, nn

from searchers.base import Controller, Decision, Posterior
from searchers.from_autoencoder.autoencoder import NO_NOISE, map_codes
from searchers.from_autoencoder.irmae import IRMAE, IRMAEController
from searchers.from_autoencoder.least_volume import LeastVolume, LeastVolumeController, stretch
from searchers.from_autoencoder.rrae import RRAE, RRAEController, projector
from searchers.parts.likelihoods import Bernoulli
from searchers.testing.model import N_FACTORS, ToyVAE, toy_images
from searchers.testing.problem import ToyProblem

N, RANK = 6, 2
X = toy_images(0)[:64]


class Linear(nn.Module):
    """A linear autoencoder of the logits of images [B, 1, 4, 4]."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.mean_head, self.logvar_head, self.decoder_in = nn.Linear(16, N), nn.Linear(16, N), nn.Linear(N, 16)
        self.decoder, self.likelihood = nn.Unflatten(1, (1, 4, 4)), Bernoulli()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.logit(x).flatten(1)
        return self.mean_head(logits), self.logvar_head(logits)

    def decode(self, z: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.decoder_in(z))
        return logits


class Seen:
    """Shows a controller the codes as the bench does: those of a copy with what the controller folds in."""

    def __init__(self, controller: Controller, vae: Any, x: Tensor) -> None:
        self.controller, self.vae, self.x = controller, vae, x

    @torch.no_grad()
    def posterior(self) -> Posterior:
        folded = copy.deepcopy(self.vae)
        self.controller.fold(folded)
        return Posterior(*folded.encode(self.x))


def linear_images(scales: list[float]) -> Tensor:
    """Images whose logits have the rank of these scales, [256, 1, 4, 4]."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(16, len(scales), generator=generator)).Q
    factors = torch.randn(256, len(scales), generator=generator) * torch.tensor(scales)
    return torch.sigmoid(factors @ axes.T).unflatten(1, (1, 4, 4))


def loss_of(controller: Any, vae: Any) -> float:
    return float(controller.loss(vae, X, Generator()).total.detach())


def fit(controller: Any, vae: Any, x: Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam([*vae.parameters(), *controller.parameters()], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(controller.loss(vae, x, generator).total)
        optimizer.step()
        with torch.no_grad():
            controller.after_step(vae)


def read(controller: Any, vae: Any, x: Tensor) -> dict[str, float]:
    controller.after_epoch(pd.DataFrame(), Seen(controller, vae, x))
    return dict(controller.traces())


# ---- IRMAE


def test_irmae_finds_the_rank_of_logits_that_are_linear() -> None:
    """The toy's images have logits of rank 3, but a hidden layer makes more of them."""
    x, vae = toy_images(0), ToyVAE(N, seed=1)
    controller = IRMAEController(IRMAE(layers=4, weight_decay=1e-4), N, seed=0)
    before = read(controller, vae, x)
    fit(controller, vae, x, steps=1_000)
    after = read(controller, vae, x)
    assert before["size"] != N_FACTORS == after["size"]
    assert after["fall"] > 1e5 > before["fall"]


def test_irmae_folds_its_layers_into_the_mean_head() -> None:
    controller, vae = IRMAEController(IRMAE(layers=3), N, seed=0), ToyVAE(N, seed=1)
    product = controller.maps[0] @ controller.maps[1] @ controller.maps[2]
    logits = vae.decode(vae.encode(X)[0] @ product)
    error = float(Bernoulli().squared_error(logits, X).mean().detach())
    assert loss_of(controller, vae) == pytest.approx(error)
    decayed = IRMAEController(IRMAE(layers=3, weight_decay=0.5), N, seed=0)
    more = 0.25 * float(controller.maps.detach().square().sum())
    assert loss_of(decayed, vae) == pytest.approx(error + more)
    mean, logvar = Seen(controller, vae, X).posterior()
    assert torch.allclose(vae.decode(mean), logits, atol=1e-5)
    assert bool((logvar == NO_NOISE).all())


# ---- least volume


def test_least_volume_orders_linear_data_as_pca_does() -> None:
    scales = [2.0, 1.0, 0.5]
    x, vae = linear_images(scales), Linear()
    controller = LeastVolumeController(LeastVolume(weight=1e-3))
    fit(controller, vae, x, steps=3_000)
    codes = Seen(controller, vae, x).posterior().mean
    order = codes.std(0).argsort(descending=True)[: len(scales)]
    logits = torch.logit(x).flatten(1)
    logits = logits - logits.mean(0)
    scores = logits @ torch.linalg.svd(logits, full_matrices=False).Vh[: len(scales)].T  # on the principal axes
    for place, latent in enumerate(order.tolist()):
        correlations = np.corrcoef(codes[:, latent], scores.T)[0, 1:]
        assert int(np.abs(correlations).argmax()) == place and np.abs(correlations).max() > 0.9
    assert read(controller, vae, x)["size"] == len(scales)


LAYERS = [
    nn.Linear(40, 128),
    nn.Linear(128, 40),
    nn.Conv2d(3, 5, 3, padding=1),
    nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_the_stretch_is_never_below_the_largest_singular_value(layer: Any) -> None:
    for power in (1.0, 6.0):  # with a power the spectrum is steeper
        layer.weight.data = layer.weight.data.normal_(generator=Generator().manual_seed(0)).pow(power).abs()
        layer.bias.data.zero_()
        shape = (layer.in_features,) if isinstance(layer, nn.Linear) else (3, 6, 6)
        matrix = torch.func.jacrev(layer)(torch.zeros(shape)).detach().reshape(-1, int(np.prod(shape)))
        largest = float(torch.linalg.matrix_norm(matrix, 2))
        slack = 1.1 if isinstance(layer, nn.Linear) else 3.0  # the root of nine patches
        assert largest * (1 - 1e-5) <= float(stretch(layer)) <= slack * largest


@torch.no_grad()
def test_least_volume_keeps_the_decoder_from_stretching() -> None:
    vae, controller = ToyVAE(N, seed=1), LeastVolumeController(LeastVolume())
    vae.decoder_in.weight.data *= 5
    with torch.no_grad():
        controller.after_step(vae)
    a, b = torch.randn(2, 50, N, generator=Generator().manual_seed(0))
    distances = (vae.decode(a) - vae.decode(b)).flatten(1).norm(dim=1)
    assert bool((distances <= (a - b).norm(dim=1)).all())
    small = vae.decoder_in.weight.data.mul_(0.1).clone()
    controller.after_step(vae)
    assert torch.equal(vae.decoder_in.weight, small)  # a layer that does not stretch stays


@torch.no_grad()
def test_least_volume_says_which_networks_it_takes() -> None:
    vae, controller = ToyVAE(N, seed=1), LeastVolumeController(LeastVolume())
    vae.decoder = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="got a decoder with BatchNorm2d; expected linear layers and convolutions"):
        controller.after_step(vae)


# ---- RRAE


def test_rrae_cuts_codes_to_their_best_approximation() -> None:
    codes = torch.randn(40, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, v = torch.linalg.svd(codes, full_matrices=False)
    for rank in range(1, N + 1):
        expected = (u[:, :rank] * s[:rank]) @ v[:rank]
        assert torch.allclose(codes @ projector(codes.T @ codes, torch.tensor(rank)), expected)


def rrae(patience: int = 2) -> RRAEController:
    return RRAEController(RRAE(stagnation=0.05), N, patience)


def decide(controller: RRAEController, losses: list[float]) -> list[tuple[float, float, Decision]]:
    """Rank, size and decision after each epoch."""
    told = []
    for epoch in range(1, len(losses) + 1):
        decision = controller.after_epoch(pd.DataFrame({"train_loss": losses[:epoch]}), None)  # type: ignore[arg-type]
        told.append((float(controller.rank), float(controller.size), decision))
    return told


def test_rrae_lowers_the_rank_until_the_loss_stays_above() -> None:
    told = decide(rrae(), [9.0, 5.0, 4.0, 3.9, 3.9, 4.5, 3.9, 5.0, 4.9, 4.9])
    ranks, sizes = [rank for rank, _, _ in told], [size for _, size, _ in told]
    # noted 3.9 after epoch 5, since epoch 3's is within 5 %: the full rank has reached it; so has 5 after epoch 7
    assert ranks == [6, 6, 6, 6, 5, 5, 4, 4, 4, 5] and sizes == [6, 6, 6, 6, 6, 6, 5, 5, 5, 5]
    assert [decision.stop for _, _, decision in told] == [False] * 9 + [True]


def test_rrae_goes_on_while_the_loss_falls() -> None:
    assert {rank for rank, _, _ in decide(rrae(), [2.0**-epoch for epoch in range(20)])} == {N}
    slowly = [4.0, 4.0, 4.0, *(8.0 * 0.9**step for step in range(6))]  # above the noted 4 until the last ones
    assert [rank for rank, _, _ in decide(rrae(), slowly)] == [6, 6, 5, 5, 5, 5, 5, 5, 5]
    assert not any(decision.stop for _, _, decision in decide(rrae(), slowly))


def test_rrae_shows_the_codes_that_it_decodes() -> None:
    vae, controller = ToyVAE(N, seed=1), rrae()
    controller.rank.fill_(RANK)
    for _ in range(1_500):  # the average of the Gram matrix forgets its start
        controller.loss(vae, X, Generator())
    mean, _ = Seen(controller, vae, X).posterior()
    assert np.linalg.matrix_rank((mean).numpy(), tol=1e-3) == RANK
    z = vae.encode(X)[0]
    logits = vae.decode(z @ projector(z.T @ z, controller.rank))
    assert torch.allclose(vae.decode(mean), logits, atol=1e-4)
    assert loss_of(controller, vae) == pytest.approx(float(Bernoulli().squared_error(logits, X).mean().detach()))


# ---- all


def test_codes_are_mapped() -> None:
    vae, matrix = ToyVAE(N, seed=1), torch.randn(N, N, generator=Generator().manual_seed(0))
    expected = vae.encode(X)[0] @ matrix
    with torch.no_grad():
        map_codes(vae, matrix)
        assert torch.allclose(vae.encode(X)[0], expected, atol=1e-5)


@pytest.mark.parametrize("searcher", [IRMAE(), LeastVolume(), RRAE()])
def test_a_plain_vae_of_the_size_is_handed_over(searcher: Any) -> None:
    toy = ToyProblem()
    choice = searcher.search(toy)
    assert [asked.controller is None for asked in toy.asked] == [False, True]
    history = toy.trials[0].history
    sizes, is_found = history["ctl_size"].tolist(), bool(history["ctl_found"].iloc[-1])
    assert choice.trial.number == 1 and toy.asked[1].latent_dim == sizes[-1]
    assert choice.settled is (is_found and len(set(sizes[-5:])) == 1)


@pytest.mark.parametrize(("found", "epochs", "expected"), [(1, 6, True), (0, 6, False), (1, 4, False)])
def test_a_size_is_settled_where_it_was_found_and_stayed(
    found: float, epochs: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IRMAEController, "traces", lambda self: {"size": 4.0, "found": found})
    assert IRMAE().search(ToyProblem(epochs=epochs)).settled is expected


def test_a_spectrum_without_a_gap_is_no_answer() -> None:
    for codes, is_gap in ((torch.randn(500, N), False), (torch.randn(500, N) * (torch.arange(N) < 2), True)):
        controller = IRMAE().controller(N, ToyProblem())
        controller.after_epoch(pd.DataFrame(), Fixed(codes))
        assert controller.traces()["found"] == is_gap


class Fixed:
    """A model of these codes."""

    def __init__(self, codes: Tensor) -> None:
        self.codes = codes

    def posterior(self) -> Posterior:
        return Posterior(self.codes, torch.zeros_like(self.codes))


def test_rrae_answers_once_it_has_stopped() -> None:
    controller = RRAEController(RRAE(), N, patience=1)
    found = []
    for losses in ([9.0], [9.0, 9.0], [9.0, 9.0, 8.0], [9.0, 9.0, 8.0, 9.5], [9.0, 9.0, 8.0, 9.5, 9.5]):
        decision = controller.after_epoch(pd.DataFrame({"train_loss": losses}), None)
        found.append((controller.traces()["found"], decision.stop))
    assert found[-1] == (1.0, True) and all(one == (0.0, False) for one in found[:-1])


def test_rrae_trains_in_bfloat16_and_tells_a_divergence_by_its_loss() -> None:
    controller, generator = RRAE().controller(N, ToyProblem()), Generator().manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = controller.loss(ToyVAE(N, seed=1), X, generator).total
    assert loss.isfinite() and controller.gram.dtype == torch.float32
    assert controller.loss(ToyVAE(N, seed=1), X * math.nan, generator).total.isnan()


class Diverging(ToyProblem):
    def logged(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "train_loss": math.inf}


def test_an_autoencoder_that_diverged_is_handed_over() -> None:
    toy = Diverging()
    assert IRMAE().search(toy).trial.number == 0 and len(toy.trials) == 1
