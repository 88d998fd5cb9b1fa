"""From assessed sizes to a chosen one, by the rule in force. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from searchers.base import Assessment, Choice, Evidence, Problem, Trial
from searchers.parts.pareto import on_front
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER, Weights
from searchers.rule import ChoiceRule

ONE_SIDED = 1.645  # standard errors of a one-sided 95 % limit
TIE = 0.05  # of a metric's range over the sizes: values closer than that tie
NOISE = 2  # standard errors of a difference: values closer than that tie
WORSE_SAMPLES = 0.25  # of the reference's KID: trainings of one size differ by a tenth
RESAMPLES = 300
LEAST_SHARE = 0.05  # of the resamplings: a size that fewer choose is not as good

Array = NDArray[np.float64]


class Pick(NamedTuple):
    """The place of the chosen assessment, the sizes that are as good, and what speaks for them."""

    place: int
    as_good: tuple[int, ...]
    evidence: Evidence


def choose(problem: Problem, trials: Sequence[Trial]) -> Choice:
    """Chooses among finished trainings by the problem's rule.

    Of equal sizes the one of lower loss wins, of equal losses the earlier. Raises ValueError where there is no trial,
    or none with finite metrics.
    """
    ordered = sorted(trials, key=lambda trial: trial.number)
    found = pick([trial.assessment for trial in ordered], problem.rule, problem.no_latents_nll)
    front = pareto_front(costs(trials))
    return Choice(ordered[found.place], pareto=front, as_good=found.as_good, evidence=found.evidence)


def pick(assessments: Sequence[Assessment], rule: ChoiceRule, no_latents_nll: float, nested: bool = False) -> Pick:
    """Chooses among assessments of one split, in which one without a finite loss does not take part.

    no_latents_nll: of the same split, nats per image. nested: whether they are of one model with its first latents
    only, so that L cannot rise with the size: then the reference is the largest size, and means are fitted by a
    monotone regression. Raises ValueError where none has a finite loss, or (with `mean-rank`) finite metrics.
    """
    usable = [i for i, one in enumerate(assessments) if one.loss < math.inf]
    if rule.rule == "mean-rank" and usable:
        table = _table([assessments[i] for i in usable], rule.weights)
        usable = [i for i, known in zip(usable, table.notna().all(axis=1), strict=True) if known]
    if not usable:
        raise ValueError(f"none of {len(assessments)} trainings has finite metrics")
    usable.sort(key=lambda i: (assessments[i].size, assessments[i].loss, i))
    sizes = np.array([assessments[i].size for i in usable])
    losses = np.stack([assessments[i].losses for i in usable])  # [K, N]
    curve = _Curve(sizes, losses, no_latents_nll, nested)
    decide, redraw = _decider([assessments[i] for i in usable], curve, rule)
    place = decide(curve)
    rng = np.random.default_rng(0)
    picked = [int(sizes[redraw(rng)]) for _ in range(RESAMPLES)]
    shares = {int(size): picked.count(size) / RESAMPLES for size in np.unique(sizes)}
    has_margin = rule.rule in ("smallest-good", "tolerance")
    within = sizes[curve.loss() <= rule.margin * curve.gap] if has_margin else sizes
    as_good = sorted({int(sizes[place]), *(int(size) for size in within if shares[int(size)] >= LEAST_SHARE)})
    loss, limit = (
        float(values[place]) / curve.gap if curve.gap > 0 else math.nan for values in (curve.loss(), curve.limit())
    )
    is_shown = rule.rule != "smallest-good" or limit < rule.margin
    evidence = Evidence(rule.rule, loss, limit, curve.gap, tuple(shares[size] for size in as_good), is_shown)
    return Pick(usable[place], tuple(as_good), evidence)


class _Curve:
    """L over rising sizes. losses: [K, N], of each image."""

    def __init__(self, sizes: NDArray[np.int_], losses: Array, no_latents_nll: float, nested: bool) -> None:
        self.sizes, self.losses, self.no_latents_nll, self.nested = sizes, losses, no_latents_nll, nested
        means = losses.mean(axis=1)
        self.fit: Array = isotonic_regression(means, increasing=False).x if nested else means
        self.reference = len(sizes) - 1 if nested else int(means.argmin())
        self.gap = float(no_latents_nll - self.fit[self.reference])

    def resampled(self, rng: np.random.Generator) -> _Curve:
        """The curve on as many images, drawn with replacement."""
        rows = rng.integers(self.losses.shape[1], size=self.losses.shape[1])
        return _Curve(self.sizes, self.losses[:, rows], self.no_latents_nll, self.nested)

    def loss(self) -> Array:
        """How far each size is above the reference, [K] nats."""
        loss: Array = self.fit - self.fit[self.reference]
        return loss

    def limit(self) -> Array:
        """The upper limit of that, paired over the images; 0 for the reference itself."""
        paired = self.losses - self.losses[self.reference]
        n_images = paired.shape[1]
        spread = paired.std(axis=1, ddof=1) if n_images > 1 else np.full(len(paired), np.inf)
        limit: Array = self.loss() + ONE_SIDED * np.where(paired.any(axis=1), spread, 0) / np.sqrt(n_images)
        return limit


def _decider(
    assessments: Sequence[Assessment], curve: _Curve, rule: ChoiceRule
) -> tuple[Callable[[_Curve], int], Callable[[np.random.Generator], int]]:
    """The rule as a function of the curve, and one that redraws what the values owe to chance and decides again."""
    if rule.rule == "mean-rank":
        table = _table(assessments, rule.weights)
        errors = pd.DataFrame([one.errors for one in assessments]).reindex(columns=table.columns).fillna(0.0)

        def ranked(values: pd.DataFrame) -> int:
            return int(mean_ranks(values, rule.weights, _tie_widths(values, errors)).to_numpy().argmin())

        place = ranked(table)
        if not errors.to_numpy().any():
            return lambda _: place, lambda _: place
        return lambda _: place, lambda rng: ranked(table + errors * rng.standard_normal(table.shape))
    worse = _worse_samples(assessments, curve.reference)
    decide = {
        "smallest-good": lambda curve: _smallest_good(curve, rule.margin, worse),
        "tolerance": lambda curve: int(np.flatnonzero(curve.loss() <= rule.margin * max(curve.gap, 0))[0]),
        "knee": _knee,
    }[rule.rule]
    return decide, lambda rng: decide(curve.resampled(rng))


def _smallest_good(curve: _Curve, margin: float, worse_samples: NDArray[np.bool_]) -> int:
    """The smallest size with its limit below the margin; where only the reference's is, the smallest by its loss."""
    allowed, most = ~worse_samples, margin * max(curve.gap, 0)
    good = np.flatnonzero(allowed & (curve.limit() < most))
    if len(good) and curve.sizes[good[0]] < curve.sizes[curve.reference]:
        return int(good[0])
    near = np.flatnonzero(allowed & (curve.loss() <= most))
    return int(near[0]) if len(near) else curve.reference


