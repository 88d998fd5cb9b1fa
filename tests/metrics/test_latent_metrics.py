"""Posterior statistics against closed forms, silhouettes against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch.distributions import Normal, kl_divergence

from benchmark.metrics.latents import active_units, kmeans_silhouette, label_silhouette, posterior_stats


def _blobs(n: int, dim: int, n_blobs: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_blobs, size=n)
    centres = 4 * rng.standard_normal((n_blobs, dim))
    return (centres[labels] + rng.standard_normal((n, dim))).astype(np.float32), labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_posterior_stats(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(200, 3, generator=generator, dtype=dtype).requires_grad_()
    logvar = torch.randn(200, 3, generator=generator, dtype=dtype)
    stats = posterior_stats(mean, logvar)
    means, logvars = mean.detach().double(), logvar.double()
    posterior = Normal(means, (logvars / 2).exp())
    assert stats.kl == pytest.approx(kl_divergence(posterior, Normal(0.0, 1.0)).mean(0).numpy(), rel=1e-9)
    assert stats.mean_variance == pytest.approx(np.var(means.numpy(), axis=0), rel=1e-9)
    assert stats.variance_mean == pytest.approx(np.exp(logvars.numpy()).mean(0), rel=1e-9)
    for values in (stats.kl, stats.mean_variance, stats.variance_mean):
        assert values.dtype == np.float64 and values.shape == (3,)


def test_unused_latent_and_one_image() -> None:
    stats = posterior_stats(torch.tensor([[0.0, 2.0], [0.0, -2.0]]), torch.zeros(2, 2))
    assert stats.mean_variance.tolist() == [0, 4]
    assert stats.variance_mean.tolist() == [1, 1]
    assert stats.kl.tolist() == [0, 2]
    assert posterior_stats(torch.ones(1, 2), torch.zeros(1, 2)).mean_variance.tolist() == [0, 0]


def test_active_units() -> None:
    assert active_units(np.array([0.0, 0.009, 0.01, 0.011, 1.0])) == 2
    assert active_units(np.array([])) == 0


@pytest.mark.parametrize("n, dim, n_blobs", [(500, 10, 10), (100, 2, 3), (40, 64, 2)])
def test_silhouettes_equal_scikit_learn(n: int, dim: int, n_blobs: int) -> None:
    latents, labels = _blobs(n, dim, n_blobs)
    expected = silhouette_score(latents.astype(np.float64), labels)
    assert label_silhouette(latents, labels) == pytest.approx(expected, abs=1e-12)
    clusters = KMeans(n_blobs, n_init=1, random_state=3).fit_predict(latents.astype(np.float64))
    expected = silhouette_score(latents.astype(np.float64), clusters)
    assert kmeans_silhouette(latents, n_blobs, seed=3) == pytest.approx(expected, abs=1e-12)
    assert kmeans_silhouette(latents, n_blobs, seed=3) == kmeans_silhouette(latents, n_blobs, seed=3)


def test_silhouette_of_four_points() -> None:
    """By hand: a = 1 within each pair; b = 10.5 for the outer points and 9.5 for the inner ones."""
    latents = np.array([[0.0], [1.0], [10.0], [11.0]])
    expected = (2 * (10.5 - 1) / 10.5 + 2 * (9.5 - 1) / 9.5) / 4
    assert label_silhouette(latents, np.array([7, 7, 2, 2])) == pytest.approx(expected)
    assert kmeans_silhouette(latents, 2, seed=0) == pytest.approx(expected)


def test_better_separated_scores_higher() -> None:
    latents, labels = _blobs(300, 5, 4)
    shuffled = np.random.default_rng(1).permutation(labels)
    assert label_silhouette(latents, labels) > 0.4 > 0.05 > label_silhouette(latents, shuffled)


@pytest.mark.parametrize(
    "latents, n_clusters",
    [
        (np.zeros((20, 3)), 2),  # collapsed
        (np.repeat(np.eye(3), 10, axis=0), 5),  # 3 distinct points
        *((np.eye(4), n_clusters) for n_clusters in (4, 9, 1, 0)),
        (np.zeros((0, 3)), 2),
        (np.array([[0.0], [1.0], [math.nan], [2.0]]), 2),
        (np.array([[0.0], [1.0], [math.inf], [2.0]]), 2),
    ],
)
def test_degenerate_latents_have_no_kmeans_silhouette(latents: NDArray[np.float64], n_clusters: int) -> None:
    assert math.isnan(kmeans_silhouette(latents, n_clusters, seed=0))


def test_latents_closer_than_rounding_neither_raise_nor_warn() -> None:
    latents = 1e-200 * np.arange(10)[:, None]  # distinct, but all squared distances round to 0
    assert math.isnan(kmeans_silhouette(latents, 3, seed=0))


def test_degenerate_labels_have_no_silhouette() -> None:
    assert math.isnan(label_silhouette(np.eye(4), np.zeros(4, int)))
    assert math.isnan(label_silhouette(np.eye(4), np.arange(4)))
    assert math.isnan(label_silhouette(np.zeros((0, 3)), np.zeros(0, int)))
    assert math.isnan(label_silhouette(np.array([[0.0], [1.0], [math.nan], [2.0]]), np.array([0, 0, 1, 1])))
    assert label_silhouette(np.zeros((6, 2)), np.arange(6) % 2) == 0  # collapsed latents
