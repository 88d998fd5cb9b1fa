"""Draws the critical-difference diagrams (Demšar 2006, figure 1), one below the other in a single column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation

from reports.analysis.stats import p_text
from reports.drawing.axes import fold
from reports.drawing.style import COLUMN_WIDTH, searcher_style
from reports.figures.ranks import RankPanel, Ranks

# Heights are in rows, a line of text each.
_ROW = 0.125  # inches
_HEAD = 2.8  # above the axis: title, critical difference, tick labels
_BAR = 0.45  # from one bar that joins searchers to the next
_NAME_LETTERS = 16  # a line
_SMALL = 6.5
_GREY = "#555555"


def draw_ranks(data: Ranks) -> Figure:
    """A diagram a measure: the searchers at their mean ranks, the better half named on the left, the others right."""
    depths = [_depth(panel) for panel in data.panels]
    notes = "\n".join(fold(note, 66) for note in data.notes)
    foot = (notes.count("\n") + 1.5) * _ROW
    height = sum(depths) * _ROW + foot
    above = ConstrainedLayoutEngine(rect=(0, foot / height, 1, 1 - foot / height), h_pad=0, hspace=0)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout=above)
    grid = figure.subplots(len(depths), 1, squeeze=False, gridspec_kw={"height_ratios": depths})
    for ax, panel, depth in zip(grid[:, 0], data.panels, depths, strict=True):
        _draw_panel(ax, panel, depth)
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
    """Rows of a whole diagram, with a gap to the next."""
    return _HEAD + max(-name.y + (name.text.count("\n") + 1) / 2 for name in _names(panel)) + 0.5


def _draw_panel(ax: Axes, panel: RankPanel, depth: float) -> None:
    worst = len(panel.mean_ranks)
    ax.set_axis_off()
    ax.set_xlim(1 - 0.04 * worst, worst + 0.04 * worst)
    ax.set_ylim(_HEAD - depth, _HEAD)
    _draw_head(ax, panel, worst)
    ax.plot([1, worst], [0, 0], color="black", linewidth=0.6)
    for rank in range(1, worst + 1):
        ax.plot([rank, rank], [0, 0.25], color="black", linewidth=0.6)
        ax.text(rank, 0.35, str(rank), fontsize=_SMALL, ha="center", va="bottom")
    for level, (low, high) in enumerate(panel.joined):
        y = -0.5 - _BAR * level
        ax.plot([low, high], [y, y], color="black", linewidth=2.2, solid_capstyle="butt")
    _draw_searchers(ax, panel)


def _draw_head(ax: Axes, panel: RankPanel, worst: int) -> None:
    """Title and test in the first row, across the figure; the critical difference from rank 1 on in the second."""
    blocks = f"{panel.n_blocks} block{'s' if panel.n_blocks > 1 else ''}"
    test = f"Friedman {p_text(panel.friedman_p)}, {blocks}" if np.isfinite(panel.friedman_p) else blocks
    _across(ax, 0.01, _HEAD - 0.5, panel.label).set(ha="left", fontsize=7, color="black")
    _across(ax, 0.99, _HEAD - 0.5, test).set(ha="right", color="black")
    _across(ax, 0.01, 0.8, "mean rank").set(ha="left")
    distance = panel.critical_difference
    y = _HEAD - 1.35
    if distance <= worst - 1:
        ax.plot([1, 1 + distance], [y, y], color=_GREY, linewidth=0.9, marker="|", markersize=4)
        label = ax.annotate(f"CD {distance:.2f}", (1 + distance, y), (4, 0), textcoords="offset points", va="center")
        label.set(fontsize=_SMALL, color=_GREY, in_layout=False)
    elif np.isfinite(distance):
        _across(ax, 0.5, y, f"CD {distance:.2f}, longer than the axis").set(ha="center")


def _across(ax: Axes, x: float, y: float, text: str) -> Annotation:
    """Small text at x of the figure's width: a diagram's axis is narrow between the margins that the names need."""
    note = ax.annotate(text, (x, y), xycoords=("figure fraction", "data"), va="center", fontsize=_SMALL, color=_GREY)
    note.set_in_layout(False)
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
