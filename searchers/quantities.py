"""What is measured of a model, and the numbers by which all packages read it: each is written here alone.

It loads neither torch nor pandas, so that the command line and the reports can import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from searchers.parts.ranges import NotNegative

if TYPE_CHECKING:
    import pandas as pd

LAST_EPOCHS = 5  # a training's value of a metric is the mean over so many of its last epochs
ACTIVE = 0.01  # a latent is active if the variance of its posterior mean over the data is above this (1509.00519, 5.2)

# The columns of `ResultsStore.epochs()` that measure a model, on validation data.
METRICS = (
    *("recon_nll", "recon_sse", "kl", "elbo", "fid_recon", "fid_gen"),
    *("silhouette", "silhouette_labels", "active_units"),
)
# Those of an assessment, by repeated draws, and with them those of one on the test split: `test_...` of `searches()`.
FINAL_METRICS = (*METRICS, "kid_gen", "silhouette_excess")
TEST_METRICS = (*FINAL_METRICS, "iwae")
# Those of rows of a table alone; for images they are missing.
ROW_METRICS = ("r2",)
# The metrics whose standard error over the draws is known: `..._error`.
DRAWN_METRICS = ("recon_nll", "recon_sse", "elbo", "fid_recon", "kid_gen", "silhouette")
HIGHER_IS_BETTER = frozenset({"elbo", "iwae", "silhouette", "silhouette_labels", "silhouette_excess", "r2"})


@dataclass(frozen=True)
class Weights:
    """How much each validation metric's rank counts in the choice ("favour one quality", 2312.06280, section 6).

    others: of a user's own metrics, by their names.
    """

    fid_recon: NotNegative = 1.0
    fid_gen: NotNegative = 1.0
    recon_nll: NotNegative = 1.0
    silhouette: NotNegative = 1.0
    others: Mapping[str, NotNegative] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(self.by_metric().values()):
            raise ValueError("weights are all 0; expected one above 0")

    def by_metric(self) -> dict[str, float]:
        """The weight of each metric by its name."""
        own = {name: value for name, value in asdict(self).items() if name != "others"}
        return {**own, **self.others}


DECISION_METRICS = tuple(Weights().by_metric())  # what the choice among trainings weighs


def is_stable(values: pd.Series[float]) -> bool:
    """Whether a column of a training's rows has one value in each of the last 5 epochs."""
    last = values.tail(LAST_EPOCHS)
    return len(last) == LAST_EPOCHS and last.nunique() == 1


def last_means(history: pd.DataFrame, metrics: Iterable[str] = DECISION_METRICS) -> dict[str, float]:
    """The mean of each metric over the last 5 epochs of a training's rows; NaN where one of those is."""
    return {metric: float(history[metric].tail(LAST_EPOCHS).mean(skipna=False)) for metric in metrics}
