"""The likelihoods against torch.distributions and SciPy, and what training makes of their own state."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Generator, Tensor, distributions, nn

from searchers.parts import likelihoods
from searchers.parts.likelihoods import (
    HIGHEST_LOG_RATE,
    LIKELIHOODS,
    Bernoulli,
    GaussianLearned,
    GaussianOptimal,
    Likelihood,
    NegativeBinomial,
    bernoulli_nll,
    make_likelihood,
    negative_binomial_nll,
)

ROWS, IMAGES = (7,), (3, 4, 2)
B = 5


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    noise = _normal(B, *shape, seed=1)
    if LIKELIHOODS[name].is_count:
        return (3 * noise.square()).round()
    return torch.sigmoid(noise) if name == "bernoulli" or len(shape) > 1 else noise


def _density(likelihood: Likelihood, outputs: Tensor) -> Any:
    """The same density, by torch. A Bernoulli's of grey values is left to its own test."""
    mean = torch.sigmoid(outputs) if outputs.ndim > 2 else outputs
    if isinstance(likelihood, GaussianLearned):
        return distributions.Normal(mean, (0.5 * likelihood.raw_log_variance).exp())
    if isinstance(likelihood, NegativeBinomial):
        r = likelihood.raw_log_dispersion.exp()
        return distributions.NegativeBinomial(r, logits=outputs - r.log())
    own = {
        "gaussian": lambda: distributions.Normal(mean, 1.0),
        "gaussian-optimal": lambda: distributions.Normal(mean, likelihood.variance.sqrt()),  # type: ignore[operator]
        "poisson": lambda: distributions.Poisson(outputs.exp()),
    }
    return own[likelihood.name]()


def _made(name: str, shape: tuple[int, ...]) -> Likelihood:
    """In evaluation, with a state that is not the one at the start."""
    likelihood = make_likelihood(name, shape).eval()
    for own in (*likelihood.parameters(), *(b for n, b in likelihood.named_buffers() if n == "variance")):
        own.data.copy_(0.3 + 0.5 * _normal(*own.shape, seed=3).abs())
    return likelihood


@pytest.mark.parametrize("shape", [ROWS, IMAGES])
@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"bernoulli"}))
def test_the_density_is_that_of_torch(name: str, shape: tuple[int, ...]) -> None:
    likelihood, outputs, x = _made(name, shape), _normal(B, *shape), _values(name, shape)
    density = _density(likelihood, outputs)
    expected = -density.log_prob(x).flatten(1).sum(1)
    found = likelihood.nll_of_each(outputs, x)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-4, check_dtype=False)
    torch.testing.assert_close(likelihood.nll(outputs, x), found.mean())
    torch.testing.assert_close(likelihood.mean(outputs), density.mean, rtol=1e-5, atol=1e-6)


def test_bernoulli_is_the_loss_of_before_to_the_bit() -> None:
    logits, x = _normal(B, *IMAGES), _values("bernoulli", IMAGES)
    assert torch.equal(Bernoulli().nll(logits, x), bernoulli_nll(logits, x))
    assert float(Bernoulli().nll_of_each(logits, x).mean()) == pytest.approx(float(bernoulli_nll(logits, x)), rel=1e-6)
    errors = Bernoulli().squared_error(logits, x)
    assert errors.shape == (B,)
    for image, logit, error in zip(x, logits, errors, strict=True):
        assert float(error) == pytest.approx(float(((torch.sigmoid(logit) - image) ** 2).sum()), rel=1e-5)


def test_counts_against_scipy() -> None:
    """SciPy's negative binomial counts failures before the n-th success of probability p = r / (r + m)."""
    mean, r, x = 3.7, 1.9, np.arange(40)
    own = NegativeBinomial((1,)).eval()
    own.raw_log_dispersion.data.fill_(math.log(r))
    outputs = torch.full((40, 1), math.log(mean))
    found = own.nll_of_each(outputs, torch.tensor(x, dtype=torch.float32)[:, None])
    np.testing.assert_allclose(found.detach(), -scipy.stats.nbinom.logpmf(x, r, r / (r + mean)), rtol=1e-5)
    poisson = make_likelihood("poisson", (1,)).nll_of_each(outputs, torch.tensor(x, dtype=torch.float32)[:, None])
    np.testing.assert_allclose(poisson, -scipy.stats.poisson.logpmf(x, mean), rtol=1e-5)


