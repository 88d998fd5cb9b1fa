"""GECO with L0-ARM gates: each term and each gradient of the loss, and the traps of its algorithm."""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmark.backbones.build import build_vae
from benchmark.backbones.vae import VAE
from searchers.base import Assessment, Trial
from searchers.in_training.geco_l0arm import GATE_SHARPNESS, GATE_START, LAMBDA_BOUNDS, GecoController, GecoL0Arm
from searchers.parts.gates import antithetic_gates
from searchers.parts.likelihoods import Bernoulli
from searchers.parts.objectives import kl_per_dim, reparameterise
from searchers.testing import ToyProblem
from searchers.testing.problem import SSE

IMAGE_SHAPE = (1, 4, 4)
LOOSE, TIGHT = 1e6, 1e-6  # tau: always met, never met
GATES = (-0.1, 0.0, 0.05, 0.2)


def _vae(n: int = 4, seed: int = 0) -> VAE:
    return build_vae("mlp", {"hidden": [8]}, IMAGE_SHAPE, n, seed)


def _images(batch: int = 6, shape: tuple[int, ...] = IMAGE_SHAPE) -> Tensor:
    return torch.rand(batch, *shape, generator=Generator().manual_seed(1))


def _controller(tau: float, gates: tuple[float, ...] = GATES, hit: bool = True) -> GecoController:
    controller = GecoController(len(gates), tau)
    controller.gates.data = torch.tensor(gates)
    controller.hit.fill_(hit)
    return controller


def _multiplier(controller: GecoController) -> float:
    return float(F.softplus(controller.raw_lambda.detach()) ** 2)


def _steps(controller: GecoController, count: int, learning_rate: float = 0.01) -> list[float]:
    """Real steps of Adam on the controller alone; lambda' after each."""
    vae, generator = _vae(len(controller.gates)), Generator().manual_seed(2)
    optimizer = torch.optim.Adam(controller.parameters(), lr=learning_rate)
    multipliers = []
    for _ in range(count):
        optimizer.zero_grad()
        torch.autograd.backward(controller.loss(vae, _images(), generator).total)
        optimizer.step()
        with torch.no_grad():
            controller.after_step(None)
        multipliers.append(_multiplier(controller))
    return multipliers


def test_starting_values() -> None:
    controller = GecoController(5, 1.0)
    assert torch.sigmoid(GATE_SHARPNESS * controller.gates.detach()).tolist() == pytest.approx([0.95] * 5, abs=1e-3)
    assert float(controller.raw_lambda.detach()) == 1.0 and not controller.hit and GATE_START == 0.42
    assert {name for name, _ in controller.named_parameters()} == {"gates", "raw_lambda"}


# --- the loss's value, by hand


@pytest.mark.parametrize("tau, satisfied", [(LOOSE, True), (TIGHT, False)])
@pytest.mark.parametrize("hit", [True, False])
def test_loss_by_hand(tau: float, satisfied: bool, hit: bool) -> None:
    controller, vae, x = _controller(tau, hit=hit), _vae(), _images()
    old_average = 3.0
    controller.constraint_average.fill_(old_average)
    total = controller.loss(vae, x, Generator().manual_seed(7)).total

    generator = Generator().manual_seed(7)
    mean, logvar = vae.encode(x)
    z = mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=generator)
    p = torch.sigmoid(7 * torch.tensor(GATES))
    v2 = (torch.rand(4, generator=generator) < p).float() if hit else torch.ones(4)
    assert not hit or 0 < v2.sum() < 4
    error = ((torch.sigmoid(vae.decode(z * v2)) - x) ** 2).sum((1, 2, 3)).mean().detach()
    average = 0.99 * old_average + 0.01 * (float(error) - tau)
    kl = (0.5 * (mean**2 + logvar.exp() - logvar - 1) * v2).sum(1).mean().detach() / v2.sum()
    expected = math.log1p(math.e) ** 2 * average + float(kl) + (float(p.sum()) if satisfied else 0.0)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(controller.constraint_average) == pytest.approx(average, rel=1e-5)
    assert bool(controller.hit) is (hit or satisfied)


def test_first_average_is_the_first_constraint() -> None:
    controller = _controller(2.0)
    controller.loss(_vae(), _images(), Generator().manual_seed(7))
    assert float(controller.constraint_average) == pytest.approx(float(controller.error_average) - 2.0, rel=1e-5)


