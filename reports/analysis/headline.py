"""What a group's results say, in plain sentences: the best searcher where there is one, and each against the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.analysis.comparison import active_range, mean_sd, ratio, stat
from reports.analysis.paired_blocks import OVERALL, complete_blocks
from reports.analysis.stats import FEW_SEEDS
from reports.data.groups import Group
from reports.data.names import counted, in_order, label
from reports.data.numbers import scaled
from reports.data.quantities import RECON_NLL, TRAIN_FLOPS, WALL_SECONDS, Quantity

DOUBTFUL = {  # counts of the comparison, and what they count
    "n_collapsed": "have collapsed",
    "n_still_learning": "were still learning",
    "n_worse_than_pca": "are worse than PCA",
}


@dataclass(frozen=True)
class Interval:
    """Mean of n values and its 95 % t-interval, NaN for a single value.

    The figures have bootstrap intervals instead. With as few values as there are seeds they are too narrow to claim by.
    """

    n: int
    mean: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """True unless both intervals are known and apart."""
        return not (self.high < other.low or other.high < self.low)


@dataclass(frozen=True)
class Headline:
    """`lead` names the best searcher or says why none can be; then a sentence a searcher, and what to be careful of."""

    title: str
    lead: str
    searchers: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def headline(group: Group, rows: pd.DataFrame, cautions: Sequence[str]) -> Headline:
    """The sentences of one group; `rows` is its part of the comparison, `cautions` go to the notes."""
    means = {str(row["searcher"]): row for _, row in rows.iterrows()}
    told = tuple((searcher, _sentence(group, searcher, means[searcher])) for searcher in group.searchers)
    lead = _lead(group, means) + _doubtful(rows)
    return Headline(group.title, lead, told, (*_unfinished(group), *cautions))


def interval(values: pd.Series[float]) -> Interval:
    """Computes the interval of the values that are not NaN."""
    from scipy.stats import t

    known = values.dropna()
    mean, sd = mean_sd(known)
    half = float(t.ppf(0.975, len(known) - 1)) * sd / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return Interval(len(known), mean, mean - half, mean + half)


def _lead(group: Group, means: dict[str, pd.Series]) -> str:
    """Names the searcher of the best mean rank over the decision metrics, in the seeds that the compared ones share."""
    if (group.searches["status"] != "done").all():
        return "No search has finished yet: nothing can be said about quality or cost."
    blocks = complete_blocks([group])
    scores = next((measure.values for measure in blocks.measures if measure.quantity == OVERALL), pd.DataFrame())
    if len(blocks.searchers) < 2 or scores.empty:
        return "No two searchers have finished the same seed with test metrics: there is nothing to compare."
    of = {name: interval(scores[name]) for name in blocks.searchers}
    ranked = sorted(of, key=lambda name: of[name].mean)
    best, n = ranked[0], len(scores)
    among = f"mean rank over the test metrics ({of[best].mean:.1f} of {len(ranked)} searchers, 1 is best)"
    tied = [name for name in ranked if of[name].overlaps(of[best])]
    if n < FEW_SEEDS:
        seeds = "a single seed is" if n == 1 else f"{n} seeds are"
        text = f"{label(best)} has the lowest {among}, but {seeds} too few for a claim."
    elif len(tied) > 1:
        text = (
            f"{_listed(tied)} tie for the best mean rank over the test metrics: the 95 % intervals over {n} seeds "
            f"overlap. {_cheapest([means[name] for name in tied], group.grids[:1])}"
        )
    else:
        text = (
            f"{label(best)} has the best {among}; the next is {label(ranked[1])} ({of[ranked[1]].mean:.1f}), and "
            f"their 95 % intervals over {n} seeds do not overlap. What the paired tests support is said below."
        )
    left_out = [name for name in group.searchers if name not in of]
    return text + (f" Not ranked, for want of finished seeds: {', '.join(map(label, left_out))}." if left_out else "")


def _doubtful(rows: pd.DataFrame) -> str:
    """Names the searchers some of whose models have collapsed or not learned."""
    said = []
    for column, what in DOUBTFUL.items():
        found = rows[rows[column] > 0]
        named = [f"{label(row['searcher'])} {row[column]:g} of {row['n_done']}" for _, row in found.iterrows()]
        said += [f"{what} ({', '.join(named)})"] if named else []
    return f" Careful: models {', '.join(said)}; the notes below name them." if said else ""


def _cheapest(rows: Sequence[pd.Series], grid: Sequence[str]) -> str:
    """Names the searcher that needs the fewest training FLOPs, as a multiple of the grid's where there is a grid."""
    known = [row for row in rows if np.isfinite(row[stat(TRAIN_FLOPS, "mean")])]
    if not known:
        return ""
    row = min(known, key=lambda row: float(row[stat(TRAIN_FLOPS, "mean")]))
    multiple = ratio(row, TRAIN_FLOPS) if row["searcher"] not in grid else ""
    of_grid = f", at {multiple} the grid’s" if multiple else ""
    return f"Of these {label(row['searcher'])} trains with the fewest FLOPs{of_grid}."


