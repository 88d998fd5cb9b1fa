"""Slopes against numpy's least squares, and the stop rule on them."""

import math

import numpy as np
import pandas as pd
import pytest

from searchers.parts.trends import all_rising, slope


@pytest.mark.parametrize("window", [2, 3, 10, 20, 40])
@pytest.mark.parametrize("length", [2, 19, 20, 55])
def test_slope_is_least_squares(length: int, window: int) -> None:
    values = np.random.default_rng((length, window)).normal(3, 2, length)
    last = values[-window:]
    expected = np.polyfit(np.arange(len(last)), last, 1)[0]
    assert slope(values, window) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert slope(pd.Series(values), window) == slope(values.tolist(), window) == slope(values, window)


def test_slope_unit_is_per_epoch() -> None:
    assert slope([5.0, 3.0, 1.0], 3) == pytest.approx(-2.0)
    assert slope([4.0, 4.0, 4.0], 3) == 0.0


def test_only_the_window_counts() -> None:
    assert slope([100.0, math.nan, 1.0, 2.0], 2) == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan, 3.0], [1.0, 2.0, math.inf]])
def test_slope_unknown(values: list[float]) -> None:
    assert math.isnan(slope(values, 3))


def test_one_epoch_window_has_no_slope() -> None:
    assert math.isnan(slope([1.0, 2.0, 3.0], 1))


RISING = [1.0, 1.5, 1.2, 2.0]


@pytest.mark.parametrize(
    "curves, expected",
    [
        ([RISING, RISING], True),
        ([RISING, RISING[::-1]], False),
        ([RISING, [1.0] * 4], False),  # a slope of 0 is not above 0
        ([RISING, RISING[1:]], False),  # no full window
        ([RISING, [math.nan, *RISING[1:]]], False),
        ([RISING, [9.0, *RISING]], True),
    ],
)
def test_all_rising(curves: list[list[float]], expected: bool) -> None:
    assert all_rising(curves, 4) is expected
    assert all_rising(curves[::-1], 4) is expected
