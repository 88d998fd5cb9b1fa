"""Statistics of the reports, against worked examples, enumeration and reference libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from reports.analysis.stats import (
    FEW_SEEDS,
    block_ranks,
    critical_difference,
    friedman,
    mean_interval,
    mean_intervals,
    nemenyi,
    p_text,
    ratio_intervals,
)

# Demšar (2006), table 6: AUC of four classifiers on 14 datasets.
DEMSAR = pd.DataFrame(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.975),  # printed as 0.975 both, but ranked 2 and 3 in the paper
        (0.957, 0.978, 0.946, 0.970),
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)


# ---- what stands beside a mean


def test_beside_the_mean_of_few_seeds_stands_their_range() -> None:
    assert FEW_SEEDS == 6
    assert mean_interval([5.0, 1.0, 2.0]) == (1.0, 5.0)
    assert mean_interval([2.0, 9.0, 1.0, 3.0, 4.0]) == (1.0, 9.0)


def test_from_six_seeds_on_it_is_students_interval() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 3.0]
    interval = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((interval.low, interval.high))
    assert mean_interval([3.0] * 6) == (3.0, 3.0)


def test_intervals_leave_nan_out_and_need_two_values() -> None:
    nan = math.nan
    values = np.array([[1.0, nan, 2.0, 7.0], [nan, 4.0, nan, nan], [nan] * 4, [3.0, 5.0, 8.0, 1.0]])
    intervals = mean_intervals(values)
    assert np.array_equal(intervals[[0, 3]], [[1.0, 7.0], [1.0, 8.0]])
    assert np.isnan(intervals[1:3]).all()
    assert mean_intervals(np.empty((2, 0))).shape == (2, 2)
    six = np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 3.0, nan]])
    assert tuple(mean_intervals(six)[0]) == mean_interval(six[0, :6])


def test_the_interval_covers_the_mean_as_it_says() -> None:
    intervals = mean_intervals(np.random.default_rng(0).normal(5.0, 2.0, (2000, 6)))
    assert 0.935 < ((intervals[:, 0] <= 5) & (intervals[:, 1] >= 5)).mean() < 0.965


def test_the_range_of_three_seeds_covers_as_documented() -> None:
    intervals = mean_intervals(np.random.default_rng(0).normal(5.0, 2.0, (2000, 3)))
    assert 0.72 < ((intervals[:, 0] <= 5) & (intervals[:, 1] >= 5)).mean() < 0.78


def test_ratios_are_paired_and_on_the_log_scale() -> None:
    nan = math.nan
    values = np.array([[6.0, 6.0, 6.0], [1.0, 2.0, 3.0], [1.0, nan, 2.0], [2.0, 4.0, 6.0]])
    reference = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [1.0, 1.0, nan], [1.0, 2.0, 3.0]])
    intervals = ratio_intervals(values, reference)
    assert np.allclose(intervals[[0, 3]], [[2.0, 6.0], [2.0, 2.0]])  # equal ratios have no width, whatever the costs
    assert np.isnan(intervals[1:3]).all()  # a reference of 0; a single pair
    ratios = np.array([[0.5, 0.6, 0.4, 0.55, 0.45, 0.5]])
    logs = scipy_stats.ttest_1samp(np.log(ratios[0]), 0).confidence_interval(0.95)
    found = ratio_intervals(ratios * 7, np.full((1, 6), 7.0))[0]
    assert tuple(found) == pytest.approx((math.exp(logs.low), math.exp(logs.high)))


# ---- ranks and tests over all searchers


def test_ranks_share_ties_and_put_nan_last() -> None:
    nan = math.nan
    values = pd.DataFrame([[1.0, 1.0, 3.0, 2.0], [nan, 5.0, nan, 7.0]])
    assert block_ranks(values, "lower").to_numpy().tolist() == [[1.5, 1.5, 4.0, 3.0], [3.5, 1.0, 3.5, 2.0]]
    assert block_ranks(values, "higher").to_numpy().tolist() == [[3.5, 3.5, 1.0, 2.0], [3.5, 2.0, 3.5, 1.0]]


def test_demsars_worked_example() -> None:
    ranks = block_ranks(DEMSAR, "higher")
    assert ranks.mean().to_numpy() == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    # The paper leaves its ties, three pairs and one four, uncorrected.
    correction = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4))
    assert friedman(ranks).statistic * correction == pytest.approx(9.28, abs=0.005)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    p = nemenyi(ranks)
    # "the difference between the best and the worst is already smaller than that" (1.18 < 1.25)
    assert 0.05 < p.loc["C4.5", "C4.5+m+cf"] < 0.10
    assert np.allclose(p, p.T) and list(p.index) == list(DEMSAR)


@pytest.mark.parametrize(
    ("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (10, 3.164)]
)
def test_critical_differences_are_demsars_table_5(k: int, q: float) -> None:
    assert critical_difference(k, 6) == pytest.approx(q * math.sqrt(k * (k + 1) / 36), abs=0.002)


def test_mean_ranks_at_the_critical_difference_have_p_of_5_percent() -> None:
    ranks = pd.DataFrame([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]])
    gap = abs(ranks[0].mean() - ranks[2].mean())
    p = nemenyi(ranks).loc[0, 2]
    assert p == pytest.approx(scipy_stats.studentized_range.sf(gap / math.sqrt(0.5) * math.sqrt(2), 3, np.inf))
    assert (p < 0.05) == (gap > critical_difference(3, 4))


def test_friedmans_statistic_is_scipys_and_with_many_blocks_its_p_too() -> None:
    values = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 5)))
    expected = scipy_stats.friedmanchisquare(*values.to_numpy().T)
    found = friedman(block_ranks(values, "lower"))
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)


def test_friedmans_p_is_that_of_all_shuffles() -> None:
    """Three blocks that agree on three searchers: 6 of the 216 choices of orders agree; chi-squared says 0.0498."""
    assert friedman(pd.DataFrame([[1.0, 2.0, 3.0]] * 3)).p == pytest.approx(6 / 216, abs=0.005)
    table = pd.DataFrame([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [2.0, 1.0, 3.0], [1.0, 2.0, 3.0]])
    orders = list(itertools.permutations((1.0, 2.0, 3.0)))
    spread = [np.square(np.sum(four, axis=0)).sum() for four in itertools.product(orders, repeat=4)]
    expected = np.mean(np.array(spread) >= np.square(table.sum()).sum() - 1e-9)
    assert friedman(table).p == pytest.approx(expected, abs=0.015)


def test_friedman_is_right_with_three_searchers() -> None:
    """Chi-squared finds a difference in 5.8 % of tables without one at 12 blocks."""
    rng = np.random.default_rng(0)
    p = [friedman(pd.DataFrame(rng.permuted(np.tile([1.0, 2, 3], (12, 1)), axis=1))).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) < 0.07


def test_ranks_do_not_hang_on_rounding() -> None:
    third = 1 / 3
    values = pd.DataFrame([[third, 1 - 2 * third, 0.5], [1e6, 1e6 * (1 + 1e-12), 1e6 + 1]])
    assert values.iloc[0, 0] != values.iloc[0, 1]
    assert block_ranks(values, "lower").to_numpy().tolist() == [[1.5, 1.5, 3.0], [1.5, 1.5, 3.0]]


def test_friedman_of_ties_and_of_too_little() -> None:
    assert friedman(pd.DataFrame(np.full((4, 3), 2.0))) == (0.0, 1.0)
    assert all(math.isnan(value) for value in friedman(pd.DataFrame([[1.0, 2.0], [1.0, 2.0]])))
    assert all(math.isnan(value) for value in friedman(pd.DataFrame([[1.0, 2.0, 3.0]])))


def test_p_text() -> None:
    assert [p_text(p) for p in (0.0313, 0.0498, 0.00099, 1.0)] == ["p = 0.031", "p = 0.050", "p < 0.001", "p = 1.000"]