def _sentence(group: Group, searcher: str, row: pd.Series) -> str:
    done = group.of(searcher, "done")
    if done.empty:
        return f"{label(searcher)} has no finished search ({group.unfinished(searcher)})."
    text = f"{label(searcher)} found {_sizes(row)}"
    reference = next(iter(group.grids), None)
    if reference in (None, searcher):
        known = " and ".join(filter(None, (_amount(row, cost) for cost in (TRAIN_FLOPS, WALL_SECONDS))))
        without = "" if reference else "; there is no finished grid search to compare it with"
        return f"{text}{f', for {known} a search' if known else ''}{without}."
    names = ((TRAIN_FLOPS, "the grid’s training cost (FLOPs)"), (WALL_SECONDS, "its wall-clock"))
    known = " and ".join(f"{ratio(row, cost)} {name}" for cost, name in names if ratio(row, cost))
    comma = "," if text.endswith(" in use") else ""
    return f"{text}{f'{comma} at {known}' if known else ''}; {_difference(done, group.of(reference, 'done'))}."


def _sizes(row: pd.Series) -> str:
    median, low, high = (row[f"latent_dim_{name}"] for name in ("median", "min", "max"))
    seeds = f"{row['n_done']} seed{'s' if row['n_done'] > 1 else ''}"
    if not np.isfinite(median):
        return f"a latent size that was not recorded ({seeds})"
    latents = f"{median:g} latent{'' if median == 1 else 's'}"
    in_use = f", {active_range(row)} in use" if np.isfinite(row["active_units_median"]) else ""
    if low != high:
        return f"{latents} ({low:g}–{high:g} over {seeds}){in_use}"
    return (f"{latents} in each of {seeds}" if row["n_done"] > 1 else f"{latents} (one seed)") + in_use


def _amount(row: pd.Series, cost: Quantity) -> str:
    mean = row[stat(cost, "mean")]
    divisor, unit = scaled(cost.column, mean)
    name = "training" if cost == TRAIN_FLOPS else cost.label
    return f"{mean / divisor:.3g} {unit} of {name}" if np.isfinite(mean) else ""


def _difference(done: pd.DataFrame, grid: pd.DataFrame) -> str:
    """Compares the NLL with the grid's, and says so where the spread of the seeds could explain the difference."""
    result, reference = interval(done[RECON_NLL.tested]), interval(grid[RECON_NLL.tested])
    if not result.n or not reference.n:
        return f"{'the grid' if result.n else 'it'} has no test {RECON_NLL.label}"
    by = result.mean - reference.mean
    said = f"{abs(by):#.2g} {RECON_NLL.unit} {'above' if by > 0 else 'below'}" if by else "equal to"
    text = f"its test {RECON_NLL.label} is {said} the grid’s"
    if min(result.n, reference.n) < FEW_SEEDS:
        return f"{text} (too few seeds for a claim)"
    return f"{text}, which is within the seeds’ spread" if by and result.overlaps(reference) else text


def _unfinished(group: Group) -> list[str]:
    notes = []
    for status, note in (
        ("failed", "Some searches failed: {}. Numbers are of the finished ones only, which may flatter a searcher."),
        ("running", "Some searches are still running: {}. The results may change."),
    ):
        searchers = group.searches.loc[group.searches["status"] == status, "searcher"]
        notes += [note.format(counted(searchers))] if len(searchers) else []
    return notes


def _listed(searchers: Sequence[str]) -> str:
    labels = [label(name) for name in in_order(searchers)]
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
