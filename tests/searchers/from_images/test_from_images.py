"""Sizes from the images alone: known dimensions, and the estimators against scikit-dimension."""

import warnings

import numpy as np
import pytest
import skdim
from numpy.typing import NDArray

from benchmark.datasets import load_dataset
from searchers.from_images.estimate import FromImages
from searchers.from_images.two_nn import TwoNN
from searchers.parts.intrinsic_dimension import gride, mle, two_nn
from searchers.testing import SearcherContract
from searchers.testing.model import N_FACTORS


def manifold(dimension: int, n: int = 3_000) -> NDArray[np.float64]:
    split = load_dataset("manifold", latent_dim=dimension).train.sample(n)
    points: NDArray[np.float64] = split.images[split.rows].flatten(1).double().numpy() / 255
    return points


def test_estimates_are_those_of_scikit_dimension() -> None:
    points = manifold(8, 1_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert two_nn(points) == pytest.approx(skdim.id.TwoNN().fit(points).dimension_, rel=1e-3)
        for k in (3, 5, 20):
            theirs = skdim.id.MLE(unbiased=False).fit(points, n_neighbors=k, comb="mle").dimension_
            assert mle(points, k) == pytest.approx(theirs, rel=1e-4)
        for n in (1, 2, 8):  # theirs has N - 1 for N, and leaves the largest ratios out
            assert gride(points, n) == pytest.approx(skdim.id.GRIDE(n1=n).fit(points).dimension_, rel=0.01)


@pytest.mark.parametrize("dimension", [3, 5, 8])
def test_manifolds_of_known_dimension(dimension: int) -> None:
    points = manifold(dimension)
    for name, found in {"MLE": mle(points, 20), "Gride": gride(points, 4)}.items():
        assert dimension - 0.6 < found < dimension + 0.4, (name, found)


def test_gride_on_a_larger_scale_does_not_see_the_noise() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(3_000, 2)) @ rng.standard_normal((2, 30)) + 0.01 * rng.standard_normal((3_000, 30))
    found = [gride(points, n) for n in (1, 8, 64)]
    assert found[0] > 4 > found[1] > found[2] and abs(found[2] - 2) < 0.3


def test_what_cannot_be_told() -> None:
    few = np.eye(4, 6)
    for estimate in (lambda: mle(few, 5), lambda: gride(few, 2)):
        with pytest.raises(ValueError, match="got 4 different points of 4; expected at least"):
            estimate()
    with pytest.raises(ValueError, match="each has 3 neighbours that are equally far away"):
        mle(few, 3)
    with pytest.raises(ValueError, match="too alike in their distances to neighbours 1 and 2"):
        gride(few, 1)


def test_a_factor_and_the_space_bound_the_size() -> None:
    def size(searcher: FromImages) -> int:
        contract = type("Contract", (SearcherContract,), {"searcher": searcher})()
        return int(contract.search()[1].latent_dim)

    assert size(TwoNN(factor=2)) == 2 * N_FACTORS and size(TwoNN(factor=0.1)) == 2 and size(TwoNN(factor=99)) == 32
