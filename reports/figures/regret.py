"""What each searcher's choice gives away against the size that the grid's other seeds show to be best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from reports.analysis.losses import grid_trainings, retraining_sd
from reports.analysis.stats import mean_interval
from reports.data.groups import Group
from reports.data.names import noted
from reports.data.quantities import QUALITY_METRICS, Quantity
from reports.drawing.base import Marks
from reports.drawing.layout import fold, legend_below, unfinished, wrapped_title
from reports.drawing.strips import MEAN_INTERVAL, bar, dot, draw_absence, draw_dots, draw_mean, name_rows, row_names
from reports.drawing.style import COLUMN_WIDTH, GREY, searcher_styles
from reports.drawing.traces import Choice, choice, folded, numbers, points, run_texts, scaled_axis

_COLUMNS = ["metric", "searcher", "mark", "seed", "search_id", "latent_dim", "regret", "low", "high"]
_LABEL_LETTERS, _HEADING_LETTERS = 15, 24  # a line of a searcher's name, and of a metric's below a panel
_ROW = 0.24  # inches, of a row
_READING = "Right of 0: worse than one would be who knew the best size. Grey: what retraining it costs."
_BAND = 0.2  # opacity
_SPREAD = (-0.26, 0.08)  # of a row: where its dots are


def regret_data(group: Group) -> Marks | None:
    """Regret of the group's finished searches; None without two seeds of a grid whose trainings have test metrics.

    A search's regret in a metric is its test value less that of the grid's training, in its seed, of the size that has
    the best mean over the grid's other seeds; for a metric where higher is better, the other way round. Searches of
    other sizes than the grid's are left out.

    One row a mark: a finished search (mark `seed`), its searcher's mean over several (mark `mean`), and what retraining
    costs (mark `retraining`): from -sd to sd of the difference of two trainings of one size in one seed.

    regret: in the metric's unit, lower is better: above 0 worse than the training of the size that was known to be
    best. low, high: the range of the seeds, from 6 seeds on the 95 % t-interval of the mean.
    """
    grids = _references(group.done, group.grids)
    chosen = group.done[["search_id", "searcher", "seed", "latent_dim", "space", *(m.tested for m in QUALITY_METRICS)]]
    spaces = group.done.loc[group.done["search_id"].isin(grids["search_id"]), "space"]
    elsewhere, alone = ~chosen["space"].isin(spaces), ~chosen["seed"].isin(grids["seed"])
    notes = unfinished(group)
    notes += noted("Not drawn, of other sizes than the grid's", chosen.loc[elsewhere, "searcher"])
    notes += noted("Not drawn, without a finished grid of their seed", chosen.loc[alone & ~elsewhere, "searcher"])
    paired = chosen[~alone & ~elsewhere]
    parts = []
    for metric in QUALITY_METRICS:
        sign = 1.0 if metric.better == "lower" else -1.0
        trainings = sign * grid_trainings(group, metric.column, grids["search_id"])
        if trainings.notna().any(axis=None) and len(trainings) > 1:
            regret = sign * paired[metric.tested] - paired["seed"].map(known_best(trainings))
            seeds = paired.assign(metric=metric.heading(group.fid_features), regret=regret, mark="seed")
            parts.append(_with_means(seeds.dropna(subset=["regret"]), trainings))
            lost = seeds.loc[seeds["regret"].isna(), "searcher"]
            notes += noted(f"Without {metric.name(group.fid_features)}, their own or their grid's", lost)
    if not parts:
        return None
    marks = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"seed": "Int64"})
    return Marks(f"Regret: {group.title}", group.fid_features, tuple(group.searchers), marks, tuple(notes))


def _references(done: pd.DataFrame, grids: Sequence[str]) -> pd.DataFrame:
    """Returns the ids and seeds of the grid searches to compare with: for each seed the first of `grids`."""
    found = done.loc[done["searcher"].isin(grids), ["search_id", "seed", "searcher"]]
    place = found["searcher"].map(grids.index)
    first = found.assign(place=place).sort_values(["place", "search_id"]).drop_duplicates("seed")
    return first[["search_id", "seed"]]


def known_best(trainings: pd.DataFrame) -> pd.Series[float]:
    """For each seed, its loss at the size of the lowest mean over the other seeds; trainings: losses [seeds, sizes].

    Sizes without a value in some seed do not count; NaN where none is left.
    """
    complete = trainings.dropna(axis="columns")
    if complete.empty:
        return pd.Series(np.nan, trainings.index)
    values = complete.to_numpy()  # [S, K]
    sizes = (values.sum(axis=0) - values).argmin(axis=1)
    return pd.Series(values[np.arange(len(values)), sizes], trainings.index)


def _with_means(seeds: pd.DataFrame, trainings: pd.DataFrame) -> pd.DataFrame:
    """Adds to the seeds' rows of one metric the mean of each searcher that has several, and what retraining costs."""
    metric = seeds["metric"].iloc[0] if len(seeds) else ""
    more: list[dict[str, object]] = []
    for searcher, values in seeds.groupby("searcher")["regret"]:
        if len(values) > 1:
            low, high = mean_interval(values)
            more.append({"searcher": searcher, "mark": "mean", "regret": values.mean(), "low": low, "high": high})
    complete = trainings.dropna(axis="columns")
    if len(seeds) and len(complete.columns):
        size, sd = complete.mean().idxmin(), retraining_sd(complete)
        more += (
            []
            if np.isnan(sd)
            else [{"searcher": "", "mark": "retraining", "latent_dim": size, "regret": 0.0, "low": -sd, "high": sd}]
        )
    return pd.concat([seeds.assign(low=np.nan, high=np.nan), pd.DataFrame(more).assign(metric=metric)])


