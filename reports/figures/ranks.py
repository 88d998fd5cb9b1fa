"""Mean ranks of the searchers over all blocks, by the ELBO and the decision metrics, as a description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation

from reports.analysis.analysis import Analysis
from reports.analysis.paired_blocks import Measure
from reports.analysis.stats import ALPHA, critical_difference, nemenyi, p_text
from reports.drawing.layout import fold
from reports.drawing.style import COLUMN_WIDTH, DARK_GREY, searcher_style


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
    """The diagrams, the ELBO's first, and sentences on how to read them."""

    title: str
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


def ranks_data(analysis: Analysis) -> Ranks | None:
    """Mean ranks of the searchers by every measure; None with fewer than two searchers in a common block."""
    blocks = analysis.blocks
    if len(blocks.searchers) < 2:
        return None
    panels = tuple(_panel(measure) for measure in blocks.measures)
    if not panels:
        return None
    notes = [
        "A description, no claim: a rank depends on who else is there, and seeds of one data set are not independent "
        "data. Mean rank inside the blocks (a block is one seed of one data set and network), 1 is best; a failed "
        "search is last. The silhouette ranks little but the size."
    ]
    if any(np.isfinite(panel.friedman_p) for panel in panels):
        notes.append(
            "Bars join searchers that the ranks do not tell apart: all where p, of Friedman's test, is 0.05 or more, "
            "else those within Nemenyi's critical difference (CD)."
        )
    if len(blocks.searchers) < 3:
        notes.append("No test: Friedman's needs three searchers.")
    elif any(panel.n_blocks < 2 for panel in panels):
        notes.append("A single block has no test.")
    return Ranks("Ranks", panels, tuple(notes))


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
    """Finds the longest runs of neighbours without a significant difference; just one where Friedman has none."""
    ranks = mean_ranks.tolist()
    if not measure.differs:
        return ((ranks[0], ranks[-1]),)
    p = nemenyi(measure.ranks).loc[mean_ranks.index, mean_ranks.index].to_numpy()
    ends = [int(np.flatnonzero(row >= ALPHA).max()) for row in p]
    return tuple((ranks[i], ranks[end]) for i, end in enumerate(ends) if end > i and (i == 0 or ends[i - 1] < end))


# Heights are in rows, a line of text each.
_ROW = 0.125  # inches
_HEAD = 2.8  # above the axis: title, critical difference, tick labels
_BAR = 0.45  # from one bar that joins searchers to the next
_NAME_LETTERS = 16  # a line
_SMALL = 6.5
_MANY = 10  # searchers: of more, not every rank has its number


def draw_ranks(data: Ranks) -> Figure:
    """A diagram a measure: the searchers at their mean ranks, the better half named on the left, the others right.

    With many searchers in two columns, as wide as a page, so that all diagrams fit on one.
    """
    columns = 1 if max(len(panel.mean_ranks) for panel in data.panels) <= _MANY else 2
    lines = [data.panels[i : i + columns] for i in range(0, len(data.panels), columns)]
    depths = [max(map(_depth, line)) for line in lines]
    notes = "\n".join(fold(note, 66 * columns) for note in data.notes)
    foot = (notes.count("\n") + 1.5) * _ROW
    height = sum(depths) * _ROW + foot
    above = ConstrainedLayoutEngine(rect=(0, foot / height, 1, 1 - foot / height), h_pad=0, hspace=0)
    figure = Figure(figsize=(COLUMN_WIDTH * columns, height), layout=above)
    halves = figure.subfigures(1, columns, squeeze=False) if columns > 1 else np.array([[figure]])
    for place, part in enumerate(halves[0]):
        grid = part.subplots(len(lines), 1, squeeze=False, gridspec_kw={"height_ratios": depths})[:, 0]
        for ax, line, depth in zip(grid, lines, depths, strict=True):
            ax.set_axis_off()
            if place < len(line):
                _draw_panel(ax, line[place], depth)
    figure.text(0.01, 0.3 * _ROW / height, notes, fontsize=_SMALL, va="bottom")
    return figure


@dataclass(frozen=True)
class _Name:
    """A searcher's label with its mean rank, in as many lines as it needs. y: rows from the axis, negative is below."""

    searcher: str
    text: str
    side: Literal["left", "right"]
    y: float


