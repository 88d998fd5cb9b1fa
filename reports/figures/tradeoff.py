"""Quality against cost: each searcher's finished searches, and the Pareto front over the searchers' means."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.data.groups import Group
from reports.data.names import noted
from reports.data.numbers import scaled
from reports.data.quantities import QUALITY_METRICS, TRAIN_FLOPS, Quantity
from reports.drawing.base import Marks
from reports.drawing.layout import (
    fold,
    legend_below,
    log_scale,
    no_values,
    searcher_entries,
    unfinished,
    worth_log,
    wrapped_title,
)
from reports.drawing.style import COLUMN_WIDTH, DARK_GREY, GREY, SearcherStyle, drawn_styles
from reports.drawing.traces import SIDE_LETTERS, Choice, choice, dashed, points, run_texts, scaled_axis
from searchers.parts.pareto import on_front

_HEADING_LETTERS = 24  # a line, along a panel
_TICKS = 4  # of a log axis in these small panels
_COLUMNS = ["metric", "searcher", "mark", "seed", "search_id", "latent_dim", "cost", "quality", "on_front"]


def tradeoff_data(group: Group) -> Marks | None:
    """Cost and test metrics of the group's finished searches; None where none has both.

    One row a mark: a finished search (mark `seed`) or its searcher's mean (mark `mean`).

    quality: the metric on the test split, in its unit, or its mean. cost: training FLOPs summed over all trainings
    of the search, or their mean. on_front: whether the searcher's mean is on the
    Pareto front, which no other mean beats in cost or quality without being worse in the other.
    """
    done = group.done
    parts, notes = [], unfinished(group)
    for metric in QUALITY_METRICS:
        seeds = pd.DataFrame(
            {
                "metric": metric.heading(group.fid_features),
                "mark": "seed",
                "cost": done[TRAIN_FLOPS.column],
                "quality": done[metric.tested],
                **{name: done[name] for name in ("searcher", "seed", "search_id", "latent_dim")},
            }
        ).dropna(subset=["cost", "quality"])
        parts.append(_with_means(seeds, metric))
        lost = done.loc[~done.index.isin(seeds.index) & done[metric.tested].notna().any(), "searcher"]
        notes += noted(f"Finished without {metric.name(group.fid_features)} or FLOPs", lost)
    marks = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"seed": "Int64"})
    if marks.empty:
        return None
    title = f"Quality against cost: {group.title}"
    return Marks(title, group.fid_features, tuple(group.searchers), marks, tuple(notes))


def _with_means(seeds: pd.DataFrame, metric: Quantity) -> pd.DataFrame:
    """Adds to the seeds' rows a row for each searcher's mean, and `on_front` to all."""
    means = seeds.groupby(["metric", "searcher"], as_index=False)[["cost", "quality"]].mean().assign(mark="mean")
    losses = means[["cost", "quality"]].to_numpy() * [1.0, 1.0 if metric.better == "lower" else -1.0]
    front = means.loc[on_front(losses), "searcher"]
    marks = pd.concat([seeds, means], ignore_index=True)
    return marks.assign(on_front=marks["searcher"].isin(front))


def draw_tradeoff(data: Marks) -> Figure:
    """Two by two panels: the cost to the right, a metric upward."""
    styles = drawn_styles(data.searchers, data.marks["searcher"])
    entries = searcher_entries(styles.values(), is_line=False)
    height = 3.7 + 0.1 * len(entries[1]) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(2, 2, sharex=True)
    divisor, unit = scaled(TRAIN_FLOPS.column, data.marks["cost"].max())
    marks = data.marks.assign(cost=data.marks["cost"] / divisor)
    panels = [
        (ax, metric, marks[marks["metric"] == metric.heading(data.fid_features)])
        for ax, metric in zip(axes.flat, QUALITY_METRICS, strict=True)
    ]
    if worth_log(marks["cost"].tolist()):
        log_scale(axes[0, 0], "x", marks["cost"].tolist(), _TICKS)
    for ax, metric, metric_marks in panels:
        _draw_marks(ax, metric_marks, metric, styles)
        heading = f"{metric.heading(data.fid_features, chr(10))} {metric.arrow}"
        ax.set_ylabel(fold(heading, _HEADING_LETTERS), fontsize=7)
    for ax, metric, metric_marks in panels:  # once the axis that the panels share has its limits
        _draw_front(ax, metric_marks[(metric_marks["mark"] == "mean") & metric_marks["on_front"]], metric)
    figure.align_ylabels(axes)
    for ax in axes[1]:
        ax.set_xlabel(f"whole search's\ntraining ({unit})", fontsize=7)
    reading = "Small: a seed; large: mean over seeds; dashed: Pareto front."
    legend_below(figure, *entries, [reading, *data.notes])
    return figure


def _draw_marks(ax: Axes, marks: pd.DataFrame, metric: Quantity, styles: dict[str, SearcherStyle]) -> None:
    qualities = marks["quality"].tolist()
    if not qualities:
        no_values(ax)
        ax.set_yticks([])
    elif metric.better == "lower" and worth_log(qualities):
        log_scale(ax, "y", qualities, _TICKS)
    ax.margins(0.08)
    for (searcher, mark), rows in marks.groupby(["searcher", "mark"]):
        large = mark == "mean"
        ax.plot(
            rows["cost"],
            rows["quality"],
            linestyle="none",
            **styles[str(searcher)].mark | {"markeredgewidth": 0.6 if large else 0.2},
            markersize=7 if large else 3.2,
            alpha=1.0 if large else 0.5,
            zorder=3 if large else 2,
        )


def _draw_front(ax: Axes, front: pd.DataFrame, metric: Quantity) -> None:
    """Draws a step line through the means on the front, and from its ends to the panel's edges."""
    if front.empty:
        return
    front = front.sort_values("cost")
    (_, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    x = [front["cost"].iloc[0], *front["cost"], right]
    y = [high if metric.better == "lower" else low, *front["quality"], front["quality"].iloc[-1]]
    ax.plot(x, y, drawstyle="steps-post", color=DARK_GREY, linewidth=0.9, linestyle="--", scalex=False, scaley=False)


def interactive_tradeoff(data: Marks, most_runs: int) -> Iterable[Choice]:
    """A choice a metric: seeds, means and their Pareto front."""
    divisor, unit = scaled(TRAIN_FLOPS.column, data.marks["cost"].max())
    marks = data.marks.assign(cost=data.marks["cost"] / divisor)
    x = scaled_axis(f"training FLOPs of the whole search ({unit})", marks["cost"].tolist())
    for metric in QUALITY_METRICS:
        metric_marks = marks[marks["metric"] == metric.heading(data.fid_features)]
        if metric_marks.empty:
            continue
        front = metric_marks[(metric_marks["mark"] == "mean") & metric_marks["on_front"]].sort_values("cost")
        traces = [dashed(front, "cost", "quality", GREY, "Pareto front of the means")]
        hover = f"<br>%{{x:.4~g}} {unit}, {metric.name(data.fid_features)} %{{y:.5~g}}"
        for name, style in drawn_styles(data.searchers, metric_marks["searcher"]).items():
            seeds, mean = (
                metric_marks[(metric_marks["searcher"] == name) & (metric_marks["mark"] == mark)]
                for mark in ("seed", "mean")
            )
            for rows, size, opacity in ((seeds, 9, 0.7), (mean, 15, 1.0)):
                texts = run_texts(seeds if len(seeds) == 1 else rows, style)  # the mean of one search is that search
                trace = points(rows, "cost", "quality", style, size, opacity, hover, texts)
                traces.append(trace | {"legendgroup": name, "showlegend": rows is mean})
        values = metric_marks["quality"].tolist() if metric.better == "lower" else []
        y = scaled_axis(f"{metric.heading(data.fid_features)} {metric.arrow}", values, SIDE_LETTERS)
        yield choice(metric.name(data.fid_features), traces, xaxis=x, yaxis=y)
