"""From finished trainings to a chosen size. Pure functions."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from searchers.base import Choice, Trial
from searchers.parts.pareto import on_front
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER, LAST_EPOCHS, Weights, last_means


def costs(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial (index: its number) and one column per metric, with signs such that lower is better."""
    rows = [last_means(trial.history) for trial in trials]
    table = pd.DataFrame(rows, index=[trial.number for trial in trials], columns=list(DECISION_METRICS))
    return table.assign(**{metric: -table[metric] for metric in DECISION_METRICS if metric in HIGHER_IS_BETTER})


def mean_ranks(costs: pd.DataFrame, weights: Weights) -> pd.Series:
    """Each row's rank, as the weighted mean over the metrics. 1 is best, ties share their mean rank, NaN is last."""
    ranks = costs.rank(method="average", na_option="bottom")
    w = pd.Series(asdict(weights))[list(costs.columns)]
    return (ranks * w).sum(axis=1) / w.sum()


def pareto_front(costs: pd.DataFrame) -> tuple[int, ...]:
    """Index labels of the rows that no other row dominates; a row with NaN is never among them."""
    valid = costs.dropna()
    return tuple(int(number) for number in valid.index[on_front(valid.to_numpy())])


def choose(trials: Sequence[Trial], weights: Weights) -> Choice:
    """Chooses the trial with the lowest mean rank over the validation metrics.

    Ties go to the smaller size, then to the earlier trial.

    A metric that no trial has (the silhouette of very few images) does not count. Raises ValueError where there is no
    trial, or none with finite metrics.
    """
    table = costs(trials).dropna(axis=1, how="all")
    counted = sum(asdict(weights)[metric] for metric in table.columns)
    if not counted or not np.isfinite(table.to_numpy()).all(axis=1).any():
        raise ValueError(f"none of {len(trials)} trainings has finite metrics in its last {LAST_EPOCHS} epochs")
    ranks = mean_ranks(table, weights)
    best = min(trials, key=lambda trial: (ranks[trial.number], trial.latent_dim, trial.number))
    return Choice(best, pareto=pareto_front(table))
