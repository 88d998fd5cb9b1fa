"""Learning curves with the latent size on the upper axis: the layout of ALD-VAE (arXiv 2312.06280), figure 2."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from reports.data.groups import Group
from reports.data.names import noted
from reports.data.quantities import PANEL_METRICS
from reports.drawing.layout import fold, log_scale, no_values, worth_log, wrapped_title
from reports.drawing.style import GREY, PAGE_WIDTH, STOP_RED, searcher_style

Role = Literal["main", "trial", "other seed"]


@dataclass(frozen=True)
class Curve:
    """One training: `values[i]` is metric i of `PANEL_METRICS` per epoch, NaN where not measured."""

    role: Role
    search_id: str
    seed: int
    trial: int
    latent_dim: int
    epochs: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class CurveRow:
    """One searcher: its first finished seed, and faintly what its other seeds chose.

    `sizes` is the main training's latent size per epoch; empty when there are several trainings of fixed size.
    `last_change` is the epoch at which the size last changed, None when it never did or the search is not finished.
    """

    searcher: str
    seed: int
    status: str
    curves: tuple[Curve, ...]
    sizes: tuple[int, ...]
    last_change: int | None

    @property
    def main(self) -> Curve | None:
        """The training of the chosen model; None while whole-run trials have no winner."""
        return next((curve for curve in self.curves if curve.role == "main"), None)


@dataclass(frozen=True)
class Trainings:
    """Rows of the figure, in the fixed order of searchers; a searcher without any epoch has no row.

    notes: the searches of which nothing is drawn.
    """

    title: str
    fid_features: str
    rows: tuple[CurveRow, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row an epoch of every line drawn; `latent_dim` where it is written above the panels."""
        names = [metric.csv_column(self.fid_features) for metric in PANEL_METRICS]
        return pd.concat([_frame(row, curve, names) for row in self.rows for curve in row.curves], ignore_index=True)


def trainings_data(group: Group) -> Trainings | None:
    """Curves of each searcher from the group's epochs."""
    logged = _split(group.epochs, "search_id")
    rows = []
    for searcher in group.searchers:
        searches = group.of(searcher)
        searches = searches[searches["search_id"].isin(logged.keys())]
        if not searches.empty:
            rows.append(_row(searches, logged))
    drawn = {curve.search_id for row in rows for curve in row.curves}
    rest = group.searches.loc[~group.searches["search_id"].isin(drawn), "searcher"]
    notes = tuple(noted("Not drawn (failed, running or without a logged training)", rest))
    return Trainings(f"Trainings: {group.title}", group.fid_features, tuple(rows), notes) if rows else None


def _frame(row: CurveRow, curve: Curve, names: list[str]) -> pd.DataFrame:
    metrics = dict(zip(names, curve.values, strict=True))
    keys = {"searcher": row.searcher, "search_id": curve.search_id, "seed": curve.seed, "trial": curve.trial}
    keys |= {"line": curve.role, "final_latent_dim": curve.latent_dim}
    sizes = {"latent_dim": row.sizes} if row.sizes and curve.role == "main" else {}
    return pd.DataFrame({**keys, "epoch": curve.epochs, **metrics, **sizes})


def _split(frame: pd.DataFrame, column: str) -> dict[Any, pd.DataFrame]:
    return dict(list(frame.groupby(column)))


def _row(searches: pd.DataFrame, logged: dict[str, pd.DataFrame]) -> CurveRow:
    finished = searches[searches["status"] == "done"]
    first = (searches if finished.empty else finished).iloc[0]
    trials = _split(logged[first["search_id"]], "trial")
    chosen = chosen_trial(first, trials)
    curves = [_curve(epochs, "main" if trial == chosen else "trial") for trial, epochs in trials.items()]
    for _, other in finished.iloc[1:].iterrows():
        others = _split(logged[other["search_id"]], "trial")
        trial = chosen_trial(other, others)
        curves += [] if trial is None else [_curve(others[trial], "other seed")]
    sizes: tuple[int, ...] = ()
    last_change = None
    if chosen is not None:
        sized = trials[chosen].set_index("epoch")["latent_dim"].dropna().astype(int)
        changes = sized[sized != sized.shift(fill_value=sized.iloc[0])] if len(sized) else sized
        if len(trials) == 1 or len(changes):
            sizes = tuple(trials[chosen]["latent_dim"].ffill().fillna(0).astype(int))
        if len(changes) and first["status"] == "done":
            last_change = int(changes.index[-1])
    return CurveRow(first["searcher"], int(first["seed"]), first["status"], tuple(curves), sizes, last_change)