def test_hit_rate_counts_images() -> None:
    vae, x, controller = _vae(), _images(), GecoController(4, 0.0)
    mean, logvar = vae.encode(x)
    errors = Bernoulli().squared_error(vae.decode(reparameterise(mean, logvar, Generator().manual_seed(7))), x)
    controller.tau = float(errors.detach().sort().values[1:3].mean())  # two of the six images are below
    for _ in range(2):
        controller.loss(vae, x, Generator().manual_seed(7))
    controller.after_epoch(None, None)  # it reads no history
    assert controller.traces()["hit_rate"] == pytest.approx(2 / 6)
    controller.tau = LOOSE
    controller.loss(vae, x, Generator().manual_seed(7))
    controller.after_epoch(None, None)
    assert controller.traces()["hit_rate"] == 1.0  # of that epoch alone


# --- lambda


@pytest.mark.parametrize("average, ascends", [(1.0, True), (-1.0, False)])
@pytest.mark.parametrize("tau", [LOOSE, TIGHT])
def test_lambda_follows_the_constraint_average(average: float, ascends: bool, tau: float) -> None:
    """It is the smoothed constraint whose sign counts, not this batch's."""
    controller = _controller(tau, hit=False)
    controller.constraint_average.fill_(average * 1e9)
    multipliers = [math.log1p(math.e) ** 2, *_steps(controller, 5)]
    rising = [b > a for a, b in itertools.pairwise(multipliers)]
    assert rising == [ascends] * 5


@pytest.mark.parametrize("tau, bound", [(LOOSE, LAMBDA_BOUNDS[0]), (TIGHT, LAMBDA_BOUNDS[1])])
def test_lambda_stays_in_its_bounds_and_can_leave_one(tau: float, bound: float) -> None:
    controller = _controller(tau, hit=False)
    controller.raw_lambda.data.fill_(-5.0 if bound < 1 else 1.0)  # inside, not far from the bound
    multipliers = _steps(controller, 60, learning_rate=0.5)
    assert multipliers[-1] == pytest.approx(bound, rel=1e-4)
    assert min(multipliers) >= LAMBDA_BOUNDS[0] * (1 - 1e-4) and max(multipliers) <= LAMBDA_BOUNDS[1] * (1 + 1e-4)
    # A clamp inside the loss would have no gradient here and hold it for ever.
    controller.tau = LOOSE if tau == TIGHT else TIGHT
    controller.constraint_average.fill_(math.nan)
    inwards = _steps(controller, 5, learning_rate=0.1)
    assert all((b - a) * (1 if bound < 1 else -1) > 0 for a, b in itertools.pairwise([bound, *inwards]))


def test_projection_is_of_the_raw_parameter() -> None:
    for raw, bound in ((100.0, LAMBDA_BOUNDS[1]), (-100.0, LAMBDA_BOUNDS[0])):
        controller = _controller(TIGHT)
        controller.raw_lambda.data.fill_(raw)
        with torch.no_grad():
            controller.after_step(None)
        assert _multiplier(controller) == pytest.approx(bound, rel=1e-4)
        inside = controller.raw_lambda.detach().clone()
        with torch.no_grad():
            controller.after_step(None)
        assert torch.equal(inside, controller.raw_lambda.detach())


# --- gates


def test_gates_wait_for_the_first_hit() -> None:
    controller = _controller(TIGHT, hit=False)
    before = controller.gates.detach().clone()
    _steps(controller, 5)
    assert torch.equal(controller.gates.detach(), before) and not controller.hit
    controller.tau = LOOSE
    _steps(controller, 1)
    assert controller.hit and bool((controller.gates.detach() < before).all())  # the L0 term closes them
    controller.tau = TIGHT
    before = controller.gates.detach().clone()
    _steps(controller, 1)
    assert controller.hit and not torch.equal(controller.gates.detach(), before)


def test_ungated_baseline_leaves_the_gates_alone() -> None:
    controller = GecoController(4, LOOSE, gated=False)
    _steps(controller, 5)
    assert controller.gates.tolist() == pytest.approx([GATE_START] * 4) and not controller.hit
    assert controller.open_latents().all()


