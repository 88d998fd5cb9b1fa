"""ARM's alternatives against exact enumeration and closed forms: which are unbiased, how noisy and how far off."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.backbones.vae import VAE
from benchmark.config.settings import from_mapping
from benchmark.errors import InputError
from searchers.in_training.geco_l0arm import GATE_SHARPNESS, GecoController, GecoL0Arm
from searchers.parts.gate_estimators import ESTIMATORS, START
from searchers.parts.likelihoods import Bernoulli
from searchers.parts.objectives import kl_per_dim, reparameterise

Function = Callable[[Tensor], Tensor]
Record = Callable[[str, object], None]

N_GATES = 4
N_DRAWS = 200_000
LOGITS = torch.tensor([-1.2, -0.3, 0.4, 1.5], dtype=torch.float64)
GATE_VECTORS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=N_GATES)), dtype=torch.float64)  # [16, 4]
WEIGHTS = 0.5 * torch.randn(N_GATES, 6, generator=Generator().manual_seed(3), dtype=torch.float64)
COUNTING = ("arm", "reinforce", "straight-through", "hard-concrete")  # their penalty is a number of gates
NAMES = (*COUNTING, "gaussian", "l1")
ONE_PASS = NAMES[1:]


def curved(v: Tensor) -> Tensor:
    """A decoder's squared error [N, 1] against what it gives with every gate open: v [N, 4] behind a tanh."""
    return (torch.tanh(v @ WEIGHTS) - torch.tanh(WEIGHTS.sum(0))).square().sum(-1, keepdim=True)


def multilinear(v: Tensor) -> Tensor:
    """`curved` at the 16 gate vectors and linear in each gate between them, [N, 1]."""
    weights = torch.where(GATE_VECTORS == 1, v[:, None], 1 - v[:, None]).prod(-1)  # [N, 16]
    return weights @ curved(GATE_VECTORS)


def exact(f: Function) -> tuple[Tensor, Tensor]:
    """E[f(v)] and its gradient [4] over all 16 gate vectors."""
    logits = LOGITS.clone().requires_grad_()
    p = torch.sigmoid(logits)
    mean = (torch.where(GATE_VECTORS == 1, p, 1 - p).prod(1) * f(GATE_VECTORS)[:, 0]).sum()
    return mean.detach(), torch.autograd.grad(mean, logits)[0]


def draws(name: str, f: Function, baseline: float | Tensor = 0.0, seed: int = 0, logits: Tensor = LOGITS) -> Tensor:
    """Estimates [N, 4] of d E[f] / d logits."""
    u = torch.rand(N_DRAWS, N_GATES, generator=Generator().manual_seed(seed), dtype=torch.float64)
    estimator, leaf = ESTIMATORS[name], logits.expand(N_DRAWS, N_GATES).clone().requires_grad_()
    gates = estimator.gates(leaf, u)
    error = f(gates)
    through = torch.autograd.grad(error.sum(), leaf)[0] if gates.requires_grad else torch.zeros_like(leaf)
    return through + estimator.gradient(leaf.detach(), u, error.detach(), torch.as_tensor(baseline), f)


def standard_errors(estimates: Tensor, truth: Tensor) -> Tensor:
    """How many standard errors the mean of estimates [N, 4] is off, [4]."""
    return (estimates.mean(0) - truth) / (estimates.std(0) / math.sqrt(len(estimates)))


def variance(estimates: Tensor) -> float:
    return float(estimates.var(0).sum())


def test_the_choices() -> None:
    assert tuple(ESTIMATORS) == NAMES and GecoL0Arm().estimator == "arm"
    for name in NAMES:
        settings = {"estimator": name, "retrain": name == "l1"}
        assert from_mapping(GecoL0Arm, settings, "searchers.geco-l0arm").estimator == name
        assert ESTIMATORS[name].counts is (name in COUNTING)
    with pytest.raises(InputError, match="retrain is False and estimator l1; expected retrain = true"):
        from_mapping(GecoL0Arm, {"estimator": "l1"}, "searchers.geco-l0arm")
    with pytest.raises(
        InputError, match="unknown estimator 'gumbel'; expected one of arm, reinforce, straight-through, h"
    ):
        from_mapping(GecoL0Arm, {"estimator": "gumbel"}, "searchers.geco-l0arm")


