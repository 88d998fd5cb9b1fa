"""What each searcher's choice gives away against the best that the exhaustive grid trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.analysis.stats import mean_interval
from reports.data.groups import Group
from reports.data.names import noted
from reports.data.quantities import PANEL_METRICS, Quantity
from reports.drawing.base import Marks
from reports.drawing.layout import fold, legend_below, unfinished, wrapped_title
from reports.drawing.strips import MEAN_INTERVAL, bar, dot, draw_absence, draw_dots, draw_mean, name_rows, row_names
from reports.drawing.style import COLUMN_WIDTH, GREY, searcher_styles
from reports.drawing.traces import Choice, choice, folded, numbers, points, run_texts, scaled_axis

_COLUMNS = ["metric", "searcher", "mark", "seed", "search_id", "latent_dim", "regret", "low", "high"]
_LABEL_LETTERS, _HEADING_LETTERS = 15, 24  # a line of a searcher's name, and of a metric's below a panel
_ROW = 0.24  # inches, of a row
_SPREAD = (-0.26, 0.08)  # of a row: where its dots are


def regret_data(group: Group) -> Marks | None:
    """Regret of the group's finished searches; None where no grid search has finished.

    A search's regret in a metric is the validation value of the training it chose (mean over its last 5 epochs) minus
    the best among all trainings of the grid search of its seed, the sequential one before any other; for a metric where
    higher is better, the other way round. The best differs from metric to metric: the grid itself chose one training
    for all, and has regret too.

    One row a mark: a finished search (mark `seed`), or its searcher's mean over several (mark `mean`).

    regret: in the metric's unit, lower is better: above 0 worse than the best of the grid's trainings, below 0
    better. low, high: the 95 % bootstrap interval of the mean, where there are seeds enough for one.
    """
    done = group.done
    names = [metric.column for metric in PANEL_METRICS]
    signs = [1.0 if metric.better == "lower" else -1.0 for metric in PANEL_METRICS]
    losses = group.trials[["search_id", "trial"]].join(group.trials[names] * signs)
    grids = losses.merge(_references(done, group.grids))
    if grids.empty:
        return None
    best = grids.groupby("seed")[names].min()
    chosen = done[["search_id", "searcher", "seed", "latent_dim", "chosen_trial"]].merge(
        losses, how="left", left_on=["search_id", "chosen_trial"], right_on=["search_id", "trial"]
    )
    notes = unfinished(group)
    alone = ~chosen["seed"].isin(best.index)
    notes += noted("Not drawn, without a finished grid of their seed", chosen.loc[alone, "searcher"])
    paired = chosen[~alone].reset_index(drop=True)
    paired[names] -= best.loc[paired["seed"]].to_numpy()
    parts = []
    for metric in PANEL_METRICS:
        seeds = paired.assign(metric=metric.heading(group.fid_features), regret=paired[metric.column], mark="seed")
        parts.append(_with_means(seeds.dropna(subset=["regret"])))
        lost = seeds.loc[seeds["regret"].isna(), "searcher"]
        notes += noted(f"Without {metric.label}, their own or their grid's", lost)
    marks = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"seed": "Int64"})
    return Marks(f"Regret: {group.title}", group.fid_features, tuple(group.searchers), marks, tuple(notes))


def _references(done: pd.DataFrame, grids: Sequence[str]) -> pd.DataFrame:
    """Returns the ids and seeds of the grid searches to compare with: for each seed the first of `grids`."""
    found = done.loc[done["searcher"].isin(grids), ["search_id", "seed", "searcher"]]
    place = found["searcher"].map(grids.index)
    return found.loc[place == place.groupby(found["seed"]).transform("min"), ["search_id", "seed"]]


def _with_means(seeds: pd.DataFrame) -> pd.DataFrame:
    """Adds to the seeds' rows of one metric a row for the mean of each searcher that has several."""
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


def draw_regret(data: Marks) -> Figure:
    """Two by two panels, a row a searcher: dots are seeds, below them their mean; 0 is the grid's best."""
    names, rows = row_names(data.searchers, _LABEL_LETTERS, _ROW)
    height = 1.0 + 2 * (0.55 + rows) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(2, 2, sharey=True)
    for ax, metric in zip(axes.flat, PANEL_METRICS, strict=True):
        _draw_panel(ax, data, metric)
    name_rows(axes[0, 0], names)
    zero = Line2D([], [], color=GREY, linestyle="--", linewidth=0.9)
    entries: list[tuple[Artist, str]] = [(dot(), "one seed"), (zero, "the grid's best")]
    if (data.marks["mark"] == "mean").any():
        intervals = bool(data.marks["low"].notna().any())
        entries.append((bar(intervals), MEAN_INTERVAL if intervals else "mean"))
    handles, labels = zip(*entries, strict=True)
    legend_below(figure, handles, labels, ["Right of 0: worse than the best grid training of the seed.", *data.notes])
    return figure


def _draw_panel(ax: Axes, data: Marks, metric: Quantity) -> None:
    marks = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
    ax.axvline(0, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
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
    for metric in PANEL_METRICS:
        metric_marks = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
        if metric_marks.empty:
            continue
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
        yield choice(metric.label, traces, xaxis=x, yaxis=y, shapes=[zero], showlegend=False)
