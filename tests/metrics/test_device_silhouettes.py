"""The GPU's silhouettes against scikit-learn's, on a CPU, which runs the same operations."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor

from benchmark.metrics.device_silhouettes import kmeans, silhouettes
from benchmark.metrics.latents import kmeans_silhouette, label_silhouette


def _blobs(n: int, dim: int, n_blobs: int, spread: float = 1.0) -> tuple[Tensor, NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(n_blobs, size=n)
    points = 6 * rng.standard_normal((n_blobs, dim))[labels] + spread * rng.standard_normal((n, dim))
    return torch.from_numpy(points).float(), labels


@pytest.fixture
def deterministic() -> Iterator[None]:
    """An operation that a GPU repeats inexactly raises an error, where torch knows it on a CPU too."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(("n", "dim", "n_blobs"), [(500, 10, 10), (100, 2, 3), (40, 64, 2)])
def test_labels_silhouette_is_scikit_learns(n: int, dim: int, n_blobs: int) -> None:
    points, labels = _blobs(n, dim, n_blobs, spread=3.0)
    found = silhouettes(points, labels, n_blobs, seed=3)
    assert found[1] == pytest.approx(label_silhouette(points.numpy(), labels), abs=1e-10)
    clusters = kmeans(points.double(), n_blobs, seed=3).numpy()
    assert found[0] == pytest.approx(silhouette_score(points.double().numpy(), clusters), abs=1e-10)
    assert found == silhouettes(points, labels, n_blobs, seed=3)


def test_it_finds_clear_clusters() -> None:
    points, labels = _blobs(300, 8, 4, spread=0.1)
    found = silhouettes(points, labels, 4, seed=1)
    assert found[0] == pytest.approx(found[1], abs=1e-12) and found[0] > 0.9


def test_kmeans_is_as_good_as_scikit_learns() -> None:
    """On points without clusters, where each start ends elsewhere: the mean inertia over starts."""
    points = torch.from_numpy(np.random.default_rng(1).standard_normal((500, 6)))
    ours = []
    for seed in range(10):
        labels = kmeans(points, 10, seed)
        centres = torch.stack([points[labels == k].mean(0) for k in range(10)])
        ours.append(float((points - centres[labels]).square().sum()))
        assert torch.equal(torch.cdist(points, centres).argmin(1), labels)  # Lloyd's algorithm has ended
    theirs = [KMeans(10, n_init=1, random_state=seed).fit(points.numpy()).inertia_ for seed in range(10)]
    assert np.mean(ours) < 1.02 * np.mean(theirs) and np.std(ours) > 0


@pytest.mark.parametrize(("dim", "apart"), [(4, 3), (8, 4)])
def test_it_finds_clusters_as_well_as_scikit_learn(dim: int, apart: int) -> None:
    """Plain k-means++ is worse in eight dimensions, as two of its first centres are often in one cluster."""
    rng = np.random.default_rng(1)
    points = (apart * rng.normal(size=(10, dim)))[rng.integers(10, size=500)] + rng.normal(size=(500, dim))
    labels = np.zeros(500, int)
    ours = [silhouettes(torch.from_numpy(points), labels, 10, seed)[0] for seed in range(20)]
    theirs = [kmeans_silhouette(points, 10, seed) for seed in range(20)]
    assert np.mean(ours) > np.mean(theirs) - 0.01


UNDEFINED = {
    "one point": torch.zeros(1, 2),
    "no latents": torch.zeros(5, 0),
    "fewer distinct points than clusters": torch.tensor([[0.0], [0.0], [1.0], [1.0], [1.0], [1.0]]),
    "as many as clusters": torch.arange(3.0)[:, None],
    "NaN": torch.tensor([[0.0], [math.nan], [1.0], [2.0], [3.0]]),
}


@pytest.mark.parametrize("points", UNDEFINED.values(), ids=UNDEFINED)
def test_undefined_where_scikit_learns_is(points: Tensor) -> None:
    labels = np.array([7, 7, 9, 9, 9, 9])[: len(points)]
    expected = kmeans_silhouette(points.numpy(), 3, 0), label_silhouette(points.numpy(), labels)
    assert math.isnan(expected[0])
    assert silhouettes(points, labels, 3, 0) == pytest.approx(expected, nan_ok=True)


def test_undefined_labels() -> None:
    points = torch.arange(6.0)[:, None]
    for labels in (np.zeros(6, int), np.arange(6)):  # one label only; a label for every point
        assert math.isnan(label_silhouette(points.numpy(), labels))
        clusters, of_labels = silhouettes(points, labels, 2, 0)
        assert math.isnan(of_labels) and clusters > 0
    single = np.array([0, 1, 1, 1, 1, 1])
    assert silhouettes(points, single, 1, 0) == pytest.approx(
        (math.nan, label_silhouette(points.numpy(), single)), nan_ok=True
    )