# --- bias and variance, by enumeration


@pytest.mark.parametrize("f", [curved, multilinear])
@pytest.mark.parametrize("name, baseline", [("arm", 0.0), ("reinforce", 0.0), ("reinforce", 0.9), ("reinforce", -2.0)])
def test_arm_and_reinforce_are_unbiased(name: str, baseline: float, f: Function) -> None:
    _, truth = exact(f)
    estimates = draws(name, f, baseline, seed=1)
    assert float((estimates.std(0) / math.sqrt(N_DRAWS)).max()) < 0.05 * float(truth.abs().max())
    assert bool((standard_errors(estimates, truth).abs() < 4).all())
    assert bool((standard_errors(-estimates, truth).abs() > 4).any())  # the check can fail


def test_variances(record_property: Record) -> None:
    """Here ARM 0.14; REINFORCE 0.89, or 0.19 with the best constant baseline: most of the gap is the baseline's."""
    mean, _ = exact(curved)
    arm, plain = variance(draws("arm", curved)), variance(draws("reinforce", curved))
    with_baseline = variance(draws("reinforce", curved, mean))
    for name, value in {"arm": arm, "reinforce": plain, "reinforce with baseline": with_baseline}.items():
        record_property(f"variance of {name}", value)
    assert arm == pytest.approx(0.136, rel=0.05)
    assert plain > 6 * arm
    assert 1.25 * arm < with_baseline < 0.3 * plain


def test_straight_through_is_off_by_the_curvature(record_property: Record) -> None:
    """Nothing off where f is linear in each gate; else its mean, exact by enumeration too, even has a wrong sign."""
    p = torch.sigmoid(LOGITS)
    probabilities = torch.where(GATE_VECTORS == 1, p, 1 - p).prod(1)

    def expected(f: Function) -> Tensor:
        vectors = GATE_VECTORS.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(f(vectors).sum(), vectors)  # [16, 4]
        return p * (1 - p) * (probabilities @ slopes)

    torch.testing.assert_close(expected(multilinear), exact(multilinear)[1])
    _, truth = exact(curved)
    bias = expected(curved) - truth
    record_property("bias of straight-through", bias.tolist())
    assert truth.tolist() == pytest.approx([-0.050, 0.013, 0.021, -0.125], abs=1e-3)
    assert bias.tolist() == pytest.approx([-0.071, -0.022, 0.037, 0.040], abs=1e-3)
    assert ((truth * expected(curved)) < 0).tolist() == [False, True, False, False]
    estimates = draws("straight-through", curved)
    assert bool((standard_errors(estimates, expected(curved)).abs() < 4).all())
    assert bool((standard_errors(estimates, truth).abs() > 50).all())
    assert variance(estimates) < variance(draws("arm", curved))  # what its bias buys


def test_hard_concrete_is_unbiased_for_its_own_gates_only(record_property: Record) -> None:
    h = 1e-4
    u = torch.rand(N_DRAWS, N_GATES, generator=Generator().manual_seed(9), dtype=torch.float64)
    steps = h * torch.eye(N_GATES, dtype=torch.float64)
    gates = ESTIMATORS["hard-concrete"].gates
    slopes = [(curved(gates(LOGITS + s, u)) - curved(gates(LOGITS - s, u)))[:, 0] / (2 * h) for s in steps]
    differences = torch.stack(slopes, 1)  # [N, 4], with common random numbers
    estimates = draws("hard-concrete", curved, seed=9)
    torch.testing.assert_close(estimates.mean(0), differences.mean(0), rtol=0, atol=2e-4)

    own, fresh = differences.mean(0), draws("hard-concrete", curved, seed=10)
    assert bool((standard_errors(fresh, own).abs() < 4 * math.sqrt(2)).all())  # both means are of N draws
    _, binary = exact(curved)
    bias = fresh.mean(0) - binary
    record_property("bias of hard-concrete", bias.tolist())
    assert bias.tolist() == pytest.approx([-0.024, -0.011, 0.012, 0.019], abs=2e-3)
    assert bool((standard_errors(fresh, binary).abs() > 20).all())