def chosen_trial(search: pd.Series, trials: Collection[float]) -> float | None:
    """The trial whose model the search returned; its only one while unknown, None among several."""
    if search["chosen_trial"] in trials:
        return float(search["chosen_trial"])
    return next(iter(trials)) if len(trials) == 1 else None


def _curve(epochs: pd.DataFrame, role: Role) -> Curve:
    known = epochs["latent_dim"].dropna()
    values = tuple(tuple(epochs[metric.column].astype(float)) for metric in PANEL_METRICS)
    search_id, seed, trial = epochs.iloc[0][["search_id", "seed", "trial"]]
    size = int(known.iloc[-1]) if len(known) else 0
    return Curve(role, search_id, int(seed), int(trial), size, tuple(epochs["epoch"].astype(int)), values)


_LEGEND_SIZES = 8
_NAME_LETTERS = 20  # along a row's height
_HEADING_LETTERS = 28  # above a panel
_NOTE_LETTERS = 150  # below the panels
_TOP_TICKS = 6  # at most this many latent sizes fit over a panel


def draw_trainings(data: Trainings) -> Figure:
    """One row per searcher; the thick line is the chosen model's training, the red line the size's last change."""
    n = len(data.rows)
    figure = Figure(figsize=(PAGE_WIDTH * 1.25, 0.9 + 1.55 * n), layout="constrained")
    wrapped_title(figure, data.title)
    grid = figure.add_gridspec(n, len(PANEL_METRICS) + 1, width_ratios=[*[1.0] * len(PANEL_METRICS), 0.62])
    columns: list[Axes | None] = [None] * len(PANEL_METRICS)
    measured = [_measured(data, k) for k in range(len(PANEL_METRICS))]
    longest = max(curve.epochs[-1] for row in data.rows for curve in row.curves)
    for r, row in enumerate(data.rows):
        for k, metric in enumerate(PANEL_METRICS):
            ax = figure.add_subplot(grid[r, k], sharex=columns[0], sharey=columns[k])
            columns[0], columns[k] = columns[0] or ax, columns[k] or ax
            _draw_panel(ax, row, k, longest)
            if metric.better == "lower" and worth_log(measured[k]):
                log_scale(ax, "y", measured[k])
            if r == 0:
                heading = f"{metric.heading(data.fid_features, chr(10))} {metric.arrow}"
                ax.set_title(fold(heading, _HEADING_LETTERS), pad=6)
            if r == n - 1:
                ax.set_xlabel("epoch")
            if k == 0:
                _row_label(ax, row)
        _legend(figure.add_subplot(grid[r, -1]), row)
    if data.notes:
        notes = "\n".join(fold(note, _NOTE_LETTERS) for note in data.notes)
        figure.supxlabel(notes, x=0.01, ha="left", fontsize=7, color=GREY)
    return figure


def _measured(data: Trainings, k: int) -> list[float]:
    """Collects the finite values of a column, whose rows share one scale."""
    return [v for row in data.rows for curve in row.curves for v in curve.values[k] if math.isfinite(v)]