class _Stub(nn.Module):
    """A posterior without noise and a nonlinear decoder, in double precision: E depends on the gates alone."""

    def __init__(self, n: int) -> None:
        super().__init__()
        generator = Generator().manual_seed(5)
        self.latent_dim, self.likelihood = n, Bernoulli()
        self.weight = nn.Parameter(3 * torch.randn(n, 16, generator=generator, dtype=torch.float64))
        self.mean = torch.randn(2, n, generator=generator, dtype=torch.float64).abs() + 0.5  # [B, n]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean, torch.full_like(self.mean, -80.0)

    def decode(self, z: Tensor) -> Tensor:
        return (torch.tanh(z @ self.weight) + 0.1 * (z @ self.weight)).unflatten(1, IMAGE_SHAPE)


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("tau", [TIGHT, LOOSE])
def test_gates_gradient_is_exact_in_expectation(n: int, tau: float) -> None:
    vae, x = _Stub(n), _images(2).double()
    controller = _controller(tau, GATES[:n]).double()
    gates = controller.gates.detach().clone().requires_grad_()
    p = torch.sigmoid(7 * gates)
    expected_error = torch.zeros(())
    for bits in itertools.product((0.0, 1.0), repeat=n):
        v = torch.tensor(bits, dtype=torch.float64)
        error = Bernoulli().squared_error(vae.decode(vae.mean * v), x).mean().detach()
        expected_error = expected_error + torch.where(v == 1, p, 1 - p).prod() * error
    objective = math.log1p(math.e) ** 2 * expected_error + (p.sum() if tau == LOOSE else 0.0)
    (exact,) = torch.autograd.grad(objective, gates)  # lambda' k dE/dlogits, and k sigma' where the bound is met

    generator = Generator().manual_seed(n)
    draws = []
    for _ in range(3000):
        total = controller.loss(vae, x, generator).total
        draws.append(torch.autograd.grad(total, controller.gates)[0])
    stacked = torch.stack(draws)
    error = stacked.std(0) / math.sqrt(len(draws))
    assert bool((error < 0.1 * exact.abs().max()).all())
    assert bool(((stacked.mean(0) - exact).abs() < 4 * error).all())
    if tau == TIGHT:  # the check can fail: a lost factor or sign is far outside
        assert not bool(((stacked.mean(0) / 2 - exact).abs() < 4 * error).all())
    else:  # and so is a forgotten L0 term
        l0 = (7 * p * (1 - p)).detach()
        assert not bool(((stacked.mean(0) - l0 - exact).abs() < 4 * error).all())


