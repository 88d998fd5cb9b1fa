"""The methods over several data sets, which are the sample: seeds and networks of one data set are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from reports.analysis.effects import MARGIN, Effect, new_interval, sign_flips
from reports.analysis.stats import p_text
from reports.analysis.verdicts import WITHIN, Decision, Verdict, decide, percent, shown_text
from reports.data.groups import Group
from reports.data.names import dataset_label, in_order, label


class Compared(NamedTuple):
    """A group with its verdicts."""

    group: Group
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Across:
    """One method over data sets; losses in parts of each one's gap, above 0 is worse than the grid.

    losses: by data set. effect: their mean with the t-interval over data sets. tau: their standard deviation, the
    seeds' noise in it. new: the interval for a data set that is not among them. without_one: the lowest and highest
    mean where one data set is left out. p: of exact sign flips, two-sided. comparisons: methods that are compared so.
    """

    searcher: str
    losses: pd.Series[float]
    decision: Decision
    tau: float
    new: tuple[float, float]
    without_one: tuple[float, float]
    p: float
    comparisons: int

    @property
    def effect(self) -> Effect:
        """The mean over data sets."""
        return self.decision.effect

    @property
    def sentence(self) -> str:
        """What the data sets show together."""
        n, found, values = len(self.losses), self.effect, self.losses
        worst = str(values.idxmax())
        better, above = int((values < -MARGIN).sum()), int((values > MARGIN).sum())
        return (
            f"{label(self.searcher)} over {n} data sets: its loss against the grid is {percent(found.mean)} of what "
            f"latents are worth (95 %: {percent(found.low)} to {percent(found.high)}): "
            f"{shown_text(self.decision, self.comparisons)}. Better by more than {WITHIN} in {better}, within it in "
            f"{n - better - above}, worse by more in {above}; worst {dataset_label(worst)} ({percent(values[worst])}). "
            f"Standard deviation between data sets {percent(self.tau)}, so for a new one {percent(self.new[0])} to "
            f"{percent(self.new[1])}; without any one of them {percent(self.without_one[0])} to "
            f"{percent(self.without_one[1])}; sign flips {p_text(self.p)}."
        )


def across(compared: Sequence[Compared]) -> list[Across]:
    """Every method that was compared with the grid on two data sets or more."""
    rows = [(one.group.dataset, v.searcher, v.effect.mean) for one in compared for v in one.verdicts]
    frame = pd.DataFrame(rows, columns=["dataset", "searcher", "loss"])
    means = frame.groupby(["searcher", "dataset"])["loss"].mean()
    losses = {name: means[name] for name in in_order(frame["searcher"]) if len(means[name]) > 1}
    decisions = decide({name: values.tolist() for name, values in losses.items()}, dict.fromkeys(losses, math.nan), 0.0)
    return [_across(name, values, decisions[name], len(losses)) for name, values in losses.items()]


def _across(name: str, losses: pd.Series[float], decision: Decision, comparisons: int) -> Across:
    values = losses.to_numpy()
    n, tau = len(values), float(values.std(ddof=1))
    new = new_interval(float(values.mean()), tau, tau, n)
    others = (values.sum() - values) / (n - 1)
    without_one = float(others.min()), float(others.max())
    return Across(name, losses, decision, tau, new, without_one, sign_flips(values.tolist()), comparisons)


def across_rows(found: Sequence[Across]) -> list[dict[str, object]]:
    """Rows of `verdicts.csv` over data sets, which their columns leave blank."""
    return [
        {
            **{"searcher": one.searcher, "n_datasets": len(one.losses)},
            **{"loss": one.effect.mean, "loss_low": one.effect.low, "loss_high": one.effect.high},
            **{"shown": one.decision.shown, "recommended": False, "sentence": one.sentence},
        }
        for one in found
    ]