def _names(panel: RankPanel) -> list[_Name]:
    """The better half on the left, the best on top; the others on the right, the worst on top: no two lines cross."""
    order = list(panel.mean_ranks)
    half = (len(order) + 1) // 2
    sides: tuple[tuple[Literal["left", "right"], list[str]], ...]
    sides = ("left", order[:half]), ("right", order[: half - 1 : -1])
    names = []
    for side, searchers in sides:
        y = -0.4 - _BAR * len(panel.joined)
        for searcher in searchers:
            text = f"{fold(searcher_style(searcher).label, _NAME_LETTERS)} {panel.mean_ranks[searcher]:.2f}"
            lines = text.count("\n") + 1
            names.append(_Name(searcher, text, side, y - lines / 2))
            y -= lines
    return names


def _depth(panel: RankPanel) -> float:
    """Returns the rows of a whole diagram, with a gap to the next."""
    return _HEAD + max(-name.y + (name.text.count("\n") + 1) / 2 for name in _names(panel)) + 0.5


def _draw_panel(ax: Axes, panel: RankPanel, depth: float) -> None:
    worst = len(panel.mean_ranks)
    ax.set_xlim(1 - 0.04 * worst, worst + 0.04 * worst)
    ax.set_ylim(_HEAD - depth, _HEAD)
    _draw_head(ax, panel, worst)
    ax.plot([1, worst], [0, 0], color="black", linewidth=0.6)
    for rank in range(1, worst + 1):
        ax.plot([rank, rank], [0, 0.25], color="black", linewidth=0.6)
        if worst <= _MANY or rank == 1 or rank % 5 == 0:
            ax.text(rank, 0.35, str(rank), fontsize=_SMALL, ha="center", va="bottom")
    for level, (low, high) in enumerate(panel.joined):
        y = -0.5 - _BAR * level
        ax.plot([low, high], [y, y], color="black", linewidth=2.2, solid_capstyle="butt")
    _draw_searchers(ax, panel)


def _draw_head(ax: Axes, panel: RankPanel, worst: int) -> None:
    """Title and test in the first row, across the figure; the critical difference from rank 1 on in the second."""
    blocks = f"{panel.n_blocks} block{'s' if panel.n_blocks > 1 else ''}"
    test = f"{p_text(panel.friedman_p)}, {blocks}" if np.isfinite(panel.friedman_p) else blocks
    _across(ax, 0.01, _HEAD - 0.5, panel.label).set(ha="left", fontsize=7, color="black")
    _across(ax, 0.99, _HEAD - 0.5, test).set(ha="right", color="black")
    _across(ax, 0.01, 0.8, "mean rank").set(ha="left")
    distance = panel.critical_difference
    y = _HEAD - 1.35
    if distance <= worst - 1:
        ax.plot([1, 1 + distance], [y, y], color=DARK_GREY, linewidth=0.9, marker="|", markersize=4)
        label = ax.annotate(f"CD {distance:.2f}", (1 + distance, y), (4, 0), textcoords="offset points", va="center")
        label.set(fontsize=_SMALL, color=DARK_GREY, in_layout=False)
    elif np.isfinite(distance):
        _across(ax, 0.5, y, f"CD {distance:.2f}, longer than the axis").set(ha="center")


def _across(ax: Axes, x: float, y: float, text: str) -> Annotation:
    """Writes small text at x of the diagram's width, as the axis is narrow between the margins that names need."""
    note = ax.annotate(text, (x, y), xycoords=("subfigure fraction", "data"), va="center", fontsize=_SMALL)
    note.set(color=DARK_GREY, in_layout=False)
    return note


def _draw_searchers(ax: Axes, panel: RankPanel) -> None:
    """From each mean rank a line down and out to the name; both ends carry the searcher's marker."""
    left, right = ax.get_xlim()
    for name in _names(panel):
        style, rank = searcher_style(name.searcher), panel.mean_ranks[name.searcher]
        outside, away = (left, -5) if name.side == "left" else (right, 5)
        ax.plot([rank, rank, outside], [0, name.y, name.y], color=style.color, linewidth=0.9)
        (ends,) = ax.plot([rank, outside], [0, name.y], style.marker, color=style.color, markersize=5)
        ends.set(markeredgecolor="white", markeredgewidth=0.4, clip_on=False, zorder=3)
        text = ax.annotate(name.text, (outside, name.y), (away, 0), textcoords="offset points", fontsize=7)
        text.set(ha="right" if name.side == "left" else "left", va="center")
