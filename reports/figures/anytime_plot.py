"""Draws the best mean rank so far: the same curves against training FLOPs and against wall-clock."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.data.quantities import Quantity, scaled
from reports.drawing.axes import log_scale, worth_log
from reports.drawing.legend import legend_below, searcher_entries, wrapped_title
from reports.drawing.style import COLUMN_WIDTH, SearcherStyle, drawn_styles
from reports.figures.anytime import AXES, Anytime


def draw_anytime(data: Anytime) -> Figure:
    """Two panels, one above the other; a curve's marker is where its search, or the mean's longest search, ends."""
    styles = drawn_styles(data.searchers, data.curves["searcher"])
    entries = searcher_entries(styles.values(), is_line=True)
    height = 4.4 + 0.1 * len(entries[1]) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    panels = figure.subplots(2, 1, sharey=True)
    for ax, axis in zip(panels, AXES, strict=True):
        _draw_panel(ax, data.curves[data.curves["axis"] == axis.heading("")], axis, styles)
        ax.set_ylabel("best mean rank so far\n(0 best, 1 worst) ↓")
    lines = set(data.curves["line"])
    reading = "Large marker: search's end."
    if "mean" in lines:
        reading += " Line: mean over seeds" + ("; thin: a seed." if "seed" in lines else ".")
    notes = [reading, *data.notes]
    if data.curves["low"].notna().any():
        notes.insert(1, "Band: 95 % bootstrap interval of the mean.")
    legend_below(figure, *entries, notes)
    return figure


def _draw_panel(ax: Axes, curves: pd.DataFrame, axis: Quantity, styles: dict[str, SearcherStyle]) -> None:
    if curves.empty:
        ax.text(0.5, 0.5, f"no {axis.label} known", transform=ax.transAxes, ha="center", va="center", color="#777777")
        ax.set_xticks([])
        return
    divisor, unit = scaled(axis.column, curves["cost"].max())
    curves = curves.assign(cost=curves["cost"] / divisor)
    if worth_log(curves["cost"].tolist()):
        log_scale(ax, "x", curves["cost"].tolist())
    for searcher, style in styles.items():
        own = curves[curves["searcher"] == searcher]
        seeds, mean = own[own["line"] == "seed"], own[own["line"] == "mean"]
        color = style.color
        if mean.empty:
            _draw_main(ax, seeds, style)
            continue
        for _, seed in seeds.groupby("search_id"):
            ax.plot(seed["cost"], seed["best_rank"], drawstyle="steps-post", color=color, linewidth=0.5, alpha=0.5)
        ax.fill_between(mean["cost"], mean["low"], mean["high"], step="post", color=color, alpha=0.15, linewidth=0)
        _draw_main(ax, mean, style)
    ax.set_xlabel(f"{axis.label} of the search so far ({unit})")
    ax.set_ylim(bottom=0)


def _draw_main(ax: Axes, curve: pd.DataFrame, style: SearcherStyle) -> None:
    """The curve, with small markers along it to tell it apart without colour, and a large one at its end."""
    look = {**style.mark, "linestyle": style.linestyle}
    ax.plot(curve["cost"], curve["best_rank"], drawstyle="steps-post", markersize=4, markevery=0.15, **look)
    ax.plot(curve["cost"].iloc[-1:], curve["best_rank"].iloc[-1:], markersize=7, zorder=3, **look)
