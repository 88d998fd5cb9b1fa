"""The sizes that a falling spectrum tells."""

import numpy as np
import pytest
import torch

from searchers.parts.spectrum import FLOOR, fewest_with, largest_fall, variances


def test_the_variances_are_those_along_the_principal_axes() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    codes = (torch.randn(5_000, 4, generator=generator) * torch.tensor([1.0, 3.0, 0.0, 2.0])) @ axes.T + 7
    assert variances(codes) == pytest.approx([9.0, 4.0, 1.0, 0.0], rel=0.05, abs=1e-6)
    expected = np.linalg.svd((codes - codes.mean(0)).double().numpy(), compute_uv=False) ** 2 / len(codes)
    assert variances(codes) == pytest.approx(expected)


@pytest.mark.parametrize(
    "values, place, fall",
    [
        ([8.0, 4.0, 0.1, 0.05], 2, 40.0),
        ([8.0, 0.1, 0.05], 1, 80.0),
        ([8.0, 4.0, 1e-30, 1e-40], 2, 0.5 / FLOOR),  # what is below the floor is 0
        ([2.0, 1.0], 1, 2.0),  # nothing follows the last
        ([0.0, 0.0], 1, 1.0),
    ],
)
def test_the_largest_fall(values: list[float], place: int, fall: float) -> None:
    got = largest_fall(np.array(values))
    assert got[0] == place and got[1] == pytest.approx(fall)


def test_the_fewest_with_a_share() -> None:
    values = np.array([6.0, 3.0, 0.9, 0.1])
    assert [fewest_with(values, share) for share in (0.5, 0.6, 0.61, 0.99, 1.0)] == [1, 1, 2, 3, 4]
