"""Statistics of the reports, against worked examples, enumeration and reference libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from reports.analysis.stats import (
    block_ranks,
    blocks_needed,
    critical_difference,
    friedman,
    mean_interval,
    mean_intervals,
    nemenyi,
    p_text,
    pairwise,
    ratio_intervals,
    signed_rank,
    smallest_p,
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


# ---- bootstrap intervals


def test_interval_of_three_values_is_their_range() -> None:
    # With three values 1 of 27 resamples holds the smallest alone: 3.7 %, more than the 2.5 % below the interval.
    assert mean_interval([5.0, 1.0, 2.0]) == (1.0, 5.0)


def test_interval_is_that_of_all_resamples() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    means = np.array(list(itertools.product(values, repeat=5))).mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    assert mean_interval(values) == pytest.approx(tuple(expected), abs=0.45)  # 2,000 of the 3,125


def test_equal_values_have_an_interval_without_width() -> None:
    assert mean_interval([3.0] * 4) == (3.0, 3.0)


def test_intervals_leave_nan_out_and_need_three_values() -> None:
    nan = math.nan
    values = np.array([[1.0, nan, 2.0, 7.0], [nan, 4.0, 5.0, nan], [nan] * 4, [3.0, 5.0, 8.0, 1.0]])
    intervals = mean_intervals(values)
    assert np.array_equal(intervals[0], [1.0, 7.0])
    assert np.isnan(intervals[1:3]).all()
    assert tuple(intervals[3]) == mean_interval(values[3])  # whatever else is in the array
    assert mean_intervals(np.empty((2, 0))).shape == (2, 2)


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.70, 0.78), (10, 0.87, 0.93), (20, 0.90, 0.96)])
def test_coverage_is_as_documented(n: int, low: float, high: float) -> None:
    intervals = mean_intervals(np.random.default_rng(0).normal(5.0, 2.0, (1000, n)))
    assert low < ((intervals[:, 0] <= 5) & (intervals[:, 1] >= 5)).mean() < high


def test_ratio_intervals_by_hand() -> None:
    values = np.array([[6.0, 6.0, 6.0], [2.0, 3.0, 4.0], [1.0, 2.0, 3.0], [1.0, math.nan, 2.0], [1.0, 2.0, 4.0]])
    ones, same = [1.0, 1.0, 1.0, math.nan], [1.0, 2.0, 4.0, math.nan]
    reference = np.array([[1.0, 2.0, 3.0, math.nan], ones, [0.0, 1.0, 2.0, math.nan], ones, same])
    intervals = ratio_intervals(values, reference)
    assert np.allclose(intervals[:2], [[2.0, 6.0], [2.0, 4.0]])
    assert intervals[4, 0] < 1 < intervals[4, 1]  # resampled apart
    assert np.isnan(intervals[2:4]).all()  # a reference that may be 0; two values


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


def test_friedman_is_scipys() -> None:
    values = pd.DataFrame(np.random.default_rng(1).normal(size=(7, 5)))
    expected = scipy_stats.friedmanchisquare(*values.to_numpy().T)
    assert friedman(block_ranks(values, "lower")) == pytest.approx((expected.statistic, expected.pvalue))


def test_friedman_of_ties_and_of_too_little() -> None:
    assert friedman(pd.DataFrame(np.full((4, 3), 2.0))) == (0.0, 1.0)
    assert all(math.isnan(value) for value in friedman(pd.DataFrame([[1.0, 2.0], [1.0, 2.0]])))
    assert all(math.isnan(value) for value in friedman(pd.DataFrame([[1.0, 2.0, 3.0]])))


# ---- tests of pairs


def enumerated_p(differences: list[float]) -> float:
    """Two-sided p-value of the signed-rank sum, from all choices of signs."""
    signed = [d for d in differences if d]
    ranks = scipy_stats.rankdata(np.abs(signed))
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(signed) > 0].sum() - centre)
    sums = [np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(signed))]
    return float(np.mean([abs(total - centre) >= seen - 1e-9 for total in sums]))


@pytest.mark.parametrize("n", [1, 3, 6, 11, 30, 49])
def test_signed_rank_is_scipys_exact_test(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1.0, n)
    assert signed_rank(differences).p == pytest.approx(scipy_stats.wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 1, -1, 2, 2, 2, -3, 4],
        [0, 0, 1, 1, 1, 1, 1, 1],
        [1, -1],
        [math.inf, math.inf, -1, 2, 3],
        [-math.inf, math.inf, 1, 1, 0],
    ],
)
def test_signed_rank_with_ties_zeros_and_infinities_is_exact(differences: list[float]) -> None:
    assert signed_rank(np.array(differences, dtype=float)).p == pytest.approx(enumerated_p(differences))


def test_rank_biserial_by_hand() -> None:
    # ranks 1, 2, 3, 4; positive 2 + 3 + 4 = 9, negative 1, of 10
    assert signed_rank(np.array([-1.0, 2.0, 3.0, 4.0])).rank_biserial == pytest.approx(0.8)
    assert signed_rank(np.array([-1.0, -2.0])).rank_biserial == -1.0
    assert signed_rank(np.zeros(5)) == (1.0, 0.0)


def test_swapped_searchers_have_the_same_p_and_the_opposite_effect() -> None:
    differences = np.random.default_rng(2).integers(-4, 6, 15).astype(float)
    one, other = signed_rank(differences), signed_rank(-differences)
    assert one.p == other.p
    assert one.rank_biserial == -other.rank_biserial != 0


@pytest.mark.parametrize("n", [1, 3, 5, 6, 9])
def test_smallest_p_is_reached_by_differences_of_one_sign(n: int) -> None:
    assert signed_rank(np.arange(1.0, n + 1)).p == pytest.approx(smallest_p(n))
    assert smallest_p(3) == 0.25


def test_blocks_needed() -> None:
    # 2^(1 - n): 0.03125 at 6 blocks; 0.0039 at 9, times 10 comparisons 0.039; 0.00195 at 10, times 15 0.029
    assert [blocks_needed(n) for n in (1, 10, 15)] == [6, 9, 10]


def test_pairwise_rows() -> None:
    values = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [2.0, 4.0, 6.0, 4.0], "c": [9.0, 9.0, 9.0, 9.0]})
    rows = pairwise(values, "lower").set_index(["searcher_a", "searcher_b"])
    ab = rows.loc[("a", "b")]
    assert (ab["n_blocks"], ab["n_lower"], ab["n_higher"]) == (4, 3, 0)
    assert (ab["median_difference"], ab["rank_biserial"], ab["p"]) == (-1.5, -1.0, 0.25)
    assert list(rows["p"]) == [0.25, 0.125, 0.125]
    assert list(rows["p_holm"]) == [0.375, 0.375, 0.375]


def test_pairwise_of_swapped_columns_is_mirrored() -> None:
    values = pd.DataFrame(np.random.default_rng(4).normal(size=(9, 2)), columns=["a", "b"])
    (one,) = pairwise(values, "lower").to_dict("records")
    (other,) = pairwise(values[["b", "a"]], "lower").to_dict("records")
    assert (one["p"], one["n_lower"], one["n_higher"]) == (other["p"], other["n_higher"], other["n_lower"])
    assert one["median_difference"] == -other["median_difference"]
    assert one["rank_biserial"] == -other["rank_biserial"]


@pytest.mark.parametrize(("better", "sign"), [("lower", 1), ("higher", -1)])
def test_a_missing_value_is_worse_than_every_number(better: str, sign: int) -> None:
    nan = math.nan
    values = pd.DataFrame({"a": [nan, 1.0, 2.0, nan], "b": [1.0, 1.5, 1.0, nan]})
    (row,) = pairwise(values, "lower" if better == "lower" else "higher").to_dict("records")
    assert row["n_lower" if sign < 0 else "n_higher"] == 2
    assert row["n_blocks"] == 4
    # |differences| inf, 0.5, 1, 0: ranks 3, 1, 2 of the first three; where lower is better a has +, -, +
    assert row["rank_biserial"] == pytest.approx((3 - 1 + 2) / 6 if better == "lower" else (-3 - 1 + 2) / 6)


def test_median_difference_that_is_not_finite_is_blank() -> None:
    nan = math.nan
    for a in ([nan, nan, 1.0], [nan, nan, nan, nan]):
        values = pd.DataFrame({"a": a, "b": [1.0, 1.0, 1.0, 1.0][: len(a)]})
        assert math.isnan(pairwise(values, "lower")["median_difference"].iloc[0])
    mixed = pd.DataFrame({"a": [nan, 1.0], "b": [1.0, nan]})  # the median of inf and -inf
    assert math.isnan(pairwise(mixed, "lower")["median_difference"].iloc[0])


def test_p_text() -> None:
    assert [p_text(p) for p in (0.0313, 0.00099, 1.0)] == ["p = 0.031", "p < 0.001", "p = 1"]