def draw_regret(data: Marks) -> Figure:
    """Two by two panels, a row a searcher: dots are seeds, below them their mean; 0 is the size known to be best."""
    names, rows = row_names(data.searchers, _LABEL_LETTERS, _ROW)
    height = 1.0 + 2 * (0.55 + rows) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(2, 2, sharey=True)
    for ax, metric in zip(axes.flat, QUALITY_METRICS, strict=True):
        _draw_panel(ax, data, metric)
    name_rows(axes[0, 0], names)
    zero = Line2D([], [], color=GREY, linestyle="--", linewidth=0.9)
    entries: list[tuple[Artist, str]] = [(dot(), "one seed"), (zero, "best size known")]
    if (data.marks["mark"] == "retraining").any():
        entries.append((Patch(facecolor=GREY, alpha=_BAND), "retraining it (1 sd)"))
    if (data.marks["mark"] == "mean").any():
        entries.append((bar(True), MEAN_INTERVAL))
    handles, labels = zip(*entries, strict=True)
    legend_below(figure, handles, labels, [_READING, *data.notes])
    return figure


def _draw_panel(ax: Axes, data: Marks, metric: Quantity) -> None:
    marks = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
    ax.axvline(0, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    for _, band in marks[marks["mark"] == "retraining"].iterrows():
        ax.axvspan(band["low"], band["high"], color=GREY, alpha=_BAND, linewidth=0, zorder=0)
    for y, searcher in enumerate(data.searchers):
        searcher_marks = marks[marks["searcher"] == searcher]
        if searcher_marks.empty:
            draw_absence(ax, y, "no value")
            continue
        for _, mean in searcher_marks[searcher_marks["mark"] == "mean"].iterrows():
            draw_mean(ax, y + 0.3, mean["regret"], mean["low"], mean["high"], searcher)
        draw_dots(ax, y, searcher_marks.loc[searcher_marks["mark"] == "seed", "regret"].tolist(), searcher, _SPREAD)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y", visible=False)
    if marks.empty:
        ax.set_xticks([])
    ax.set_xlabel(fold(metric.heading(data.fid_features, chr(10)), _HEADING_LETTERS), fontsize=7)


def interactive_regret(data: Marks, most_runs: int) -> Iterable[Choice]:
    """A choice a metric: a row a searcher, with its seeds and their mean."""
    styles = searcher_styles(data.searchers)
    names = [folded(style.label) for style in styles.values()]
    y = {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.4, -0.6]}
    y |= {"automargin": True}
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    zero |= {"line": {"color": "#888888", "dash": "dash", "width": 1.2}}
    for metric in QUALITY_METRICS:
        metric_marks = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
        if metric_marks.empty:
            continue
        bands = [
            {"type": "rect", "x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
            | {"line": {"width": 0}, "fillcolor": "#888888", "opacity": _BAND}
            for low, high in metric_marks.loc[metric_marks["mark"] == "retraining", ["low", "high"]].to_numpy().tolist()
        ]
        hover = f"<br>regret %{{x:.4~g}} {metric.unit}"
        traces = []
        for place, (name, style) in enumerate(styles.items()):
            seeds, means = (
                metric_marks[(metric_marks["searcher"] == name) & (metric_marks["mark"] == mark)]
                for mark in ("seed", "mean")
            )
            spread = np.linspace(*_SPREAD, len(seeds)) if len(seeds) > 1 else np.zeros(len(seeds))
            seeds, means = seeds.assign(place=place + spread), means.assign(place=place + 0.3)
            traces.append(points(seeds, "regret", "place", style, 9, 0.75, hover, run_texts(seeds, style)))
            bars = {"array": numbers(means["high"] - means["regret"])}
            bars |= {"arrayminus": numbers(means["regret"] - means["low"])}
            traces.append(
                points(means, "regret", "place", style, 13, 1.0, hover, run_texts(means, style))
                | {"error_x": {"type": "data", "symmetric": False, "thickness": 1.5, **bars}}
            )
        x = scaled_axis(f"regret: {metric.heading(data.fid_features)}", [])
        yield choice(metric.name(data.fid_features), traces, xaxis=x, yaxis=y, shapes=[*bands, zero], showlegend=False)