# --- gates that are not binary, by closed forms

ALPHA = torch.exp(-LOGITS)  # the Gaussian gates' variances


def test_gaussian_gates_have_their_variances() -> None:
    u = torch.rand(N_DRAWS, N_GATES, generator=Generator().manual_seed(4), dtype=torch.float64)
    gates = ESTIMATORS["gaussian"].gates(LOGITS, u)
    assert bool(((gates.mean(0) - 1).abs() < 4 * (ALPHA / N_DRAWS).sqrt()).all())
    assert bool(((gates.var(0) / ALPHA - 1).abs() < 4 * math.sqrt(2 / N_DRAWS)).all())


def test_gaussian_gates_survive_the_ends_of_u() -> None:
    gates = ESTIMATORS["gaussian"].gates(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert bool(gates.isfinite().all()) and 4 < float(gates.max()) < 8


def test_gaussian_penalty_is_the_least_kl_over_the_priors_variance() -> None:
    """The prior N(0, s^2) whose s^2 is best for a gate is one of these, a thousandth apart."""
    variances = torch.linspace(-4, 6, 10_001, dtype=torch.float64).exp()[:, None]
    gate, prior = torch.distributions.Normal(1.0, ALPHA.sqrt()), torch.distributions.Normal(0.0, variances.sqrt())
    least = torch.distributions.kl_divergence(gate, prior).min(0).values
    torch.testing.assert_close(ESTIMATORS["gaussian"].penalty(LOGITS), least, rtol=0, atol=1e-6)
    assert bool((ESTIMATORS["gaussian"].penalty(LOGITS) < least + 1e-12).all())


COSTS = torch.tensor([0.1, 0.2, 0.8, 3.0], dtype=torch.float64)


def bowl(v: Tensor) -> Tensor:
    """sum_j COSTS_j (v_j - 1)^2, [N, 1]: E is COSTS_j alpha_j of Gaussian gates."""
    return (COSTS * (v - 1).square()).sum(-1, keepdim=True)


def test_gaussian_is_unbiased_for_its_own_gates_only() -> None:
    estimates, own = draws("gaussian", bowl, seed=11), -COSTS * ALPHA
    assert bool((standard_errors(estimates, own).abs() < 4).all())
    assert bool((standard_errors(-estimates, own).abs() > 50).all())
    binary = exact(bowl)[1]  # d/d logits of COSTS (1 - sigma) is -COSTS sigma (1 - sigma)
    p = torch.sigmoid(LOGITS)
    torch.testing.assert_close(binary, -COSTS * p * (1 - p))
    assert bool((standard_errors(estimates, binary).abs() > 20).all())


def test_l1_is_exact_for_its_own_gates_and_biased_for_binary_ones(record_property: Record) -> None:
    estimates = draws("l1", bowl)
    torch.testing.assert_close(estimates.mean(0), 2 * COSTS * (LOGITS / START - 1) / START)
    assert variance(estimates) < 1e-20
    bias = draws("l1", curved).mean(0) - exact(curved)[1]
    record_property("bias of l1", bias.tolist())
    assert float(bias.abs().max()) > 0.05


def optimum(name: str) -> Tensor:
    """The logits at which E[bowl] plus the gates' own cost is least, by Adam from where all gates start."""
    estimator, leaf = ESTIMATORS[name], torch.full((N_GATES,), START, dtype=torch.float64, requires_grad=True)
    u = (torch.arange(1000, dtype=torch.float64) + 0.5)[:, None] / 1000  # evenly spaced draws
    optimizer = torch.optim.Adam([leaf], lr=0.02)
    for _ in range(3000):
        optimizer.zero_grad()
        loss = bowl(estimator.gates(leaf, u.expand(-1, N_GATES))).mean() + estimator.penalty(leaf).sum()
        loss.backward()
        optimizer.step()
        leaf.data.clamp_(min=estimator.lowest)
    return leaf.detach()


def test_l1_shrinks_by_a_soft_threshold() -> None:
    """v = max(0, 1 - 1 / (2 COSTS)): what stays is shrunk as well, which an L0 norm does not do."""
    expected = (1 - 1 / (2 * COSTS)).clamp(min=0)
    gates = optimum("l1") / START
    torch.testing.assert_close(gates, expected, rtol=0, atol=1e-4)
    assert (gates > 0).tolist() == [False, False, True, True] and 0.3 < float(gates[2]) < 0.4


def test_gaussian_noise_at_the_optimum() -> None:
    """COSTS = 1 / (2 alpha (1 + alpha)): a gate stays open that is worth more than a quarter of a nat."""
    logits = optimum("gaussian")
    expected = -((torch.sqrt(1 + 2 / COSTS) - 1) / 2).log()
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.02)
    assert (logits > 0).tolist() == (COSTS > 0.25).tolist() == [False, False, True, True]