def _draw_panel(ax: Axes, row: CurveRow, k: int, longest: int) -> None:
    color = searcher_style(row.searcher).color
    for curve in sorted(row.curves, key=lambda curve: ["other seed", "trial", "main"].index(curve.role)):
        line = ax.plot(curve.epochs, curve.values[k], color=color, marker="." if len(curve.epochs) == 1 else "")[0]
        if curve.role == "main":
            line.set_path_effects([Stroke(linewidth=3.0, foreground="white"), Normal()])
        elif curve.role == "trial":
            line.set(color=_size_color(curve, row), linewidth=0.8)
        else:
            line.set(alpha=0.3, linewidth=0.9)
    if not np.isfinite([v for curve in row.curves for v in curve.values[k]]).any():
        no_values(ax)
    if row.last_change is not None:
        ax.axvline(row.last_change, color=STOP_RED, linewidth=1.0, linestyle="--")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    if row.sizes and row.main is not None:
        ticks = size_ticks(row.main.epochs, row.sizes, longest / _TOP_TICKS)
        top = ax.secondary_xaxis("top")
        top.set_xticks(list(ticks), [str(size) for size in ticks.values()])
        top.tick_params(labelsize=7, colors=color, pad=1, length=2)


def size_ticks(epochs: tuple[int, ...], sizes: tuple[int, ...], gap: float) -> dict[int, int]:
    """Epochs to mark with their latent size: the first, later ones with a new size, the last; at least `gap` apart."""
    ticks = {epochs[0]: sizes[0]}
    for epoch, size in zip(epochs, sizes, strict=True):
        last = max(ticks)
        if epoch - last >= gap and (size != ticks[last] or epoch == epochs[-1]):
            ticks[epoch] = size
    return ticks


def _row_label(ax: Axes, row: CurveRow) -> None:
    style = searcher_style(row.searcher)
    name = fold(style.label, _NAME_LETTERS)
    state = "" if row.status == "done" else f" ({row.status})"
    text = f"{name}\nseed {row.seed}{state}"
    if row.sizes:
        text += (
            f"\nsize {row.sizes[0]} → {row.sizes[-1]}" if row.sizes[0] != row.sizes[-1] else f"\nsize {row.sizes[0]}"
        )
    elif row.main is not None:
        text += f"\nchose size {row.main.latent_dim}"
    ax.set_ylabel(text, color=style.color, fontweight="bold")


def _size_color(curve: Curve, row: CurveRow) -> tuple[float, float, float, float]:
    """Returns a light colour for the smallest latent size of the row's trials, a dark one for the largest."""
    sizes = [math.log(max(other.latent_dim, 1)) for other in row.curves if other.role != "other seed"]
    span = max(sizes) - min(sizes)
    share = (math.log(max(curve.latent_dim, 1)) - min(sizes)) / span if span else 0.5
    return colormaps["viridis_r"](0.08 + 0.87 * share)


def _legend(ax: Axes, row: CurveRow) -> None:
    """Names the row's lines in a panel of its own, so that it covers no curve."""
    ax.axis("off")
    color = searcher_style(row.searcher).color
    entries: list[tuple[Line2D, str]] = []
    if row.main is not None:
        name = f"size {row.main.latent_dim} (chosen)" if not row.sizes else f"seed {row.seed}"
        entries.append((Line2D([], [], color=color), name))
    by_size = {curve.latent_dim: curve for curve in row.curves if curve.role == "trial"}
    sizes = sorted(by_size)
    shown = sorted(set(np.linspace(0, len(sizes) - 1, min(_LEGEND_SIZES, len(sizes))).round().astype(int).tolist()))
    for size in (sizes[i] for i in shown):
        entries.append((Line2D([], [], color=_size_color(by_size[size], row), linewidth=0.8), f"size {size}"))
    if any(curve.role == "other seed" for curve in row.curves):
        entries.append((Line2D([], [], color=color, alpha=0.3, linewidth=0.9), "other seeds"))
    if row.last_change is not None:
        stop = Line2D([], [], color=STOP_RED, linewidth=1.0, linestyle="--")
        entries.append((stop, f"last change of size\n(epoch {row.last_change})"))
    if row.sizes:
        entries.append((Line2D([], [], linestyle="none"), "top: latent size"))
    ax.legend(*zip(*entries, strict=True), loc="center left", borderaxespad=0, handlelength=1.4, labelspacing=0.3)
