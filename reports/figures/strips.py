"""Search cost and chosen latent size: one row per searcher, one dot per seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.analysis.comparison import MIXED_DEVICES
from reports.analysis.stats import FEW_SEEDS, mean_interval
from reports.data.groups import Group, Store
from reports.data.names import counted
from reports.data.quantities import DEVICE_SECONDS, IMAGES_SEEN, TRAIN_FLOPS, WALL_SECONDS, Quantity, scaled
from reports.drawing.axes import fold, log_scale, worth_log
from reports.drawing.legend import legend_below, unfinished, wrapped_title
from reports.drawing.style import COLUMN_WIDTH, searcher_style

Centre = Literal["mean", "median"]

_LABEL_LETTERS = 16  # a line of a searcher's name
_ROW, _LINE = 0.28, 0.12  # inches: of a row, and what every line of its name after the second adds
_GREY = "#666666"


@dataclass(frozen=True)
class Dot:
    """One finished search."""

    seed: int
    search_id: str
    value: float


@dataclass(frozen=True)
class StripRow:
    """One searcher's dots in one panel, with their centre and, of a mean of enough, its 95 % interval.

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
        """Of the dots."""
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
        """One row a mark: a dot (`seed`), the mean with its interval from low to high, the median, or `none`."""
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


def cost_data(group: Group, store: Store) -> Strips:
    """What each searcher's finished searches cost, in readable units: wall-clock, device time, training FLOPs, images.

    Device time has a panel for each kind of device: core-seconds and GPU-seconds share no axis.
    """
    panels = [_cost_panel(group, WALL_SECONDS, "wall-clock")]
    for kind in group.device_kinds or ("core",):
        panels.append(_cost_panel(group, DEVICE_SECONDS, f"{'CPU' if kind == 'core' else kind} time", kind))
    panels += [_cost_panel(group, cost, cost.label) for cost in (TRAIN_FLOPS, IMAGES_SEEN)]
    notes = unfinished(group)
    done = group.searches[group.searches["status"] == "done"]
    for cost in (WALL_SECONDS, DEVICE_SECONDS, TRAIN_FLOPS, IMAGES_SEEN):
        known = done[cost.column].notna()
        partly = known.groupby(done["searcher"]).transform("any")  # of the others a row says "no value"
        if (partly & ~known).any():
            notes.append(f"Finished without {cost.label}: {counted(done.loc[partly & ~known, 'searcher'])}.")
    if len(group.device_kinds) > 1:
        notes.append(MIXED_DEVICES)
    return Strips(f"Search cost: {group.title}", "mean", tuple(panels), tuple(notes))


def latent_dim_data(group: Group, store: Store) -> Strips:
    """Chosen latent size of each finished search."""
    rows = [_row(group, searcher, "latent_dim", "median") for searcher in group.searchers]
    panel = Panel("chosen latent size (dimensions)", False, tuple(rows))
    return Strips(f"Chosen latent size: {group.title}", "median", (panel,), tuple(unfinished(group)))


def _cost_panel(group: Group, cost: Quantity, label: str, kind: str = "") -> Panel:
    """kind: of device, which the searches must have run on and whose seconds are the unit."""
    plain = [_row(group, searcher, cost.column, "mean", kind) for searcher in group.searchers]
    values = [value for row in plain for value in row.values]
    divisor, unit = scaled(cost.column, max(values, default=0.0))
    rows = [_row(group, searcher, cost.column, "mean", kind, divisor) for searcher in group.searchers]
    unit = f"{kind}-{unit}" if kind else unit
    return Panel(f"{label}\n({unit})" if unit else label, worth_log(values), tuple(rows))


def _row(group: Group, searcher: str, column: str, centre: Centre, kind: str = "", divisor: float = 1.0) -> StripRow:
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


def draw_cost(data: Strips) -> Figure:
    """Panels two by two: dots are seeds, below them the mean and its 95 % interval where there are several."""
    return _draw(data)


def draw_latent_dim(data: Strips) -> Figure:
    """One panel: dots are seeds, below them the median with its value where there are several."""
    return _draw(data)


def _draw(data: Strips) -> Figure:
    names = [fold(searcher_style(row.searcher).label, _LABEL_LETTERS) for row in data.panels[0].rows]
    pitch = _ROW + _LINE * max(0, max(name.count("\n") for name in names) - 1)
    columns = min(2, len(data.panels))
    lines = -(-len(data.panels) // columns)
    height = 0.8 + lines * (0.45 + pitch * len(names)) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    grid: list[list[Axes]] = figure.subplots(lines, columns, sharey=True, squeeze=False).tolist()
    axes = [ax for line in grid for ax in line]
    for ax, panel in zip(axes, data.panels, strict=False):
        _draw_panel(ax, panel, data.centre)
    for ax in axes[len(data.panels) :]:
        ax.set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    intervals = any(math.isfinite(row.low) for panel in data.panels for row in panel.rows)
    bar = Line2D([], [], color=_GREY, marker="|", markersize=7, linestyle="-" if intervals else "none")
    dot = Line2D([], [], color=_GREY, marker="o", markersize=4, linestyle="none", alpha=0.6)
    name = f"mean, 95 % interval from {FEW_SEEDS} seeds on" if intervals else f"{data.centre} over seeds"
    several = any(len(row.dots) > 1 for panel in data.panels for row in panel.rows)
    legend_below(figure, [dot, bar][: 1 + several], ["one seed", name][: 1 + several], data.notes)
    return figure


def _draw_panel(ax: Axes, panel: Panel, centre: Centre) -> None:
    values = [value for row in panel.rows for value in row.values]
    if panel.log:
        log_scale(ax, "x", values, most=4)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4 if centre == "mean" else 8, integer=centre == "median"))
    for y, row in enumerate(panel.rows):
        style = searcher_style(row.searcher)
        if not row.dots:
            text = ax.text(0.03, y, row.absence, transform=ax.get_yaxis_transform(), fontsize=7, va="center")
            text.set_color(_GREY)
            continue
        if len(row.dots) > 1:
            _draw_centre(ax, y + 0.33, row, centre)
        ax.plot(
            row.values,
            y + _offsets(len(row.dots)),
            linestyle="none",
            marker=style.marker,
            markersize=4.5,
            color=style.color,
            alpha=0.75,
            markeredgecolor="white",
            markeredgewidth=0.4,
            clip_on=False,
        )
    ax.set_xlabel(panel.label)
    ax.grid(axis="y", visible=False)
    if not values:
        ax.set_xticks([])
    elif not panel.log:
        ax.set_xlim(left=0)


def _draw_centre(ax: Axes, y: float, row: StripRow, centre: Centre) -> None:
    """Below the dots: a bar at the mean on the line of its interval, or a bar at the median with its value."""
    color = searcher_style(row.searcher).color
    ax.plot([row.centre], [y], marker="|", markersize=6, markeredgewidth=1.5, color=color)
    if centre == "mean":
        ax.plot([row.low, row.high], [y, y], color=color, linewidth=1.1)
    else:
        text = f"{row.centre:g}"
        ax.annotate(text, (row.centre, y), (4, -0.5), textcoords="offset points", va="center", fontsize=7, color=color)


def _offsets(n: int) -> np.ndarray:
    """Vertical offsets that keep equal values apart: evenly spread above the centre's bar, the same on every call."""
    return np.linspace(-0.3, 0.05, n) if n > 1 else np.zeros(1)