# --- the gates drawn


@pytest.mark.parametrize("name", COUNTING)
def test_penalty_is_the_probability_of_an_open_gate(name: str) -> None:
    u = torch.rand(N_DRAWS, N_GATES, generator=Generator().manual_seed(4), dtype=torch.float64)
    gates = ESTIMATORS[name].gates(LOGITS, u)
    p = ESTIMATORS[name].penalty(LOGITS)
    assert bool((((gates > 0).double().mean(0) - p).abs() < 4 * (p * (1 - p) / N_DRAWS).sqrt()).all())
    assert float(gates.min()) == 0.0 and float(gates.max()) == 1.0
    fractions = ((gates > 0) & (gates < 1)).double().mean(0)
    assert bool((fractions > 0.1).all()) if name == "hard-concrete" else not fractions.any()


def test_hard_concrete_at_test_time() -> None:
    """The paper's gate at test time passes 0.5 where a latent is kept: at a logit of 0."""
    logits = torch.tensor([-3.0, -0.01, 0.01, 3.0])
    at_test = (torch.sigmoid(logits) * 1.2 - 0.1).clamp(0, 1)
    controller = GecoController(4, 1.0, estimator="hard-concrete")
    controller.gates.data = logits / GATE_SHARPNESS
    assert torch.equal(controller.open_latents(), at_test > 0.5)
    assert controller.traces()["gate_mass"] == pytest.approx(
        float(torch.sigmoid(logits - 2 / 3 * math.log(0.1 / 1.1)).sum())
    )


def test_hard_concrete_survives_the_ends_of_u() -> None:
    leaf = torch.zeros(2, requires_grad=True)
    gates = ESTIMATORS["hard-concrete"].gates(leaf, torch.tensor([0.0, 1.0]))
    assert gates.tolist() == [0.0, 1.0]
    assert torch.autograd.grad(gates.sum(), leaf)[0].tolist() == [0.0, 0.0]


# --- in the controller

IMAGE_SHAPE = (1, 4, 4)
LOOSE, TIGHT = 1e6, 1e-6  # tau: always met, never met


class _Counted:
    """A VAE that counts its decoder's passes and keeps the gated latents it was given."""

    def __init__(self, n: int) -> None:
        self.vae = build_vae("mlp", {"hidden": [8]}, IMAGE_SHAPE, n, 0)
        self.latent_dim, self.likelihood = n, Bernoulli()
        self.decoded: list[Tensor] = []

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.vae.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        self.decoded.append(z.detach())
        return self.vae.decode(z)


