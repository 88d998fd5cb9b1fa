"""Strips: a row a searcher, a dot a seed, and below the dots their mean or median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.analysis.stats import mean_interval
from reports.data.groups import Group
from reports.drawing.layout import SPREAD, fold, legend_below, log_scale, wrapped_title
from reports.drawing.style import COLUMN_WIDTH, GREY, searcher_style

Centre = Literal["mean", "median"]

_LABEL_LETTERS = 16  # a line of a searcher's name
_ROW, _LINE = 0.28, 0.12  # inches: of a row, and what every line of its name after the second adds


@dataclass(frozen=True)
class Dot:
    """One finished search."""

    seed: int
    search_id: str
    value: float


@dataclass(frozen=True)
class StripRow:
    """One searcher's dots in one panel, with their centre and, of a mean, what stands beside it.

    absence: what stands in place of the dots where there is none.
    """

    searcher: str
    dots: tuple[Dot, ...]
    centre: float = math.nan
    low: float = math.nan
    high: float = math.nan
    absence: str = ""

    @property
    def values(self) -> tuple[float, ...]:
        """The dots' values."""
        return tuple(dot.value for dot in self.dots)


@dataclass(frozen=True)
class Panel:
    """One measured axis over all searchers; its label names the unit."""

    label: str
    log: bool
    rows: tuple[StripRow, ...]


@dataclass(frozen=True)
class Strips:
    """A figure of panels that share their searchers; where there are several dots, their mean or median is marked."""

    title: str
    centre: Centre
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a mark: a dot (`seed`), the mean with its spread from low to high, the median, or `none`."""
        rows: list[tuple[object, ...]] = []
        for panel in self.panels:
            for row in panel.rows:
                keys = (" ".join(panel.label.split()), row.searcher)
                rows += [(*keys, "seed", dot.seed, dot.search_id, dot.value, math.nan, math.nan) for dot in row.dots]
                if len(row.dots) > 1:
                    rows.append((*keys, self.centre, None, "", row.centre, row.low, row.high))
                elif not row.dots:
                    rows.append((*keys, row.absence, None, "", math.nan, math.nan, math.nan))
        columns = ["axis", "searcher", "mark", "seed", "search_id", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def strip_row(
    group: Group, searcher: str, column: str, centre: Centre, kind: str = "", divisor: float = 1.0
) -> StripRow:
    """Makes a searcher's row of one column over `divisor`, of its searches on one `kind` of device if given."""
    done = group.of(searcher, "done")
    known = done[done[column].notna() & (done["device_kind"] == kind if kind else True)]
    dots = tuple(
        Dot(int(search["seed"]), search["search_id"], search[column] / divisor) for _, search in known.iterrows()
    )
    values = known[column] / divisor
    if not dots:
        elsewhere = bool(kind) and set(done["device_kind"]) <= {"core", "GPU"} - {kind}
        absence = "none finished" if done.empty else "other device" if elsewhere else "no value"
        return StripRow(searcher, dots, absence=absence)
    if centre == "median":
        return StripRow(searcher, dots, float(values.median()))
    return StripRow(searcher, dots, float(values.mean()), *mean_interval(values))