def _knee(curve: _Curve) -> int:
    x, y = np.log(curve.sizes), curve.fit
    if len(set(x)) < 3:  # no size lies between two others
        return int(y.argmin())
    line = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    return int((line - y).argmax())


def _worse_samples(assessments: Sequence[Assessment], reference: int) -> NDArray[np.bool_]:
    """Whose samples have a KID above the reference's by a quarter and by more than their noise; bool [K]."""
    kid = np.array([one.metrics["kid_gen"] for one in assessments])
    errors = np.nan_to_num([one.errors["kid_gen"] for one in assessments])
    width = np.maximum(NOISE * np.hypot(errors, errors[reference]), WORSE_SAMPLES * kid[reference])
    worse: NDArray[np.bool_] = kid - kid[reference] > width  # False where one is NaN
    return worse


def _table(assessments: Sequence[Assessment], weights: Weights) -> pd.DataFrame:
    """The weighed metrics, signed such that lower is better; without those that all lack. NaN where not finite."""
    names = [name for name, weight in weights.by_metric().items() if weight]
    table = _signed(assessments, names).replace([np.inf, -np.inf], np.nan).dropna(axis=1, how="all")
    return table if len(table.columns) else table.assign(none=np.nan)


def _signed(assessments: Sequence[Assessment], names: Sequence[str]) -> pd.DataFrame:
    """One row per assessment and one column per metric, signed such that lower is better."""
    table = pd.DataFrame([one.metrics for one in assessments]).reindex(columns=list(names))
    higher = HIGHER_IS_BETTER.union(*(one.higher for one in assessments))
    return table.assign(**{name: -table[name] for name in names if name in higher})


def _tie_widths(table: pd.DataFrame, errors: pd.DataFrame) -> pd.Series:
    noise = NOISE * np.sqrt(2) * errors.median()
    widths: pd.Series = pd.concat([noise, TIE * (table.max() - table.min())], axis=1).max(axis=1)
    return widths


def mean_ranks(costs: pd.DataFrame, weights: Weights, tie_widths: pd.Series | None = None) -> pd.Series:
    """Each row's rank, as the weighted mean over the metrics. 1 is best, ties share their mean rank, NaN is last.

    costs: a column a metric, lower is better. tie_widths: for each metric, how far above the best of those that tie a
    value may be (not chained from one to the next).
    """
    tied = costs if tie_widths is None else costs.apply(lambda column: _tied(column, tie_widths[column.name]))
    ranks = tied.rank(method="average", na_option="bottom")
    w = pd.Series(weights.by_metric())[list(costs.columns)]
    mean: pd.Series = (ranks * w).sum(axis=1) / w.sum()
    return mean


def _tied(column: pd.Series, width: float) -> pd.Series:
    """Replaces each value by the best of those it ties with."""
    best, tied = -np.inf, {}
    for value in sorted(set(column.dropna())):
        best = best if value - best <= width else value
        tied[value] = best
    return column.map(tied)


def costs(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial (index: its number) and one column per decision metric, signed such that lower is better."""
    table = _signed([trial.assessment for trial in trials], DECISION_METRICS)
    return table.set_axis([trial.number for trial in trials])


def pareto_front(costs: pd.DataFrame) -> tuple[int, ...]:
    """Index labels of the rows that no other row dominates, by the metrics that some row has; never one with NaN."""
    valid = costs.dropna(axis=1, how="all").dropna()
    return tuple(int(number) for number in valid.index[on_front(valid.to_numpy())])
