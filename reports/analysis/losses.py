"""What a group's searches lose against the grid search of their seed, in parts of all that latents are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.data.groups import Group
from reports.data.names import is_size_only
from reports.data.quantities import ELBO

FAILED = 1.0  # the loss of a failed search: that of a model without latents


def counted(group: Group) -> pd.DataFrame:
    """The searches that count: of the full scale, finished or failed.

    Of several with one seed (other settings, another device) the finished one whose id comes first counts, whatever
    its values.
    """
    searches = group.searches
    scale = pd.to_numeric(searches.reindex(columns=["scale"])["scale"]).fillna(1.0)
    rows = searches[(scale == 1.0) & searches["status"].isin(["done", "failed"])]
    rows = rows.sort_values(["status", "search_id"])  # `done` before `failed`
    return rows.drop_duplicates(["searcher", "seed"])


@dataclass(frozen=True)
class Losses:
    """Test losses L = -ELBO (nats/image) of a group's searches that count.

    grid: the grid search that the others are compared with. no_latents: L of the best model without latents. best: the
    lowest mean over seeds of a size that the grid trained; without such values, of what a searcher handed over.
    values: [seeds, searchers], NaN for a failed search and one without an ELBO; `ran`: where there is a search at all.
    """

    grid: str
    no_latents: float
    best: float
    values: pd.DataFrame
    ran: pd.DataFrame

    @property
    def gap(self) -> float:
        """What latents are worth, nats/image; NaN where it is unknown or not positive."""
        gap = self.no_latents - self.best
        return gap if gap > 0 else math.nan

    def against_grid(self, searcher: str) -> pd.Series[float]:
        """A searcher's losses by seed: L less the grid's L of that seed, in parts of the gap.

        Of the seeds whose grid search has an L; a searcher's failure there counts `FAILED`.
        """
        of_grid = self.values[self.grid].dropna()
        seeds = of_grid.index[self.ran.loc[of_grid.index, searcher]]
        differences: pd.Series[float] = (self.values.loc[seeds, searcher] - of_grid[seeds]) / self.gap
        return differences.fillna(FAILED)

    def failed(self, searcher: str) -> int:
        """Counts the failures among those losses."""
        seeds = self.against_grid(searcher).index
        return int(self.values.loc[seeds, searcher].isna().sum())


def losses_of(group: Group) -> Losses | None:
    """The losses of a group; None without a finished grid search, or where nothing says what latents are worth."""
    rows = counted(group)
    rows = rows.assign(loss=(-rows[ELBO.tested]).where(rows["status"] == "done"), ran=True)
    values = rows.pivot(index="seed", columns="searcher", values="loss").astype(float)
    ran = rows.pivot(index="seed", columns="searcher", values="ran").notna()
    grid = next((name for name in group.grids if name in values and values[name].notna().any()), None)
    if grid is None:
        return None
    of_grid = rows.loc[rows["searcher"] == grid, "search_id"]
    best = _best_mean(grid_trainings(group, ELBO.column, of_grid) * -1)
    if math.isnan(best):
        best = _best_mean(values[[name for name in map(str, values) if not is_size_only(name)]])
    done = rows[rows["status"] == "done"]
    no_latents = float(done.groupby("seed")["no_latents_nll"].mean().mean())
    found = Losses(grid, no_latents, best, values, ran)
    return None if math.isnan(found.gap) else found


def grid_trainings(group: Group, column: str, searches: pd.Series[str]) -> pd.DataFrame:
    """Test values [seeds, sizes] of a metric of all finished trainings of some grid searches, one a seed."""
    curves = group.curves
    rows = curves[(curves["split"] == "test") & curves["search_id"].isin(searches)]
    return rows.pivot_table(column, "seed", "size", aggfunc="mean", dropna=False).astype(float)


def seed_levels(trainings: pd.DataFrame) -> pd.Series[float]:
    """How far each seed's values lie above the others', mean over the sizes that all have; trainings: [seeds, sizes].

    Seeds have other test images: with their levels taken off, sizes compare as inside a seed. 0 where it is unknown.
    """
    level = trainings.dropna(axis="columns").mean(axis=1)
    return (level - level.mean()).fillna(0.0)


def retraining_sd(trainings: pd.DataFrame) -> float:
    """Standard deviation of the difference of two trainings of one size in one seed; NaN below two seeds or sizes.

    From what the levels of seeds and sizes leave over of the losses [seeds, sizes] of the better half of the sizes.
    """
    complete = trainings.dropna(axis="columns")
    better = complete.mean().nsmallest(max(2, math.ceil(len(complete.columns) / 2))).index
    values = complete[better].to_numpy()
    free = math.prod(n - 1 for n in values.shape)
    if free < 1:
        return math.nan
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return math.sqrt(2 * float((rest**2).sum()) / free)


def _best_mean(values: pd.DataFrame) -> float:
    """The lowest mean of a column [seeds, columns]; columns without gaps come before the others."""
    for means in (values.mean(skipna=False), values.mean()):
        if means.notna().any():
            return float(np.nanmin(means))
    return math.nan
