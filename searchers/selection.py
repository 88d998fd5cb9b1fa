"""From finished trainings to a chosen size. Pure functions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from searchers.base import Choice, Trial
from searchers.parts.ranges import NotNegative

LAST_EPOCHS = 5


@dataclass(frozen=True)
class Weights:
    """How much each validation metric's rank counts in the choice ("favour one quality", 2312.06280, section 6)."""

    fid_recon: NotNegative = 1.0
    fid_gen: NotNegative = 1.0
    recon_nll: NotNegative = 1.0
    silhouette: NotNegative = 1.0

    def __post_init__(self) -> None:
        if not any(asdict(self).values()):
            raise ValueError("weights are all 0; expected one above 0")


METRICS = tuple(asdict(Weights()))
HIGHER_IS_BETTER = frozenset({"silhouette"})


def final_metrics(history: pd.DataFrame) -> dict[str, float]:
    """The mean of each metric over a training's last 5 epochs."""
    return {metric: float(history[metric].tail(LAST_EPOCHS).mean(skipna=False)) for metric in METRICS}


def costs(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial (index: its number), one column a metric, all turned so that lower is better."""
    rows = [final_metrics(trial.history) for trial in trials]
    table = pd.DataFrame(rows, index=[trial.number for trial in trials], columns=list(METRICS))
    return table.assign(**{metric: -table[metric] for metric in HIGHER_IS_BETTER})


def mean_ranks(costs: pd.DataFrame, weights: Weights) -> pd.Series:
    """Weighted mean over the metrics of each row's rank (1 is best, ties share their mean; NaN ranks last)."""
    ranks = costs.rank(method="average", na_option="bottom")
    w = pd.Series(asdict(weights))[list(costs.columns)]
    return (ranks * w).sum(axis=1) / w.sum()


def pareto_front(costs: pd.DataFrame) -> tuple[int, ...]:
    """Index labels of the rows that no other row dominates; a row with NaN is never among them."""
    valid = costs.dropna()
    values = valid.to_numpy()
    no_worse = (values[:, None] <= values[None]).all(axis=2)  # [i, j]: i is nowhere worse than j
    better = (values[:, None] < values[None]).any(axis=2)
    dominated: np.ndarray = np.any(no_worse & better, axis=0)
    return tuple(int(number) for number, out in zip(valid.index, dominated, strict=True) if not out)


def choose(trials: Sequence[Trial], weights: Weights) -> Choice:
    """The trial of the lowest mean rank over the validation metrics; ties go to the smaller size, then the earlier.

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
