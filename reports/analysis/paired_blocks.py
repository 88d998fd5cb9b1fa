"""Blocks of paired searches over all groups, and the measures that the searchers are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmark.text import features_kind
from reports.analysis.stats import ALPHA, Friedman, block_ranks, friedman
from reports.data.groups import Group
from reports.data.names import in_order
from reports.data.quantities import PANEL_METRICS, TRAIN_FLOPS, Quantity

# The mean of a searcher's ranks by the four decision metrics inside a block; metrics that nobody has do not count.
OVERALL = Quantity("overall_rank", "overall score", "mean rank")
_BLOCK = ["slug", "seed"]
MOST_TABLES = 500  # of one number of searchers, in the search for the largest: 462 is 6 of 11


@dataclass(frozen=True)
class Measure:
    """What the searchers are compared by: `values` [blocks, searchers], NaN where a search lacks its value."""

    quantity: Quantity
    label: str
    values: pd.DataFrame

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Ranks inside each block, 1 for the best."""
        return block_ranks(self.values, self.quantity.better)

    @cached_property
    def friedman(self) -> Friedman:
        """Friedman's test over the blocks."""
        return friedman(self.ranks)

    @property
    def differs(self) -> bool:
        """True where Friedman's test finds that the searchers differ."""
        return self.friedman.p < ALPHA


@dataclass(frozen=True)
class Blocks:
    """The part of the searches that makes a table without gaps: a block is a group and a seed.

    status: done, running, failed or not run, of every block [group's slug, seed] and searcher with a search at all.
    searches: the finished searches of `searchers` in `blocks`; `titles`: a group's title by its slug.
    """

    status: pd.DataFrame
    searchers: tuple[str, ...]
    blocks: tuple[tuple[str, float], ...]
    searches: pd.DataFrame
    titles: dict[str, str]

    def values(self, column: str) -> pd.DataFrame:
        """Arranges one measured column as [blocks, searchers].

        A searcher that finished a seed more than once, with other settings or on another device, has the mean.
        """
        table = self.searches.pivot_table(column, _BLOCK, "searcher", aggfunc="mean", dropna=False)
        return table.reindex(index=pd.MultiIndex.from_tuples(self.blocks, names=_BLOCK), columns=list(self.searchers))

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The overall score, the four decision metrics on the test split and training FLOPs.

        Each is over the blocks that have it. A Frechet distance is a measure of its own for each kind of features.
        """
        metrics = [measure for quantity in PANEL_METRICS for measure in self._metric(quantity)]
        ranks = pd.concat([measure.ranks for measure in metrics]) if metrics else pd.DataFrame()
        overall = ranks.groupby(level=_BLOCK).mean() if metrics else ranks
        flops = self.values(TRAIN_FLOPS.column).dropna(how="all")
        measures = [Measure(OVERALL, OVERALL.label, overall), *metrics, Measure(TRAIN_FLOPS, TRAIN_FLOPS.label, flops)]
        return tuple(measure for measure in measures if len(measure.values))

    def _metric(self, quantity: Quantity) -> list[Measure]:
        values = self.values(quantity.tested).dropna(how="all")
        if not quantity.is_fid:
            return [Measure(quantity, quantity.label, values)]
        features = self.searches.groupby(_BLOCK)["fid_features"].first().map(features_kind).reindex(values.index)
        return [
            Measure(quantity, f"{quantity.label} ({name or 'unknown'} features)", of_features)
            for name, of_features in values.groupby(features, sort=True)
        ]


def complete_blocks(groups: Sequence[Group]) -> Blocks:
    """Chooses the searchers and blocks to compare: the table without gaps that has the most pairs of searches.

    Prefers two blocks with two searchers to any single block, and of equal tables the one with more searchers.
    """
    rows = pd.concat([group.searches.assign(slug=group.slug) for group in groups], ignore_index=True)
    order = {"done": 0, "running": 1, "failed": 2}
    best = rows.assign(order=rows["status"].map(order)).sort_values("order", kind="stable")
    status = best.groupby([*_BLOCK, "searcher"])["status"].first().unstack().fillna("not run")
    status = status[in_order(status.columns)]
    searchers, blocks = _table(status == "done")
    done = rows[(rows["status"] == "done") & rows["searcher"].isin(searchers)]
    inside = done[pd.MultiIndex.from_frame(done[_BLOCK]).isin(blocks)] if blocks else done
    return Blocks(status, searchers, blocks, inside, {group.slug: group.title for group in groups})


def _table(finished: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, float], ...]]:
    """Searchers and blocks of the largest table; both empty where nothing is finished."""
    names = sorted(finished.columns)
    done = finished[names].to_numpy(dtype=bool)  # [blocks, searchers]
    chosen = largest_table(done)
    if not chosen.any():
        return (), ()
    shared = done[:, chosen].all(axis=1)
    searchers = [name for name, is_in in zip(names, chosen, strict=True) if is_in]
    return tuple(in_order(searchers)), tuple(finished.index[np.flatnonzero(shared)])


def largest_table(done: np.ndarray, most: int = MOST_TABLES) -> np.ndarray:
    """Finds the searchers, bool [N], of the largest table without gaps; done: bool [blocks, N], N > 0.

    All are False where nothing is done. Tables grow by one searcher at a time, and only the `most` largest of each size
    are kept. With up to 11 searchers that is every table, so the answer is the best one; in general the problem is
    NP-hard.
    """
    patterns, n_blocks = np.unique(done, axis=0, return_counts=True)
    each = np.eye(done.shape[1], dtype=bool)
    best, tables = np.zeros_like(each[:1]), each
    while len(tables):
        tables = _largest_first(tables, patterns, n_blocks)[:most]
        best = np.concatenate([best, tables[:1]])
        tables = (tables[:, None] | each)[~tables]  # [T, N, N], of these where the searcher is new
    chosen: np.ndarray = _largest_first(best, patterns, n_blocks)[0]
    return chosen


def _largest_first(tables: np.ndarray, patterns: np.ndarray, n_blocks: np.ndarray) -> np.ndarray:
    """Sorts the distinct tables, bool [T, N], that some block fills: most pairs of searches first, then most searchers.

    Of equal tables the one without the first name comes first. patterns: bool [P, N], which `n_blocks` [P] blocks have.
    """
    packed = np.ascontiguousarray(np.packbits(tables, axis=1))  # as bytes they sort fast, and by the names
    tables = tables[np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True)[1]]
    gaps = tables.astype(np.float32) @ (~patterns.T).astype(np.float32)  # [T, P]: searchers that the block lacks
    blocks = (gaps == 0) @ n_blocks
    searchers = tables.sum(axis=1)
    pairs = searchers * (searchers - 1) // 2
    order = np.lexsort([-searchers, -blocks * pairs, ~((blocks > 1) & (pairs > 0))])
    found: np.ndarray = tables[order[blocks[order] > 0]]
    return found
