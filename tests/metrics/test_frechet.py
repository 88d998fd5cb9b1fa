"""The Frechet distance against torch-fidelity and closed forms."""

import math

import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from benchmark.metrics.frechet import feature_stats, frechet_distance


def _features(n: int, f: int, seed: int) -> Tensor:
    """Correlated, non-negative features, like activations. Each seed has its own mean and covariance."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(f, f, generator=generator, dtype=torch.float64) / f**0.5
    return torch.relu(torch.randn(n, f, generator=generator, dtype=torch.float64) @ mix + 0.1 * seed)


def _distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(feature_stats(a), feature_stats(b))


@pytest.mark.parametrize("n_a, n_b, f", [(300, 400, 32), (50, 60, 96), (40, 400, 64), (64, 65, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_torch_fidelity(n_a: int, n_b: int, f: int, dtype: torch.dtype) -> None:
    a, b = _features(n_a, f, 1).to(dtype), _features(n_b, f, 2).to(dtype)
    statistics = [fid_features_to_statistics(features.double()) for features in (a, b)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert expected > 0.1
    assert _distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert _distance(b, a) == pytest.approx(_distance(a, b), rel=1e-9)


def _with_moments(mean: Tensor, scale: Tensor, n: int) -> Tensor:
    """n features [n, F] with exactly this mean and covariance diag(scale^2): 2F points +-c e_j, then the mean."""
    points = torch.eye(len(mean), dtype=torch.float64) * scale * math.sqrt((n - 1) / 2)
    rest = torch.zeros(n - 2 * len(mean), len(mean), dtype=torch.float64)
    return mean + torch.cat([points, -points, rest])


@pytest.mark.parametrize("n_a, n_b", [(10, 10), (10, 500), (500, 12)])
def test_diagonal_gaussians(n_a: int, n_b: int) -> None:
    """Diagonal covariances commute: |m_a - m_b|^2 + sum (s_a - s_b)^2."""
    mean_a, scale_a = torch.tensor([1.0, 2, 3, 4, 5]).double(), torch.tensor([1.0, 0.5, 2, 0, 3]).double()
    mean_b, scale_b = torch.tensor([1.0, 0, 3, 4, 6]).double(), torch.tensor([2.0, 0.5, 1, 1, 0]).double()
    a, b = _with_moments(mean_a, scale_a, n_a), _with_moments(mean_b, scale_b, n_b)
    assert torch.allclose(torch.cov(a.T), torch.diag(scale_a**2))
    assert _distance(a, b) == pytest.approx(5 + (1 + 0 + 1 + 1 + 9))


@pytest.mark.parametrize("n, f", [(50, 8), (8, 50)])
def test_statistics_hold_the_covariance(n: int, f: int) -> None:
    features = _features(n, f, 3)
    stats = feature_stats(features.float())
    assert stats.factor.shape == (8, f) and stats.factor.dtype == torch.float64
    covariance = torch.cov(features.float().double().T)
    assert torch.allclose(stats.factor.T @ stats.factor, covariance, atol=1e-12)
    assert stats.trace == pytest.approx(float(covariance.trace()))


@pytest.mark.parametrize("n", [10, 200])
def test_shifted_and_equal_sets(n: int) -> None:
    a = _features(n, 32, 4)
    assert 0 <= _distance(a, a.flip(0)) < 1e-9
    assert _distance(a, a + 0.5) == pytest.approx(32 * 0.25, rel=1e-9)


@pytest.mark.parametrize("n, f", [(5, 16), (100, 16)])
def test_constant_images(n: int, f: int) -> None:
    constant, spread = torch.full((n, f), 2.0), _features(n, f, 5)
    assert _distance(constant, constant) == 0
    stats = feature_stats(spread)
    expected = float((stats.mean - 2).square().sum()) + stats.trace
    assert _distance(constant, spread) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("n", [5, 100])
def test_features_of_a_diverged_model(bad: float, n: int) -> None:
    features = _features(n, 16, 6)
    features[1, 2] = bad
    assert math.isnan(_distance(features, _features(n, 16, 7)))


@pytest.mark.parametrize("shape", [(1, 8), (0, 8), (8,)])
def test_too_few_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        feature_stats(torch.zeros(shape))
