"""Statistics of a comparison: what stands beside a mean over seeds, and ranks inside blocks as a description.

A table of blocks is a frame [blocks, searchers]: each row holds the values that all searchers reached under the same
conditions. NaN is a value that a searcher failed to give: it counts as worse than every number and as equal to NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import friedmanchisquare, studentized_range

from reports.analysis.effects import CONFIDENCE
from reports.analysis.effects import FEW_SEEDS as FEW_SEEDS

ALPHA = 0.05
_SHUFFLES, _SEED = 9999, 0
_EQUAL = 9  # significant digits, of the largest value of a block, to which values are told apart


def p_text(p: float) -> str:
    """`p = 0.031`, and `p < 0.001` below that."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """What stands beside the mean of the values that are not NaN: see `mean_intervals`."""
    low, high = mean_intervals(np.array([list(values)], dtype=float))[0]
    return float(low), float(high)


def mean_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row of [Q, N], over its values that are not NaN: their range, or from 6 of them a 95 % t-interval.

    The range of the seeds says where they lie and is no interval of the mean: of 3 normal values it holds the true mean
    in 75 % of cases.

    Returns:
        [Q, 2], low and high; NaN for rows with fewer than two values.
    """
    intervals = np.full((len(values), 2), np.nan)
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    rows = n > 1
    some, is_known, n = values[rows], known[rows], n[rows]
    low, high = (some.min(axis=1, where=is_known, initial=np.inf), some.max(axis=1, where=is_known, initial=-np.inf))
    mean = some.mean(axis=1, where=is_known)
    half = stdtrit(n - 1, (1 + CONFIDENCE) / 2) * some.std(axis=1, where=is_known, ddof=1) / np.sqrt(n)
    few = n < FEW_SEEDS
    intervals[rows] = np.stack([np.where(few, low, mean - half), np.where(few, high, mean + half)], axis=1)
    return intervals


def ratio_intervals(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """What stands beside ratios of values to a reference, row by row of [Q, N] and [Q, N], paired by column.

    As `mean_intervals`, with the t-interval on the log scale. Returns [Q, 2]; NaN also where a value is not positive.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = values / reference
        logs = np.log(np.where((values > 0) & (reference > 0), ratios, np.nan))
    complete = (np.isnan(logs) == np.isnan(ratios)).all(axis=1, keepdims=True)
    intervals: NDArray[np.float64] = np.exp(mean_intervals(np.where(complete, logs, np.nan)))
    return intervals


def block_ranks(values: pd.DataFrame, better: Literal["lower", "higher"]) -> pd.DataFrame:
    """Ranks of the searchers inside each block: 1 is the best, values equal to nine digits share their mean rank."""
    largest = values.abs().max(axis=1).replace(0, 1.0)
    rounded = values.div(largest, axis=0).round(_EQUAL)
    return rounded.rank(axis=1, ascending=better == "lower", na_option="bottom")


class Friedman(NamedTuple):
    """Friedman's test: chi-squared corrected for ties, and its p-value."""

    statistic: float
    p: float


def friedman(ranks: pd.DataFrame) -> Friedman:
    """Do the searchers differ at all? NaN with fewer than 3 searchers or 2 blocks.

    The p-value is that of 9,999 shuffles of the ranks inside their blocks, from a fixed seed, and so at least 0.0001:
    the chi-squared distribution is too cautious with few blocks, and too bold with three searchers.
    """
    table = ranks.to_numpy()
    if table.shape[0] < 2 or table.shape[1] < 3:
        return Friedman(np.nan, np.nan)
    if (table == table[:, :1]).all():  # the correction for ties would be 0/0
        return Friedman(0.0, 1.0)
    generator = np.random.default_rng(_SEED)
    sums = np.zeros((_SHUFFLES, table.shape[1]))
    for row in table:
        sums += generator.permuted(np.broadcast_to(row, sums.shape), axis=1)
    spread, seen = (sums**2).sum(axis=1), (table.sum(axis=0) ** 2).sum()
    p = (1 + (spread >= seen - 1e-6).sum()) / (1 + _SHUFFLES)
    return Friedman(float(friedmanchisquare(*table.T).statistic), float(p))


def nemenyi(ranks: pd.DataFrame) -> pd.DataFrame:
    """Nemenyi's p-values [searchers, searchers] of the differences between mean ranks, after Friedman's test."""
    import scikit_posthocs  # here because it imports pyplot

    found: pd.DataFrame = scikit_posthocs.posthoc_nemenyi_friedman(ranks.to_numpy())
    return found.set_axis(ranks.columns, axis=0).set_axis(ranks.columns, axis=1)


@lru_cache
def critical_difference(searchers: int, blocks: int) -> float:
    """Distance of two mean ranks from which on Nemenyi's test tells them apart at `ALPHA` (Demšar 2006, 3.2.2)."""
    q = studentized_range.ppf(1 - ALPHA, searchers, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(searchers * (searchers + 1) / (6 * blocks)))