def _images(count: int = 6) -> Tensor:
    return torch.rand(count, *IMAGE_SHAPE, generator=Generator().manual_seed(1))


def _controller(name: str, tau: float, hit: bool) -> GecoController:
    controller = GecoController(4, tau, estimator=name)
    controller.gates.data = torch.tensor((-0.1, 0.0, 0.05, 0.2))
    controller.hit.fill_(hit)
    controller.error_average.fill_(2.0)
    return controller


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tau", [LOOSE, TIGHT])
def test_the_gates_gradient_is_the_estimators(name: str, tau: float) -> None:
    """lambda' k times the estimate, and the L0 term where the bound is met; nothing from the KL term."""
    vae, x, controller = _Counted(4), _images(), _controller(name, tau, hit=True)
    total = controller.loss(vae, x, Generator().manual_seed(7)).total
    (ours,) = torch.autograd.grad(total, controller.gates)
    assert len(vae.decoded) == (1 if name in ONE_PASS else 2)

    generator = Generator().manual_seed(7)
    z = reparameterise(*vae.encode(x), generator).detach()
    u = torch.rand(4, generator=generator)
    logits = (7 * controller.gates.detach()).requires_grad_()
    gates = ESTIMATORS[name].gates(logits, u)
    assert torch.equal(vae.decoded[0], z * gates.detach())

    def error_of(v: Tensor) -> Tensor:
        return Bernoulli().squared_error(vae.decode(z * v), x).mean()

    error, baseline = error_of(gates), torch.tensor(2.0)
    estimate = ESTIMATORS[name].gradient(logits.detach(), u, error.detach(), baseline, error_of).detach()
    if gates.requires_grad:
        estimate = estimate + torch.autograd.grad(error, logits)[0]
    multiplier = float(F.softplus(torch.tensor(1.0)) ** 2)
    (penalty,) = torch.autograd.grad(ESTIMATORS[name].penalty(logits).sum(), logits)
    expected = 7 * (multiplier * estimate + (penalty if tau == LOOSE else 0))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert bool((estimate.abs() > 1e-4).any())


