"""What each searcher's choice gives away against the best that the exhaustive grid trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.analysis.stats import FEW_SEEDS, mean_interval
from reports.data.groups import Group, Store
from reports.data.names import counted
from reports.data.quantities import CURVES, Quantity
from reports.drawing.axes import fold
from reports.drawing.legend import legend_below, unfinished, wrapped_title
from reports.drawing.style import COLUMN_WIDTH, searcher_style

GRID = "grid"
_COLUMNS = ["metric", "searcher", "mark", "seed", "search_id", "latent_dim", "regret", "low", "high"]
_LABEL_LETTERS, _HEADING_LETTERS = 15, 24  # a line of a searcher's name, and of a metric's below a panel
_ROW, _LINE = 0.24, 0.12  # inches: of a row, and what every line of its name after the second adds
_GREY = "#666666"


@dataclass(frozen=True)
class Regret:
    """Marks of the four panels over all searchers of the group, and sentences on the searches that have none."""

    title: str
    fid_features: str
    searchers: tuple[str, ...]
    marks: pd.DataFrame
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a mark: a finished search (mark `seed`), or its searcher's mean over several (mark `mean`).

        regret: in the metric's unit, lower is better: above 0 worse than the best of the grid's trainings, below 0
        better. low, high: the 95 % bootstrap interval of the mean, where there are seeds enough for one.
        """
        return self.marks


def regret_data(group: Group, store: Store) -> Regret | None:
    """Regret of the group's finished searches; None where no grid search has finished.

    A search's regret in a metric is the validation value of the training it chose (mean over its last 5 epochs) minus
    the best among all trainings of the grid search of its seed; for a metric where higher is better, the other way
    round. The best differs from metric to metric: the grid itself chose one training for all, and has regret too.
    """
    done = group.searches[group.searches["status"] == "done"]
    names = [metric.column for metric in CURVES]
    signs = [1.0 if metric.better == "lower" else -1.0 for metric in CURVES]
    losses = group.trials[["search_id", "trial"]].join(group.trials[names] * signs)
    grids = losses.merge(done.loc[done["searcher"] == GRID, ["search_id", "seed"]])
    if grids.empty:
        return None
    best = grids.groupby("seed")[names].min()
    chosen = done[["search_id", "searcher", "seed", "latent_dim", "chosen_trial"]].merge(
        losses, how="left", left_on=["search_id", "chosen_trial"], right_on=["search_id", "trial"]
    )
    notes = unfinished(group)
    alone = ~chosen["seed"].isin(best.index)
    if alone.any():
        notes.append(f"Not drawn, without a finished grid of their seed: {counted(chosen.loc[alone, 'searcher'])}.")
    paired = chosen[~alone].reset_index(drop=True)
    paired[names] -= best.loc[paired["seed"]].to_numpy()
    parts = []
    for metric in CURVES:
        seeds = paired.assign(metric=metric.heading(group.fid_features), regret=paired[metric.column], mark="seed")
        parts.append(_with_means(seeds.dropna(subset=["regret"])))
        lost = seeds.loc[seeds["regret"].isna(), "searcher"]
        if len(lost):
            notes.append(f"Without {metric.label}, their own or their grid's: {counted(lost)}.")
    marks = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"seed": "Int64"})
    return Regret(f"Regret: {group.title}", group.fid_features, tuple(group.searchers), marks, tuple(notes))


def _with_means(seeds: pd.DataFrame) -> pd.DataFrame:
    """The seeds' rows of one metric and, below them, a row for the mean of each searcher that has several."""
    means = []
    for searcher, values in seeds.groupby("searcher")["regret"]:
        if len(values) > 1:
            means.append((seeds["metric"].iloc[0], searcher, "mean", values.mean(), *mean_interval(values)))
    return pd.concat(
        [
            seeds.assign(low=np.nan, high=np.nan),
            pd.DataFrame(means, columns=["metric", "searcher", "mark", "regret", "low", "high"]),
        ]
    )


def draw_regret(data: Regret) -> Figure:
    """Two by two panels, a row a searcher: dots are seeds, below them their mean; 0 is the grid's best."""
    names = [fold(searcher_style(name).label, _LABEL_LETTERS) for name in data.searchers]
    pitch = _ROW + _LINE * max(0, max(name.count("\n") for name in names) - 1)
    height = 1.0 + 2 * (0.55 + pitch * len(names)) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(2, 2, sharey=True)
    for ax, metric in zip(axes.flat, CURVES, strict=True):
        _draw_panel(ax, data, metric)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    dot = Line2D([], [], color=_GREY, marker="o", markersize=4, linestyle="none", alpha=0.6)
    zero = Line2D([], [], color=_GREY, linestyle="--", linewidth=0.9)
    entries: list[tuple[Artist, str]] = [(dot, "one seed"), (zero, "the grid's best")]
    if (data.marks["mark"] == "mean").any():
        intervals = data.marks["low"].notna().any()
        bar = Line2D([], [], color=_GREY, marker="|", markersize=7, linestyle="-" if intervals else "none")
        entries.append((bar, f"mean, 95 % interval from {FEW_SEEDS} seeds on" if intervals else "mean"))
    handles, labels = zip(*entries, strict=True)
    legend_below(figure, handles, labels, ["Right of 0: worse than the best grid training of the seed.", *data.notes])
    return figure


def _draw_panel(ax: Axes, data: Regret, metric: Quantity) -> None:
    marks = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
    ax.axvline(0, color=_GREY, linestyle="--", linewidth=0.9, zorder=1)
    for y, searcher in enumerate(data.searchers):
        own = marks[marks["searcher"] == searcher]
        if own.empty:
            text = ax.text(0.03, y, "no value", transform=ax.get_yaxis_transform(), fontsize=7, va="center")
            text.set_color(_GREY)
            continue
        style = searcher_style(searcher)
        for _, mean in own[own["mark"] == "mean"].iterrows():
            ax.plot([mean["low"], mean["high"]], [y + 0.3, y + 0.3], color=style.color, linewidth=1.1)
            ax.plot([mean["regret"]], [y + 0.3], marker="|", markersize=6, markeredgewidth=1.5, color=style.color)
        dots = own.loc[own["mark"] == "seed", "regret"]
        ax.plot(
            dots,
            y + (np.linspace(-0.26, 0.08, len(dots)) if len(dots) > 1 else np.zeros(1)),
            linestyle="none",
            marker=style.marker,
            markersize=4.5,
            color=style.color,
            alpha=0.75,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", visible=False)
    if marks.empty:
        ax.set_xticks([])
    ax.set_xlabel(fold(metric.heading(data.fid_features, chr(10)), _HEADING_LETTERS), fontsize=7)
