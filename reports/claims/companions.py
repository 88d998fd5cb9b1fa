"""The numbers beside a verdict: spread, new data sets, other tests of the same losses, blocks alone, power."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import nct, t

from reports.analysis.effects import CONFIDENCE, Effect, effect, holm, p_below
from reports.claims.claim import Claim
from reports.claims.evidence import BlockEvidence, Evidence

ALPHA = 0.05


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the loss in parts of the gap.

    seeds: of a seed's loss inside a block, pooled, with its degrees of freedom. units: of the sample that is tested
    (data sets' means, or seeds). between: of data sets beyond what seeds explain; NaN for one data set.
    """

    seeds: float
    seeds_df: int
    units: float
    between: float


def spread(evidence: Evidence) -> Spread:
    """The standard deviations behind a verdict."""
    losses = {block.name: list(block.losses().values()) for block in evidence.blocks}
    df = sum(len(values) - 1 for values in losses.values())
    squares = sum(float(np.var(values)) * len(values) for values in losses.values())
    units = list(evidence.units(BlockEvidence.losses).values())
    sd = float(np.std(units, ddof=1)) if len(units) > 1 else math.nan
    between = math.nan
    if len(evidence.datasets) > 1:
        noise = []
        for dataset in evidence.datasets:
            own = [losses[block.name] for block in evidence.blocks if block.dataset == dataset]
            noise.append(sum(float(np.var(values, ddof=1)) / len(values) for values in own) / len(own) ** 2)
        between = math.sqrt(max(0.0, sd**2 - float(np.mean(noise))))
    return Spread(math.sqrt(squares / df) if df else math.nan, df, sd, between)


def without_each(units: Mapping[str, float]) -> dict[str, Effect]:
    """The effect without each data set or seed in turn."""
    return {name: effect([value for other, value in units.items() if other != name]) for name in units}


def equivalent_both_ways(units: Mapping[str, float], margin: float) -> bool:
    """Two one-sided tests at 5 %: the 90 % interval lies within the margin on both sides."""
    found = effect(list(units.values()), confidence=1 - 2 * ALPHA)
    return -margin < found.low and found.high < margin


@dataclass(frozen=True)
class BlockTest:
    """The one-sided t-test of a block's mean loss, paired by seed, against the margin. p_holm: over the blocks."""

    mean: float
    p: float
    p_holm: float


def block_tests(claim: Claim, evidence: Evidence) -> dict[str, BlockTest]:
    """Each block alone; p is 1 where its losses have no interval."""
    losses = [list(block.losses().values()) for block in evidence.blocks]
    means = [float(np.mean(values)) for values in losses]
    ps = [1.0 if math.isnan(p := p_below(values, claim.margin)) else p for values in losses]
    rows = zip(evidence.blocks, means, ps, holm(ps), strict=True)
    return {block.name: BlockTest(mean, p, p_holm) for block, mean, p, p_holm in rows}


def power(true_loss: float, margin: float, sd: float, n: int) -> float:
    """The chance that n data sets (or seeds) with this sd pass the test of quality where the loss is `true_loss`."""
    if n < 2 or not sd > 0:
        return math.nan
    df = n - 1
    critical = float(t.ppf((1 + CONFIDENCE) / 2, df))
    return float(nct.cdf(-critical, df, (true_loss - margin) / (sd / math.sqrt(n))))