@pytest.mark.parametrize(("logit", "n_open"), [((-0.3, -0.3, 0.3, 0.3), 2), ((-0.3,) * 4, 1)])
def test_a_latent_pays_its_kl_whatever_its_gaussian_gate(logit: tuple[float, ...], n_open: int) -> None:
    """All pass something until the training ends: free of KL, they would all close and the images go through noise.

    The weight is that of the other estimators: the mean over open gates, where one counts if none is.
    """
    vae, x, controller = _Counted(4), _images(), _controller("gaussian", TIGHT, hit=True)
    controller.gates.data = torch.tensor(logit)
    total = controller.loss(vae, x, Generator().manual_seed(7)).total.detach()
    mean, logvar = vae.encode(x)
    error = float(Bernoulli().squared_error(vae.vae.decode(vae.decoded[0]), x).mean().detach())
    multiplier = float(F.softplus(torch.tensor(1.0)) ** 2)
    kl = float(kl_per_dim(mean, logvar).sum(1).mean().detach())
    assert kl > 0.01 and float(total) == pytest.approx(multiplier * (error - TIGHT) + kl / n_open, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gates_are_open_and_still_until_the_first_hit(name: str) -> None:
    vae, x, controller = _Counted(4), _images(), _controller(name, TIGHT, hit=False)
    torch.autograd.backward(controller.loss(vae, x, Generator().manual_seed(7)).total)
    z = reparameterise(*vae.encode(x), Generator().manual_seed(7)).detach()
    assert torch.equal(vae.decoded[0], z)
    assert controller.gates.grad is not None and controller.gates.grad.tolist() == [0.0] * 4
    controller.tau = LOOSE  # the step of the first hit draws no gates yet: it has the L0 term alone
    (first,) = torch.autograd.grad(controller.loss(vae, x, Generator().manual_seed(7)).total, controller.gates)
    penalty = torch.autograd.grad(ESTIMATORS[name].penalty(7 * controller.gates).sum(), controller.gates)[0]
    assert controller.hit and torch.allclose(first, penalty) and not torch.equal(first, torch.zeros(4))


@pytest.mark.parametrize("name", NAMES)
def test_no_value_is_read_by_the_host(name: str) -> None:
    """Tensors of the meta device have no values: reading one, or branching on it, raises."""
    vae = build_vae("mlp", {"hidden": [8]}, IMAGE_SHAPE, 4, 0).to("meta")
    controller = _controller(name, 1.0, hit=True).to("meta")
    total = controller.loss(vae, _images().to("meta"), Generator()).total
    torch.autograd.backward(total)
    assert total.is_meta and controller.gates.grad is not None
    with pytest.raises(RuntimeError):
        float(total.detach())


# --- a short training: images of two factors, six latents, a bound that two latents reach and one does not

FACTORS, START_DIM, STEPS, TAU = 2, 6, 1200, 0.3


def _trained(name: str) -> tuple[VAE, GecoController, Tensor]:
    generator = Generator().manual_seed(0)
    factors = torch.randn(512, FACTORS, generator=generator)
    images = torch.sigmoid(1.5 * factors @ torch.randn(FACTORS, 16, generator=generator)).unflatten(1, IMAGE_SHAPE)
    vae = build_vae("mlp", {"hidden": [32]}, IMAGE_SHAPE, START_DIM, 0)
    controller = GecoController(START_DIM, TAU, estimator=name)
    optimizer = torch.optim.Adam([*vae.parameters(), *controller.parameters()], lr=5e-3, fused=True)
    for _ in range(STEPS):
        x = images[torch.randint(len(images), (32,), generator=generator)]
        optimizer.zero_grad()
        torch.autograd.backward(controller.loss(vae, x, generator).total)
        optimizer.step()
        with torch.no_grad():
            controller.after_step(None)
    return vae, controller, images


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[VAE, GecoController, Tensor]]:
    return {name: _trained(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_closes_the_latents_that_nothing_needs(
    name: str, trained: dict[str, tuple[VAE, GecoController, Tensor]]
) -> None:
    vae, controller, images = trained[name]
    assert all(bool(p.isfinite().all()) for p in [*vae.parameters(), *controller.parameters()])
    assert controller.hit and int(controller.open_latents().sum()) == FACTORS
    kept = controller.open_latents().float()
    if name == "l1":  # whose decoder is used to its gates
        kept *= GATE_SHARPNESS * controller.gates.detach() / START

    def error(gates: Tensor) -> float:
        z = reparameterise(*vae.encode(images), Generator().manual_seed(5)).detach()
        return float(Bernoulli().squared_error(vae.decode(z * gates), images).mean().detach())

    assert error(kept) < 1.5 * TAU  # the finished model, with its gates hard
    for latent in kept.nonzero().flatten().tolist():  # and it needs both
        assert error(kept.index_fill(0, torch.tensor(latent), 0.0)) > 2 * TAU


def test_straight_through_leaves_its_gates_undecided(
    trained: dict[str, tuple[VAE, GecoController, Tensor]],
) -> None:
    """Its bias in use: the latents it keeps go on being closed at random, so the bound costs a higher multiplier."""
    gates = {name: c.gates.detach()[c.open_latents()] for name, (_, c, _) in trained.items()}
    multipliers = {name: c.traces()["lambda"] for name, (_, c, _) in trained.items()}
    for name in ("arm", "reinforce", "hard-concrete"):
        assert float(gates["straight-through"].mean()) < 0.75 * float(gates[name].mean())
        assert multipliers["straight-through"] > 1.5 * multipliers[name]
