"""PCA's rules on covariances known by hand, and against scikit-dimension."""

import numpy as np
import pytest
import skdim

from searchers.from_images.estimate import Points
from searchers.from_images.pca import PCA, eigenvalues

SPECTRUM = np.array([8.0, 4.0, 2.0, 1.0, 0.5, 0.5])  # half of the variance, a quarter, ...


def gaussian(spectrum: Points, n: int = 4_000) -> Points:
    """Points [n, D] whose covariance has exactly these eigenvalues, along random axes."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((n, len(spectrum)))
    white = np.linalg.qr(white - white.mean(0))[0] * np.sqrt(n - 1)
    axes = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
    points: Points = 0.5 + white * np.sqrt(spectrum) @ axes
    return points


def test_eigenvalues_are_the_covariances() -> None:
    np.testing.assert_allclose(eigenvalues(gaussian(SPECTRUM)), SPECTRUM, rtol=1e-9)
    few = np.random.default_rng(1).random((20, 50))  # fewer points than values
    expected = np.sort(np.linalg.eigvalsh(np.cov(few.T)))[::-1][:20].clip(min=0)
    np.testing.assert_allclose(eigenvalues(few), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.9, 4), (0.95, 5), (1.0, 6)]
)
def test_the_fewest_with_a_share_of_the_variance(share: float, expected: int) -> None:
    assert PCA(rule="variance", share=share).estimate(gaussian(SPECTRUM)) == expected


def test_the_other_rules() -> None:
    points = gaussian(SPECTRUM)
    assert PCA(rule="kaiser").estimate(points) == 2  # the mean eigenvalue is 16 / 6
    assert PCA().estimate(points) == pytest.approx(16**2 / np.square(SPECTRUM).sum())
    for name, rule in (("Kaiser", "kaiser"), ("participation_ratio", "participation-ratio")):
        assert PCA(rule=rule).estimate(points) == pytest.approx(skdim.id.lPCA(ver=name).fit(points).dimension_)  # type: ignore[arg-type]


@pytest.mark.parametrize("signals", [1, 3, 7])
def test_parallel_analysis_counts_the_signals_above_noise(signals: int) -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((1_000, 20))
    axes = np.linalg.qr(rng.standard_normal((20, signals)))[0].T
    mixed = 4 * rng.standard_normal((1_000, signals)) @ axes
    assert PCA(rule="parallel").estimate(mixed + noise) == signals
    assert PCA(rule="parallel").estimate(noise) <= 1


def test_equal_images_are_refused() -> None:
    with pytest.raises(ValueError, match="10 images are all the same"):
        PCA().estimate(np.full((10, 4), 0.5))