def draw_strips(data: Strips) -> Figure:
    """Panels two by two: dots are seeds, below them their mean with their range or its interval, or their median."""
    names, height = row_names([row.searcher for row in data.panels[0].rows], _LABEL_LETTERS, _ROW)
    columns = min(2, len(data.panels))
    lines = -(-len(data.panels) // columns)
    figure = Figure(
        figsize=(COLUMN_WIDTH, 0.8 + lines * (0.45 + height) + 0.12 * len(data.notes)), layout="constrained"
    )
    wrapped_title(figure, data.title)
    grid: list[list[Axes]] = figure.subplots(lines, columns, sharey=True, squeeze=False).tolist()
    axes = [ax for line in grid for ax in line]
    for ax, panel in zip(axes, data.panels, strict=False):
        _draw_panel(ax, panel, data.centre)
    for ax in axes[len(data.panels) :]:
        ax.set_visible(False)
    name_rows(axes[0], names)
    intervals = any(math.isfinite(row.low) for panel in data.panels for row in panel.rows)
    name = MEAN_INTERVAL if intervals else f"{data.centre} over seeds"
    several = any(len(row.dots) > 1 for panel in data.panels for row in panel.rows)
    legend_below(figure, [dot(), bar(intervals)][: 1 + several], ["one seed", name][: 1 + several], data.notes)
    return figure


def _draw_panel(ax: Axes, panel: Panel, centre: Centre) -> None:
    values = [value for row in panel.rows for value in row.values]
    if panel.log:
        log_scale(ax, "x", values, most=4)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4 if centre == "mean" else 8, integer=centre == "median"))
    for y, row in enumerate(panel.rows):
        if not row.dots:
            draw_absence(ax, y, row.absence)
            continue
        if len(row.dots) > 1:
            _draw_centre(ax, y + 0.33, row, centre)
        draw_dots(ax, y, row.values, row.searcher, (-0.3, 0.05), clip_on=False)
    ax.set_xlabel(panel.label)
    ax.grid(axis="y", visible=False)
    if not values:
        ax.set_xticks([])
    elif not panel.log:
        ax.set_xlim(left=0)


def _draw_centre(ax: Axes, y: float, row: StripRow, centre: Centre) -> None:
    """Draws, below the dots, the mean with its interval or the median with its value."""
    draw_mean(ax, y, row.centre, row.low, row.high, row.searcher)
    if centre == "median":
        ax.annotate(
            f"{row.centre:g}",
            (row.centre, y),
            (4, -0.5),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=searcher_style(row.searcher).color,
        )


# ---- parts of a row, which the figure of the regret shares

MEAN_INTERVAL = f"mean, {SPREAD}"


def dot() -> Line2D:
    """Makes the legend's handle of a seed."""
    return Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="none", alpha=0.6)


def bar(with_interval: bool) -> Line2D:
    """Makes the legend's handle of a mean."""
    return Line2D([], [], color=GREY, marker="|", markersize=7, linestyle="-" if with_interval else "none")


def row_names(searchers: Sequence[str], letters: int, row: float) -> tuple[list[str], float]:
    """Printed names in lines of at most `letters`, and the height (inches) of all rows; `row`: of one."""
    names = [fold(searcher_style(name).label, letters) for name in searchers]
    return names, (row + _LINE * max(0, max(name.count("\n") for name in names) - 1)) * len(names)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Writes the names at the left, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)


def draw_dots(
    ax: Axes, y: float, values: Sequence[float], searcher: str, around: tuple[float, float], clip_on: bool = True
) -> None:
    """Draws a row's dots, spread evenly over `around` of it so that equal values stay apart."""
    style = searcher_style(searcher)
    ax.plot(
        values,
        y + (np.linspace(*around, len(values)) if len(values) > 1 else np.zeros(1)),
        linestyle="none",
        marker=style.marker,
        markersize=4.5,
        color=style.color,
        alpha=0.75,
        markeredgecolor="white",
        markeredgewidth=0.4,
        clip_on=clip_on,
    )


def draw_mean(ax: Axes, y: float, mean: float, low: float, high: float, searcher: str) -> None:
    """Draws a bar at the mean on the line of its interval, which may be NaN."""
    color = searcher_style(searcher).color
    ax.plot([mean], [y], marker="|", markersize=6, markeredgewidth=1.5, color=color)
    ax.plot([low, high], [y, y], color=color, linewidth=1.1)


def draw_absence(ax: Axes, y: float, text: str) -> None:
    """Writes what stands in a row without dots."""
    ax.text(0.03, y, text, transform=ax.get_yaxis_transform(), fontsize=7, va="center", color=GREY)
