"""Search cost and chosen latent size: one row per searcher, one dot per seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.axes import log_scale, worth_log
from reports.data import Group, Store
from reports.quantities import TRAIN_FLOPS, WALL_SECONDS, scaled
from reports.style import PAGE_WIDTH, searcher_style
from reports.tables import mean_sd


@dataclass(frozen=True)
class StripRow:
    """One searcher's seeds in one panel. `note` counts the searches that have no dot."""

    searcher: str
    note: str
    values: tuple[float, ...]
    centre: float
    sd: float


@dataclass(frozen=True)
class Panel:
    """One measured axis over all searchers."""

    label: str
    log: bool
    rows: tuple[StripRow, ...]


@dataclass(frozen=True)
class Strips:
    """A figure of panels that share their searchers; rows are marked at their mean or median."""

    title: str
    centre: Literal["mean", "median"]
    panels: tuple[Panel, ...]

    def frame(self) -> pd.DataFrame:
        """One row a dot, and one a centre."""
        rows = [
            (panel.label, row.searcher, mark, value)
            for panel in self.panels
            for row in panel.rows
            for mark, values in (("seed", row.values), (self.centre, (row.centre,)))
            for value in values
        ]
        return pd.DataFrame(rows, columns=["axis", "searcher", "mark", "value"])


def cost_data(group: Group, store: Store) -> Strips:
    """Wall-clock and training FLOPs of each searcher's finished searches, in readable units."""
    panels = []
    for cost in (WALL_SECONDS, TRAIN_FLOPS):
        done = group.searches.loc[group.searches["status"] == "done", cost.column].dropna().tolist()
        divisor, unit = scaled(cost.column, max(done, default=0.0))
        label = f"{cost.label} of the whole search ({unit})"
        panels.append(_panel(group, cost.column, label, divisor, worth_log(done), "mean"))
    return Strips(f"Search cost: {group.title}", "mean", tuple(panels))


def latent_dim_data(group: Group, store: Store) -> Strips:
    """Chosen latent size of each finished search."""
    panel = _panel(group, "latent_dim", "chosen latent size (dimensions)", 1.0, False, "median")
    return Strips(f"Chosen latent size: {group.title}", "median", (panel,))


def _panel(
    group: Group, column: str, label: str, divisor: float, log: bool, centre: Literal["mean", "median"]
) -> Panel:
    rows = []
    for searcher in group.searchers:
        values: pd.Series[float] = group.of(searcher, "done")[column].dropna() / divisor
        mean, sd = mean_sd(values)
        middle = mean if centre == "mean" else float(values.median())
        rows.append(StripRow(searcher, _note(group, searcher), tuple(values), middle, sd))
    return Panel(label, log, tuple(rows))


def _note(group: Group, searcher: str) -> str:
    counts = {status: len(group.of(searcher, status)) for status in ("failed", "running")}
    return ", ".join(f"{n} {status}" for status, n in counts.items() if n)


def draw_cost(data: Strips) -> Figure:
    """Two panels side by side: dots are seeds, below them the mean ± sd where there are several."""
    return _draw(data)


def draw_latent_dim(data: Strips) -> Figure:
    """One panel: dots are seeds, below them the median with its value where there are several."""
    return _draw(data)


def _draw(data: Strips) -> Figure:
    searchers = [row.searcher for row in data.panels[0].rows]
    width = PAGE_WIDTH if len(data.panels) > 1 else 0.65 * PAGE_WIDTH
    figure = Figure(figsize=(width, 1.35 + 0.45 * len(searchers)), layout="constrained")
    figure.suptitle(data.title)
    axes: list[Axes] = figure.subplots(1, len(data.panels), sharey=True, squeeze=False)[0].tolist()
    for ax, panel in zip(axes, data.panels, strict=True):
        _draw_panel(ax, panel, data.centre)
    axes[0].set_yticks(range(len(searchers)), [_tick(row) for row in data.panels[0].rows])
    axes[0].set_ylim(len(searchers) - 0.4, -0.6)
    bar = Line2D([], [], color="#555555", marker="|", markersize=7, linestyle="-" if data.centre == "mean" else "none")
    dot = Line2D([], [], color="#555555", marker="o", markersize=4.5, linestyle="none", alpha=0.6)
    name = "mean ± sd over seeds" if data.centre == "mean" else "median over seeds"
    several = any(len(row.values) > 1 for panel in data.panels for row in panel.rows)
    handles, names = ([dot, bar], ["one seed", name]) if several else ([dot], ["one seed"])
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _tick(row: StripRow) -> str:
    label = searcher_style(row.searcher).label
    return f"{label}\n({row.note})" if row.note else label


def _draw_panel(ax: Axes, panel: Panel, centre: Literal["mean", "median"]) -> None:
    if panel.log:
        log_scale(ax, "x", [value for row in panel.rows for value in row.values])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=centre == "median"))
    for y, row in enumerate(panel.rows):
        style = searcher_style(row.searcher)
        if not row.values:
            ax.text(0.02, y, "no finished search", transform=ax.get_yaxis_transform(), va="center", color="#777777")
            continue
        if len(row.values) > 1:
            _draw_spread(ax, y + 0.3, row, panel.log, centre)
        ax.plot(
            row.values,
            y + _offsets(len(row.values)),
            linestyle="none",
            marker=style.marker,
            markersize=5.5,
            color=style.color,
            alpha=0.75,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
    ax.set_xlabel(panel.label)
    ax.grid(axis="y", visible=False)
    if not any(row.values for row in panel.rows):
        ax.set_xticks([])
    elif not panel.log:
        ax.set_xlim(left=0)


def _draw_spread(ax: Axes, y: float, row: StripRow, log: bool, centre: Literal["mean", "median"]) -> None:
    """Below the dots: a bar at the mean with a line from mean - sd to mean + sd, or a bar at the median."""
    color = searcher_style(row.searcher).color
    ax.plot([row.centre], [y], marker="|", markersize=7, markeredgewidth=1.6, color=color)
    if centre == "mean":
        # A log axis has no place for mean - sd <= 0: the line then starts at the smallest seed.
        low = row.centre - row.sd
        ax.plot([min(row.values) if log and low <= 0 else low, row.centre + row.sd], [y, y], color=color, linewidth=1.1)
    else:
        text = f"{row.centre:g}"
        ax.annotate(text, (row.centre, y), (4, -0.5), textcoords="offset points", va="center", fontsize=7, color=color)


def _offsets(n: int) -> np.ndarray:
    """Vertical offsets that keep equal values apart: evenly spread above the spread's line, the same on every call."""
    return np.linspace(-0.26, 0.08, n) if n > 1 else np.zeros(1)