@pytest.mark.parametrize("name", ["poisson", "negative-binomial"])
def test_large_counts_lose_nothing_in_evaluation(name: str) -> None:
    x, log_r = np.array([10**5, 10**6, 10**7]), np.float64(np.float32(9.0))
    likelihood = make_likelihood(name, (1,)).eval()
    for own in likelihood.parameters():
        own.data.fill_(log_r)
    outputs = torch.tensor(np.log(1.001 * x), dtype=torch.float32)[:, None]
    mean = np.exp(outputs[:, 0].double().numpy())
    r = np.exp(log_r)
    density = scipy.stats.poisson(mean) if name == "poisson" else scipy.stats.nbinom(r, r / (r + mean))
    found = likelihood.nll_of_each(outputs, torch.tensor(x, dtype=torch.float32)[:, None])
    np.testing.assert_allclose(found.detach(), -density.logpmf(x), rtol=1e-6)
    assert likelihood.train().nll_of_each(outputs, torch.ones(3, 1)).dtype == torch.float32


def test_a_dispersion_is_fitted_with_one_pass_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def counted(*arguments: Tensor) -> Tensor:
        passes.append(len(arguments[-1]))
        return negative_binomial_nll(*arguments)

    monkeypatch.setattr(likelihoods, "negative_binomial_nll", counted)
    r = torch.tensor([0.3, 2.0, 20.0])
    rates = torch._standard_gamma(r.expand(20_000, 3), generator=Generator().manual_seed(0)) * 5 / r
    own = NegativeBinomial((3,))
    own.fit(torch.zeros(3), torch.poisson(rates, generator=Generator().manual_seed(1)))
    np.testing.assert_allclose(own.raw_log_dispersion.detach().exp(), r, rtol=0.1)
    assert len(passes) == likelihoods.SECTIONS + 1


@pytest.mark.parametrize("shape", [ROWS, IMAGES])
@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_samples_have_the_mean_and_the_same_seed_gives_the_same(name: str, shape: tuple[int, ...]) -> None:
    likelihood = _made(name, shape)
    outputs = _normal(1, *shape).expand(20_000, *shape)
    samples = likelihood.sample(outputs, Generator().manual_seed(0))
    again = likelihood.sample(outputs, Generator().manual_seed(0))
    assert torch.equal(samples, again)
    mean = likelihood.mean(outputs[:1])[0]
    error = samples.std(0) / math.sqrt(len(samples))
    assert ((samples.mean(0) - mean).abs() < 5 * error).all()
    assert samples.std(0).min() > 0
    torch.testing.assert_close(
        likelihood.mean(likelihood.initial_outputs(mean.clamp(0.02, 0.98))), mean.clamp(0.02, 0.98)
    )


def test_the_sampled_spread_is_the_densitys() -> None:
    own = NegativeBinomial((1,)).eval()
    own.raw_log_dispersion.data.fill_(math.log(2.0))
    counts = own.sample(torch.full((200_000, 1), math.log(5.0)), Generator().manual_seed(0))
    assert float(counts.var()) == pytest.approx(5 + 25 / 2, rel=0.03)  # m + m^2 / r
    normal = GaussianOptimal((1,)).eval()
    normal.variance.fill_(0.25)
    assert float(normal.sample(torch.zeros(200_000, 1), Generator().manual_seed(0)).var()) == pytest.approx(
        0.25, rel=0.02
    )


