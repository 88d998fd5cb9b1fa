"""TwoNN on data whose dimension is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmark.datasets import load_dataset
from searchers.parts.intrinsic_dimension import two_nn


def _uniform(dimension: int, n: int, seed: int = 0) -> NDArray[np.float64]:
    """Points of a unit cube, turned in a space of 40 dimensions and moved far from its origin."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(40, dimension)))[0]
    moved: NDArray[np.float64] = 100 + rng.uniform(size=(n, dimension)) @ axes.T
    return moved


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_uniform_points(dimension: int, seed: int) -> None:
    assert abs(two_nn(_uniform(dimension, 3000, seed)) - dimension) < 0.4


@pytest.mark.parametrize("dimension", [1, 2, 5, 8])
def test_normal_points(dimension: int) -> None:
    """In 8 dimensions a cube is nearly all border, which lowers the estimate by 0.8; a bell curve has none."""
    points = np.random.default_rng(0).normal(size=(3000, dimension))
    assert abs(two_nn(points) - dimension) < 0.4


@pytest.mark.parametrize("dimension", [3, 5, 8])
def test_images_of_known_dimension(dimension: int) -> None:
    sample = load_dataset("manifold", latent_dim=dimension).train.sample(3000)
    assert abs(two_nn(sample.take(torch.arange(3000)).flatten(1).numpy()) - dimension) < 0.4


def test_equal_points_count_once() -> None:
    points = _uniform(3, 500)
    doubled = np.concatenate([points, points[:200], points[:100]])
    assert two_nn(doubled) == pytest.approx(two_nn(points), rel=1e-3)


def test_neither_order_nor_unit_matters() -> None:
    points = _uniform(3, 500)
    assert two_nn(points[::-1] / 7) == pytest.approx(two_nn(points), rel=1e-3)


def test_what_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="got 2 different points of 30; expected at least 3"):
        two_nn(np.repeat(np.eye(2, 5), 15, axis=0))
    with pytest.raises(ValueError, match="of 5 points each has two neighbours that are equally far away"):
        two_nn(np.eye(5))