def test_error_1_reaches_no_weights() -> None:
    """The model's gradient is that of lambda' E2 and the KL term alone."""
    vae, x, controller = _vae(), _images(), _controller(TIGHT)
    torch.autograd.backward(controller.loss(vae, x, Generator().manual_seed(7)).total)
    ours = [parameter.grad.clone() for parameter in vae.parameters()]
    vae.zero_grad()
    generator = Generator().manual_seed(7)
    mean, logvar = vae.encode(x)
    z = reparameterise(mean, logvar, generator)
    v2 = antithetic_gates(7 * torch.tensor(GATES), torch.rand(4, generator=generator))[1]
    error_2 = Bernoulli().squared_error(vae.decode(z * v2), x).mean()
    plain = math.log1p(math.e) ** 2 * error_2 + (kl_per_dim(mean, logvar) * v2).sum(1).mean() / v2.sum()
    torch.autograd.backward(plain)
    for gradient, parameter in zip(ours, vae.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_error_1_leaves_batchnorm_statistics() -> None:
    vae = build_vae("geco-conv", {}, (1, 28, 28), 4, 0)
    x = _images(4, (1, 28, 28))
    plain, twice = copy.deepcopy(vae), copy.deepcopy(vae)
    start = {name: value.clone() for name, value in vae.named_buffers()}
    _controller(TIGHT).loss(vae, x, Generator().manual_seed(7))
    for model in (plain, twice):
        generator = Generator().manual_seed(7)
        z = reparameterise(*model.encode(x), generator)
        v1, v2 = antithetic_gates(7 * torch.tensor(GATES), torch.rand(4, generator=generator))
        assert not torch.equal(v1, v2)
        model.decode(z * v2)
    twice.decode(z * v1)

    def statistics(model: nn.Module) -> dict[str, Tensor]:
        return {name: value for name, value in model.named_buffers() if "running" in name}

    ours, expected, wrong = statistics(vae), statistics(plain), statistics(twice)
    assert len(ours) == 2 * 6
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    assert not any(torch.equal(ours[name], start[name]) for name in ours)  # E2's pass moved them
    assert any(not torch.equal(ours[name], wrong[name]) for name in ours)
    assert all(norm.momentum == 0.2 for norm in vae.modules() if isinstance(norm, nn.BatchNorm2d))


@pytest.mark.parametrize("tau", [TIGHT, LOOSE])
def test_every_gate_drawn_closed(tau: float) -> None:
    controller, vae = _controller(tau, (-3.0,) * 4), _vae()
    total = controller.loss(vae, _images(), Generator().manual_seed(7)).total
    torch.autograd.backward(total)
    u = Generator().manual_seed(7)
    torch.randn(6, 4, generator=u)
    assert not antithetic_gates(7 * controller.gates.detach(), torch.rand(4, generator=u))[1].any()
    assert math.isfinite(float(total.detach()))
    parameters = [*vae.parameters(), *controller.parameters()]
    assert all(bool(parameter.grad.isfinite().all()) for parameter in parameters if parameter.grad is not None)


def test_open_latents() -> None:
    controller = _controller(1.0, (-0.42, -1e-3, 0.0, 1e-3, 0.42))
    assert controller.open_latents().tolist() == [False, False, False, True, True]
    assert torch.equal(controller.open_latents(), torch.sigmoid(GATE_SHARPNESS * controller.gates.detach()) > 0.5)
    assert controller.traces()["open_gates"] == 2.0


def test_state_survives_a_round_trip() -> None:
    first, second = _controller(1.5, hit=False), GecoController(4, 1.5)
    _steps(first, 20)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert first.hit and _steps(first, 5) == _steps(second, 5)
    assert torch.equal(first.gates, second.gates)
    assert first.constraint_average == second.constraint_average


@pytest.mark.parametrize(
    "baseline, gated_training", [("elbo", {"ctl_lambda"}), ("geco", {"ctl_lambda", "ctl_error_average"})]
)
def test_geco_without_tau_pays_for_a_baseline(baseline: str, gated_training: set[str]) -> None:
    toy = ToyProblem(epochs=8)
    searcher = GecoL0Arm(start_latent_dim=8, baseline_latent_dim=4, baseline=baseline, baseline_budget=0.75)
    choice = searcher.search(toy)
    assert [asked[:2] for asked in toy.asked] == [(4, 6), (8, 8)] and choice.trial.number == 1
    first, second = (trial.history for trial in toy.trials)
    assert gated_training <= set(second)
    expected = first["ctl_error_average"].iloc[-1] if baseline == "geco" else first["recon_sse"].tail(5).mean()
    assert second["ctl_tau"].unique() == pytest.approx([expected])
    assert baseline == "elbo" or (first["ctl_open_gates"] == 4).all() and first["ctl_tau"].unique() == [0]


@pytest.mark.parametrize(
    ("open_gates", "mass", "settled"),
    [
        ([8, 3, 3, 3, 3, 3], 3.1, True),
        ([8, 8, 3, 3, 3, 3], 3.1, False),  # a gate closed within the last five epochs
        ([8, 3, 3, 3, 3, 3], 2.4, False),  # one is about to
        ([8, 8, 8, 8, 8, 8], 8.0, False),  # none has closed
        ([3, 3, 3, 3], 3.0, False),
        ([8, 3, 3, 3, 3, 3], math.nan, False),
    ],
)
def test_geco_is_settled_where_gates_have_closed_and_none_is_on_its_way(
    open_gates: list[int], mass: float, settled: bool
) -> None:
    class Recorded(ToyProblem):
        def train(self, *asked: Any, **more: Any) -> Trial:
            history = pd.DataFrame({"ctl_open_gates": map(float, open_gates), "ctl_gate_mass": mass})
            return Trial(0, open_gates[-1], history, Assessment(open_gates[-1], {}, {}, np.zeros(1)))

    assert GecoL0Arm(start_latent_dim=8, tau=SSE).search(Recorded()).settled is settled
