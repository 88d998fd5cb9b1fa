"""Blocks of paired searches over all groups, and the measures that the searchers are ranked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmark.text import features_kind
from reports.analysis.losses import counted
from reports.analysis.stats import ALPHA, Friedman, block_ranks, friedman
from reports.data.groups import Group
from reports.data.names import in_order
from reports.data.quantities import ELBO, PANEL_METRICS, Quantity

RANKED = (ELBO, *PANEL_METRICS)
_BLOCK = ["slug", "seed"]
MOST_TABLES = 500  # of one number of searchers, in the search for the largest: 462 is 6 of 11


@dataclass(frozen=True)
class Measure:
    """What the searchers are ranked by: `values` [blocks, searchers], NaN where a search lacks its value."""

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

    searchers and blocks [group's slug, seed]: those of the table, whose searches have all finished or failed.
    searches: those searches, one a searcher and block. left_out: what else has finished or failed, (searcher, block).
    """

    searchers: tuple[str, ...]
    blocks: tuple[tuple[str, float], ...]
    searches: pd.DataFrame
    left_out: tuple[tuple[str, tuple[str, float]], ...]

    def values(self, column: str) -> pd.DataFrame:
        """Arranges one measured column as [blocks, searchers]; NaN for a failed search."""
        table = self.searches.set_index([*_BLOCK, "searcher"])[column].astype(float).unstack()
        return table.reindex(index=pd.MultiIndex.from_tuples(self.blocks, names=_BLOCK), columns=list(self.searchers))

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """The ELBO and the four decision metrics on the test split, each over the blocks that have it.

        A Frechet distance is a measure of its own for each kind of features.
        """
        measures = [measure for quantity in RANKED for measure in self._metric(quantity)] if self.blocks else []
        return tuple(measure for measure in measures if len(measure.values))

    def _metric(self, quantity: Quantity) -> list[Measure]:
        values = self.values(quantity.tested).dropna(how="all")
        if not quantity.is_fid:
            return [Measure(quantity, quantity.label, values)]
        features = self.searches.groupby(_BLOCK)["fid_features"].first().map(features_kind).reindex(values.index)
        return [
            Measure(quantity, quantity.heading(str(name)), of_features)
            for name, of_features in values.groupby(features, sort=True)
        ]


def one_of_each(groups: Sequence[Group]) -> list[Group]:
    """Of the groups of one data set and network (other protocols, other features) the one with the most that counts.

    Scaled-down runs do not count (see `counted`); of equal groups the first is taken.
    """
    found: dict[tuple[str, str], Group] = {}
    for group in sorted(groups, key=lambda group: -len(counted(group))):
        if len(counted(group)):
            found.setdefault((group.dataset, group.backbone), group)
    return [group for group in groups if any(group is one for one in found.values())]


def complete_blocks(groups: Sequence[Group]) -> Blocks:
    """Chooses the searchers and blocks to compare: the table without gaps that has the most pairs of searches.

    A failed search is no gap, but the worst of its block. Prefers two blocks with two searchers to any single block,
    and of equal tables the one with more searchers.
    """
    frames = [counted(group).assign(slug=group.slug) for group in groups]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"status": []})
    if (rows["status"] != "done").all():
        return Blocks((), (), rows, ())
    ended = rows.assign(ended=True).set_index([*_BLOCK, "searcher"])["ended"].unstack().notna()
    searchers, blocks = _table(ended)
    inside = pd.MultiIndex.from_frame(rows[_BLOCK]).isin(blocks) & rows["searcher"].isin(searchers)
    left = rows[~inside & (rows["status"] == "done")]
    left_out = tuple((str(row["searcher"]), (str(row["slug"]), float(row["seed"]))) for _, row in left.iterrows())
    return Blocks(searchers, blocks, rows[inside], left_out)


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
