"""KID against the reference library, and its error against repeated draws."""

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch_fidelity.metric_kid import kernel_mmd

from benchmark.metrics.kid import BLOCKS, kernel_distance

N, M, F = 60, 400, 8


def _features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(n, F, generator=Generator().manual_seed(seed))


def test_a_block_is_the_reference_librarys_value() -> None:
    real, generated = _features(20, 1), _features(M, 2, 0.3)
    blocks = generated.tensor_split(BLOCKS)  # of 20: the reference wants as many as real
    expected = [kernel_mmd(block.double().numpy(), real.double().numpy()) for block in blocks]
    assert kernel_distance(real, generated)[0] == pytest.approx(np.mean(expected), rel=1e-10)


def test_it_is_unbiased_and_its_error_is_that_of_other_images() -> None:
    values, errors = np.array([kernel_distance(_features(N, 2 * s), _features(M, 2 * s + 1)) for s in range(200)]).T
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(200)  # of equal distributions: 0
    shifted = [kernel_distance(_features(N, 2 * s), _features(M, 2 * s + 1, 0.5)) for s in range(200)]
    values, errors = np.array(shifted).T
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.2)


def test_features_that_are_not_finite_have_none() -> None:
    generated = _features(M, 2)
    generated[3, 3] = math.inf
    assert all(math.isnan(value) for value in kernel_distance(_features(N, 1), generated))
