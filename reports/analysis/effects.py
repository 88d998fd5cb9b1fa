"""The difference of two methods with its interval, and what it shows: worse, equivalent within a margin, or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import permutation_test

Shown = Literal["worse", "equivalent", "not shown"]

CONFIDENCE = 0.95
MOST_FLIPS = 2**16  # choices of signs, all of them with up to 16 values
FEW_SEEDS = 6  # with fewer, seeds are drawn one by one and their line is a range
SIZE_RATIO = 1.5  # a method whose sizes are larger than so many times the grid's has not found what the grid found
MARGIN = 0.05  # of the gap, which is what latents are worth over none: the loss that two methods may differ by


@dataclass(frozen=True)
class Effect:
    """The mean of n paired differences, ours less theirs, with its two-sided t-interval; above 0 is worse.

    low and high are NaN for fewer than two values and for a few that are all equal (two methods that handed over the
    same models, which says little of other seeds), and infinite where a difference is not finite.
    """

    n: int
    mean: float
    low: float
    high: float

    def shown(self, margin: float) -> Shown:
        """`equivalent`: the loss is shown to be below the margin (it may be a gain). `worse`: shown to be above 0."""
        if self.high < margin:
            return "equivalent"
        return "worse" if self.low > 0 else "not shown"


def effect(differences: Sequence[float], confidence: float = CONFIDENCE) -> Effect:
    """The effect of paired differences, one for each seed of a data set or one for each data set."""
    values = np.asarray(differences, dtype=float)
    n, mean = len(values), float(values.mean()) if len(values) else math.nan
    if not np.isfinite(values).all():
        return Effect(n, mean, -math.inf, math.inf)
    if n < 2 or (n < FEW_SEEDS and np.ptp(values) == 0):
        return Effect(n, mean, math.nan, math.nan)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Effect(n, mean, mean - half, mean + half)


def new_interval(mean: float, between: float, sd: float, n: int) -> tuple[float, float]:
    """The 95 % interval for a data set that is not among these n, whose values have this mean and sd.

    between: standard deviation of data sets, without the noise of their own values where that is known.
    """
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(between**2 + sd**2 / n)
    return mean - half, mean + half


def p_below(differences: Sequence[float], limit: float) -> float:
    """One-sided p-value for a mean below the limit, by the t-test of `effect`'s interval; NaN where that has none.

    At 2.5 % it says what the upper end of the 95 % interval says. 1 where a difference is not finite.
    """
    found = effect(differences)
    if not math.isfinite(found.mean):
        return 1.0 if found.n else math.nan
    if math.isnan(found.low):
        return math.nan
    error = float(np.std(differences, ddof=1)) / math.sqrt(found.n)
    if error == 0:
        return 0.0 if found.mean < limit else 1.0
    return float(stdtr(found.n - 1, (found.mean - limit) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's method (1979), in the order given."""
    n = len(p_values)
    corrected, highest = [1.0] * n, 0.0
    for place, i in enumerate(sorted(range(n), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (n - place) * p_values[i]))
        corrected[i] = highest
    return corrected


def sign_flips(values: Sequence[float], alternative: Literal["two-sided", "less"] = "two-sided") -> float:
    """P-value of a mean of 0 where every sign is as likely as the other, at least 2^-n; exact for up to 16 values.

    It needs symmetric values where the t-test needs normal ones.
    """
    found = permutation_test(
        (np.asarray(values, dtype=float),),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        alternative=alternative,
        n_resamples=MOST_FLIPS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