def test_the_optimal_variance_is_the_batchs_in_training_and_a_number_after() -> None:
    likelihood = GaussianOptimal(ROWS).train()
    outputs, x = torch.zeros(B, *ROWS), _normal(B, *ROWS, seed=4)
    optimum = float(x.square().mean())
    nll = likelihood.nll(outputs, x)
    assert float(nll) == pytest.approx(math.prod(ROWS) / 2 * (1 + math.log(2 * math.pi * optimum)), rel=1e-5)
    others = [float(_fixed(factor * optimum).nll(outputs, x)) for factor in (0.8, 1.2)]
    assert float(nll) < min(others)  # it is the best of all variances
    best = likelihood.best_nll(likelihood.squared_error(outputs, x), math.prod(ROWS))
    assert float(best.mean()) == pytest.approx(float(nll), rel=1e-6) and best.shape == (B,)
    likelihood.eval()
    one, all_of_them = likelihood.nll_of_each(outputs[:1], x[:1]), likelihood.nll_of_each(outputs, x)
    assert float(one) == pytest.approx(float(all_of_them[0]), rel=1e-6)  # a fixed model: the others do not matter


def _fixed(variance: float) -> Likelihood:
    likelihood = GaussianOptimal(ROWS).eval()
    likelihood.variance.fill_(variance)
    return likelihood


@pytest.mark.parametrize("name", ["gaussian-learned", "negative-binomial"])
def test_the_state_is_fitted_by_an_objective_of_errors_too(name: str) -> None:
    """As GECO's: the value of the error stays, and the state ends near its maximum likelihood."""
    likelihood = make_likelihood(name, (2,)).train()
    x = likelihood.sample(torch.zeros(4_000, 2), Generator().manual_seed(0))
    if not likelihood.is_count:
        x = 0.1 * x
    outputs = likelihood.initial_outputs(x.mean(0)).expand_as(x).clone().requires_grad_()
    plain = float((likelihood.reconstruct(outputs) - likelihood.inputs(x)).square().sum(1).mean().detach())
    with torch.no_grad():
        before = float(likelihood.eval().nll(outputs, x))
    likelihood.train()
    for own in likelihood.parameters():
        own.data.fill_(2.0)  # far from what fits
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.1)
    for _ in range(300):
        error = likelihood.squared_error(outputs, x).mean()
        assert float(error.detach()) == pytest.approx(plain, rel=1e-5)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    fitted = next(likelihood.parameters())
    truth = math.log(0.01) if name == "gaussian-learned" else 0.0
    torch.testing.assert_close(fitted.detach(), torch.full_like(fitted, truth), rtol=0, atol=0.15)
    with torch.no_grad():
        after = float(likelihood.eval().nll(outputs, x))
    assert after <= before + 1e-3


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_no_output_makes_a_loss_or_a_gradient_infinite(name: str) -> None:
    likelihood = make_likelihood(name, ROWS).train()
    for size in (0.0, 1e4, -1e4):
        outputs = torch.full((B, *ROWS), size, requires_grad=True)
        loss = likelihood.nll(outputs, _values(name, ROWS))
        loss.backward()
        assert loss.isfinite() and outputs.grad is not None and outputs.grad.isfinite().all()
    if likelihood.is_count:
        assert float(likelihood.mean(torch.full((1, 7), 1e9)).max().detach()) == pytest.approx(
            math.exp(HIGHEST_LOG_RATE)
        )


def test_a_bound_keeps_the_variances_from_collapsing() -> None:
    x = _normal(B, *ROWS)
    for name in ("gaussian-optimal", "gaussian-learned"):
        likelihood = make_likelihood(name, ROWS).train()
        if isinstance(likelihood, GaussianLearned):
            nn.init.constant_(likelihood.raw_log_variance, -50.0)
        assert likelihood.nll(x.clone(), x).isfinite()


def test_what_the_encoder_sees() -> None:
    counts = torch.tensor([[0.0, 1.0, 10.0]])
    torch.testing.assert_close(make_likelihood("poisson", (3,)).inputs(counts), counts.log1p())
    assert torch.equal(make_likelihood("gaussian", (3,)).inputs(counts), counts)
