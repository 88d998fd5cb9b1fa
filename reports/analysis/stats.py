"""Statistics of a comparison: bootstrap intervals over seeds, and tests on blocks of paired values.

A table of blocks is a frame [blocks, searchers]: each row holds the values that all searchers reached under the same
conditions. NaN is a value that a searcher failed to give: it counts as worse than every number and as equal to NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import combinations, count
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, friedmanchisquare, rankdata, studentized_range
from statsmodels.stats.multitest import multipletests

ALPHA = 0.05
FEW_SEEDS = 3  # with fewer values there is no interval, and nothing is claimed
_RESAMPLES, _SEED = 2000, 0


def p_text(p: float) -> str:
    """`p = 0.031`, and `p < 0.001` below that."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of the values that are not NaN: see `mean_intervals`."""
    low, high = mean_intervals(np.array([list(values)], dtype=float))[0]
    return float(low), float(high)


def mean_intervals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """95 % bootstrap intervals of the mean of each row of [Q, N] over its values that are not NaN.

    Percentile method (Efron and Tibshirani 1993, chapter 13), 2,000 resamples from a fixed seed: equal rows have equal
    intervals, whatever else is in the array. BCa's acceleration is 0/0 for equal values, and its corrections come from
    as few values as seeds: it covers no better here. Every bootstrap of a mean is too narrow with few values: of
    normal values this one covers the true mean in 74, 83, 90 and 93 % of cases with 3, 5, 10 and 20 of them.

    Returns:
        [Q, 2], low and high; NaN for rows with fewer than `FEW_SEEDS` values.
    """
    return _intervals(np.mean, values)


def ratio_intervals(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """95 % bootstrap intervals of mean(values) / mean(reference), row by row of [Q, N] and [Q, M].

    The two are resampled apart, as independent samples; otherwise as `mean_intervals`. Returns [Q, 2]; NaN also where a
    reference is not positive throughout.
    """
    positive = np.all(np.isnan(reference) | (reference > 0), axis=1, keepdims=True)
    return _intervals(_ratio, values, np.where(positive, reference, np.nan))


def _ratio(values: NDArray[np.float64], reference: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = values.mean(axis=axis) / reference.mean(axis=axis)
    return ratio


def _intervals(statistic: Callable[..., object], *samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """One call of scipy's bootstrap for all rows that have the same numbers of values."""
    intervals = np.full((len(samples[0]), 2), np.nan)
    counts = np.stack([(~np.isnan(sample)).sum(axis=1) for sample in samples], axis=1)  # [Q, samples]
    for sizes in np.unique(counts[(counts >= FEW_SEEDS).all(axis=1)], axis=0):
        rows = (counts == sizes).all(axis=1)
        known = (sample[rows] for sample in samples)
        data = [sample[~np.isnan(sample)].reshape(-1, size) for sample, size in zip(known, sizes, strict=True)]
        found = bootstrap(
            data, statistic, axis=-1, vectorized=True, n_resamples=_RESAMPLES, method="percentile", rng=_SEED
        ).confidence_interval
        intervals[rows] = np.stack([found.low, found.high], axis=1)
    return intervals


def block_ranks(values: pd.DataFrame, better: Literal["lower", "higher"]) -> pd.DataFrame:
    """Ranks of the searchers inside each block: 1 is the best, equal values share their mean rank."""
    return values.rank(axis=1, ascending=better == "lower", na_option="bottom")


class Friedman(NamedTuple):
    """Friedman's test: chi-squared corrected for ties, and its p-value."""

    statistic: float
    p: float


def friedman(ranks: pd.DataFrame) -> Friedman:
    """Do the searchers differ at all? NaN with fewer than 3 searchers or 2 blocks.

    The p-value is that of the chi-squared distribution with k - 1 degrees of freedom: too large, so cautious, with few
    blocks (Demšar 2006, section 3.2.2).
    """
    table = ranks.to_numpy()
    if table.shape[0] < 2 or table.shape[1] < 3:
        return Friedman(np.nan, np.nan)
    if (table == table[:, :1]).all():  # the correction for ties would be 0/0
        return Friedman(0.0, 1.0)
    found = friedmanchisquare(*table.T)
    return Friedman(float(found.statistic), float(found.pvalue))


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


class SignedRank(NamedTuple):
    """Wilcoxon's signed-rank test: two-sided p-value, and the matched-pairs rank-biserial correlation."""

    p: float
    rank_biserial: float


def signed_rank(differences: NDArray[np.float64]) -> SignedRank:
    """Wilcoxon's paired test of differences [N], infinite ones included; zeros are left out, as in his paper.

    The p-value is exact for every N, with ties too, where scipy's is not: the rank sum's distribution over all 2^N
    choices of signs, built up rank by rank. The rank-biserial correlation (Kerby 2014) is the share of the rank sum
    with positive differences less the share with negative ones: 1 when all are positive, 0 when none is left.
    """
    signed = differences[differences != 0]
    if not len(signed):
        return SignedRank(1.0, 0.0)
    doubled = (2 * rankdata(np.abs(signed))).astype(int)  # tied ranks are halves
    total, positive = int(doubled.sum()), int(doubled[signed > 0].sum())
    chances = np.zeros(total + 1)  # of each rank sum
    chances[0] = 1.0
    for rank in doubled:
        with_rank = np.concatenate([np.zeros(rank), chances[:-rank]])
        chances = (chances + with_rank) / 2
    tail = float(chances[: min(positive, total - positive) + 1].sum())
    return SignedRank(min(1.0, 2 * tail), (2 * positive - total) / total)


def smallest_p(blocks: int) -> float:
    """The smallest p-value that Wilcoxon's paired test can give: all differences have the same sign."""
    return float(min(1.0, 2.0 ** (1 - blocks)))


def blocks_needed(comparisons: int) -> int:
    """Blocks from which on Wilcoxon's test can be significant at `ALPHA` after Holm's correction."""
    return next(n for n in count(1) if comparisons * smallest_p(n) <= ALPHA)


def pairwise(values: pd.DataFrame, better: Literal["lower", "higher"]) -> pd.DataFrame:
    """Wilcoxon's paired test of every two searchers, its p-values corrected by Holm's method over all of them.

    Returns:
        One row a pair. `n_lower` and `n_higher`: blocks where a's value is lower or higher than b's.
        `median_difference`: of a - b over all blocks, NaN where it is not finite. `rank_biserial`: above 0 where a is
        higher.
    """
    filled = values.fillna(np.inf if better == "lower" else -np.inf)
    rows = []
    for a, b in combinations(values.columns, 2):
        with np.errstate(invalid="ignore"):  # inf - inf: both are missing, so equal
            differences = np.nan_to_num((filled[a] - filled[b]).to_numpy(), nan=0.0, posinf=np.inf, neginf=-np.inf)
        with np.errstate(invalid="ignore"):  # the mean of inf and -inf
            median = float(np.median(differences))
        rows.append(
            {
                "searcher_a": a,
                "searcher_b": b,
                "n_blocks": len(differences),
                "n_lower": int((differences < 0).sum()),
                "n_higher": int((differences > 0).sum()),
                "median_difference": median if np.isfinite(median) else np.nan,
                **signed_rank(differences)._asdict(),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.assign(p_holm=multipletests(frame["p"].to_numpy(), method="holm")[1])
