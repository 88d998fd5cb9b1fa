"""The terms of the objective against torch.distributions and closed forms."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from searchers.parts.likelihoods import Bernoulli as OwnBernoulli
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import elbo_loss, frozen_batchnorm_statistics, kl_per_dim, reparameterise

SHAPES = [(5, 1, 4, 4), (3, 3, 6, 5), (2, 3, 2, 4, 4), (1, 1, 2, 2)]
DTYPES = [torch.float32, torch.float64]


def _normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=dtype)


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-5 if dtype == torch.float32 else 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 3), (1, 1), (2, 50)])
def test_kl_per_dim(shape: tuple[int, int], dtype: torch.dtype) -> None:
    mean, logvar = 2 * _normal(*shape, dtype=dtype), _normal(*shape, seed=1, dtype=dtype)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    torch.testing.assert_close(kl_per_dim(mean, logvar), expected, rtol=10 * _tolerance(dtype), atol=1e-6)
    assert kl_per_dim(torch.zeros(1, 1), torch.zeros(1, 1)).item() == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_bernoulli_nll(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = 3 * _normal(*shape, dtype=dtype)
    binary = (_normal(*shape, seed=1) > 0).to(dtype)
    expected = -Bernoulli(logits=logits).log_prob(binary).flatten(1).sum(1).mean()
    torch.testing.assert_close(bernoulli_nll(logits, binary), expected, rtol=_tolerance(dtype), atol=0.0)
    grey = torch.sigmoid(_normal(*shape, seed=2, dtype=dtype))
    p = torch.sigmoid(logits)
    expected = -(grey * p.log() + (1 - grey) * (1 - p).log()).flatten(1).sum(1).mean()
    torch.testing.assert_close(bernoulli_nll(logits, grey), expected, rtol=10 * _tolerance(dtype), atol=0.0)


def test_reparameterise() -> None:
    n = 200_000
    mean = torch.tensor([0.0, 3.0, -1.0]).expand(n, 3)
    logvar = torch.tensor([0.0, 1.5, -2.0]).expand(n, 3)
    z = reparameterise(mean, logvar, Generator().manual_seed(0))
    std = (logvar[0] / 2).exp()
    assert bool(((z.mean(0) - mean[0]).abs() < 4 * std / math.sqrt(n)).all())
    assert bool(((z.var(0) / std**2 - 1).abs() < 4 * math.sqrt(2 / n)).all())
    assert torch.corrcoef(z.T).fill_diagonal_(0).abs().max() < 4 / math.sqrt(n)


def test_reparameterise_takes_its_noise_from_the_generator() -> None:
    mean, logvar = _normal(4, 3), _normal(4, 3, seed=1)
    before = torch.random.get_rng_state()
    first, again, other = (reparameterise(mean, logvar, Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
    epsilon = (first - mean) / (logvar / 2).exp()
    torch.testing.assert_close(epsilon, _normal(4, 3, seed=5), rtol=1e-4, atol=1e-5)


def test_reparameterise_gradients() -> None:
    """dz/dmean = 1 and dz/dlogvar = sigma * epsilon / 2."""
    mean, logvar = _normal(4, 3).requires_grad_(), _normal(4, 3, seed=1).requires_grad_()
    z = reparameterise(mean, logvar, Generator().manual_seed(5))
    d_mean, d_logvar = torch.autograd.grad(z.sum(), (mean, logvar))
    assert torch.equal(d_mean, torch.ones(4, 3))
    torch.testing.assert_close(d_logvar, ((z - mean) / 2).detach())


class _Linear:
    """Two latents and three pixels: q(z | x) = N(W'(2x - 1), 0.3), logits = W z."""

    latent_dim = 2
    likelihood = OwnBernoulli()

    def __init__(self) -> None:
        self.weight = torch.tensor([[0.7, -0.4], [0.2, 0.9], [-0.5, 0.3]], dtype=torch.float64)  # [pixels, n]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = (2 * x.flatten(1) - 1) @ self.weight
        return mean, torch.full_like(mean, math.log(0.3))

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).unflatten(1, (1, 1, 3))


def test_elbo_is_a_bound_and_its_gap_the_posterior_divergence() -> None:
    """log p(x) by quadrature over z; ELBO = log p(x) - KL(q || p(z | x)) (Kingma & Welling 2014, equation 1)."""
    vae = _Linear()
    x = torch.tensor([[[[1.0, 0.0, 1.0]]]], dtype=torch.float64)
    grid = torch.linspace(-8, 8, 321, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid)  # [321^2, 2]
    cell = float(grid[1] - grid[0]) ** 2
    identity = torch.eye(2, dtype=torch.float64)
    log_joint = MultivariateNormal(torch.zeros(2, dtype=torch.float64), identity).log_prob(z)
    log_joint += Bernoulli(logits=vae.decode(z)).log_prob(x).flatten(1).sum(1)
    log_evidence = float(torch.logsumexp(log_joint, 0)) + math.log(cell)
    mean, logvar = vae.encode(x)
    log_q = MultivariateNormal(mean[0], logvar[0].exp() * identity).log_prob(z)
    gap = float((log_q.exp() * (log_q - log_joint + log_evidence)).sum()) * cell
    assert gap > 0.05

    batch = x.expand(40_000, 1, 1, 3)  # one posterior sample each
    loss = float(elbo_loss(vae, batch, Generator().manual_seed(0)).total)
    assert loss == pytest.approx(gap - log_evidence, abs=0.01)
    assert loss > -log_evidence


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batchnorm_statistics(frozen: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=0.2))
    norm = model[1]
    before = norm.running_mean.clone(), norm.running_var.clone()
    x = _normal(4, 1, 8, 8)
    if frozen:
        with frozen_batchnorm_statistics(model):
            inside = model(x)
        assert torch.equal(inside, model(x))  # the same function
        norm.running_mean.copy_(before[0]), norm.running_var.copy_(before[1])
        with pytest.raises(RuntimeError, match="inside"), frozen_batchnorm_statistics(model):
            model(x)
            raise RuntimeError("inside")
    else:
        model(x)
    unchanged = torch.equal(norm.running_mean, before[0]) and torch.equal(norm.running_var, before[1])
    assert unchanged is frozen and norm.momentum == 0.2


def test_frozen_batchnorm_statistics_takes_any_model() -> None:
    with frozen_batchnorm_statistics(_Linear()):
        pass
