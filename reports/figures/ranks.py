"""Mean ranks of the searchers over all blocks, by every measure: the data of the critical-difference diagrams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.analysis.paired_blocks import Measure, complete_blocks
from reports.analysis.stats import ALPHA, critical_difference, nemenyi
from reports.data.groups import Group


@dataclass(frozen=True)
class RankPanel:
    """A critical-difference diagram: mean ranks by rising rank.

    friedman_p and critical_difference are NaN where there is no test; joined: mean ranks from and to, of each largest
    set of searchers that the tests do not tell apart.
    """

    label: str
    n_blocks: int
    friedman_p: float
    critical_difference: float
    mean_ranks: dict[str, float]
    joined: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Ranks:
    """The diagrams, the overall score's first, and sentences on how to read them."""

    panels: tuple[RankPanel, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a mark: a searcher's mean rank (1 is best), a bar that joins ranks, the critical difference."""
        rows: list[tuple[object, ...]] = []
        for panel in self.panels:
            keys = (panel.label, panel.n_blocks, panel.friedman_p)
            rows += [(*keys, "mean rank", name, rank, np.nan) for name, rank in panel.mean_ranks.items()]
            rows += [(*keys, "not told apart", "", low, high) for low, high in panel.joined]
            if np.isfinite(panel.critical_difference):
                rows.append((*keys, "critical difference", "", 1.0, 1.0 + panel.critical_difference))
        return pd.DataFrame(rows, columns=["measure", "n_blocks", "friedman_p", "mark", "searcher", "rank", "rank_to"])


def ranks_data(groups: list[Group]) -> Ranks | None:
    """Mean ranks of the searchers by every measure; None with fewer than two searchers in a common block."""
    blocks = complete_blocks(groups)
    if len(blocks.searchers) < 2:
        return None
    panels = tuple(_panel(measure) for measure in blocks.measures)
    notes = ["Mean rank inside the blocks (a block is one seed of one dataset, backbone and protocol), 1 is best."]
    if any(np.isfinite(panel.friedman_p) for panel in panels):
        notes.append(
            "Bars join searchers that the tests do not tell apart: all where Friedman's p is 0.05 or more, "
            "else those within Nemenyi's critical difference (CD)."
        )
    if len(blocks.searchers) < 3:
        notes.append("No test: Friedman's needs three searchers.")
    elif any(panel.n_blocks < 2 for panel in panels):
        notes.append("A single block has no test.")
    return Ranks(panels, tuple(notes))


def _panel(measure: Measure) -> RankPanel:
    mean_ranks = measure.ranks.mean().sort_values(kind="stable")
    tested = bool(np.isfinite(measure.friedman.p))
    distance = critical_difference(len(mean_ranks), len(measure.ranks)) if tested else np.nan
    return RankPanel(
        measure.label,
        len(measure.ranks),
        measure.friedman.p,
        distance,
        {str(name): float(rank) for name, rank in mean_ranks.items()},
        _joined(measure, mean_ranks) if tested else (),
    )


def _joined(measure: Measure, mean_ranks: pd.Series[float]) -> tuple[tuple[float, float], ...]:
    """Largest runs of neighbouring mean ranks without a significant difference; all of them where Friedman has none."""
    ranks = mean_ranks.tolist()
    if not measure.differs:
        return ((ranks[0], ranks[-1]),)
    p = nemenyi(measure.ranks).loc[mean_ranks.index, mean_ranks.index].to_numpy()
    ends = [int(np.flatnonzero(row >= ALPHA).max()) for row in p]
    return tuple((ranks[i], ranks[end]) for i, end in enumerate(ends) if end > i and (i == 0 or ends[i - 1] < end))
