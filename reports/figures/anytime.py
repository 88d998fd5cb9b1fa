"""The best model so far against the cost so far, over everything a search trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.typing import DataFrameGroupBy

from reports.analysis.comparison import time_notes
from reports.analysis.stats import FEW_SEEDS, mean_intervals
from reports.data.groups import Group
from reports.data.names import noted
from reports.data.numbers import scaled
from reports.data.quantities import PANEL_METRICS, TRAIN_FLOPS, WALL_SECONDS, Quantity
from reports.drawing.base import Marks
from reports.drawing.layout import (
    legend_below,
    log_scale,
    no_values,
    searcher_entries,
    unfinished,
    worth_log,
    wrapped_title,
)
from reports.drawing.style import COLUMN_WIDTH, SearcherStyle, drawn_styles
from reports.drawing.traces import (
    SIDE_LETTERS,
    Choice,
    band,
    choice,
    line,
    main_on_top,
    mean_text,
    named_once,
    run_text,
    scaled_axis,
    stepped,
)
from searchers.quantities import LAST_EPOCHS

AXES = (TRAIN_FLOPS, WALL_SECONDS)
_POINTS = 100  # of a mean curve at most
_KEYS = ["search_id", "searcher", "seed", "trial", "epoch"]
_SCORES = [metric.column for metric in PANEL_METRICS]


def anytime_data(group: Group) -> Marks | None:
    """Curves of the group's finished searches against training FLOPs and wall-clock; None where there is none.

    A curve is the running minimum of the mean rank (see `candidates`) over the search's candidates, in the order of
    their cost, which is that of all the search's trainings so far. It starts at the first candidate and ends at the
    search's total cost. A searcher's mean curve starts where every seed has a candidate and ends with
    its longest search; a search that has ended keeps its best.

    One row a step of a curve; from `cost` on the curve is at `best_rank`, until the next step.

    axis: what the cost is, with its unit: training FLOPs, or wall-clock in seconds.
    line: `seed`, one search, or `mean`, over the n searches of its searcher. best_rank: see `candidates`; lower is
    better. low, high: the mean's 95 % bootstrap interval, where there are enough searches for one. The last row of
    a curve is its end.
    """
    done = group.done
    rows = candidates(done, group.epochs)
    notes, parts = unfinished(group), []
    for axis in AXES:
        curves = _ended(_steps(rows, axis.column), done, axis.column)
        label = axis.heading("")
        lost = done.loc[~done["search_id"].isin(curves["search_id"].unique()), "searcher"]
        notes += noted(f"Finished without ranked epochs or their {axis.label}", lost)
        for searcher, searcher_curves in curves.groupby("searcher"):
            several = searcher_curves["search_id"].nunique()
            if several < FEW_SEEDS:  # too few for an interval of their mean: each is drawn instead
                parts.append(searcher_curves.assign(axis=label, line="seed", n=1))
            if several > 1:
                parts.append(_mean(searcher_curves).assign(axis=label, line="mean", searcher=searcher, n=several))
    if not parts:
        return None
    notes += time_notes(group)
    columns = ["axis", "searcher", "line", "n", "seed", "search_id", "cost", "best_rank", "low", "high"]
    frame = pd.concat(parts, ignore_index=True).reindex(columns=columns).astype({"seed": "Int64"})
    title = f"Best mean rank so far: {group.title}"
    return Marks(title, group.fid_features, tuple(group.searchers), frame, tuple(notes))


def candidates(done: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """The epochs that finished searches could have chosen, in order, with their mean rank and the cost up to them.

    A search that compared its trainings says so by their Pareto front: every training is then a candidate. Otherwise
    only the chosen one is; what else was trained (a baseline that sets a bound) adds to the cost alone.
    A candidate's value of a metric is the mean over the last epochs of its training up to it, as many as the choice
    among trainings looks at. The candidates of one seed, of all searchers, are ranked together by each of the four
    metrics, as a share of those that are better (0 best, 1 worst; ties share their mean rank; NaN ranks last). Their
    mean over the metrics that some candidate of the seed has is the mean rank: lower is better. It says nothing beyond
    this seed and these searchers.
    """
    searches = done.reindex(columns=["search_id", "pareto", "chosen_trial"])
    place = epochs["search_id"].map(pd.Series(range(len(done)), index=done["search_id"], dtype=float))
    rows = epochs.loc[place.notna(), [*_KEYS, *_SCORES, *(axis.column for axis in AXES)]]
    at = place.dropna().to_numpy(dtype=int)  # of each row, its search's place in `done`
    training = rows.groupby([at, rows["trial"].to_numpy()])
    rows = rows.assign(train_flops=rows["train_flops"] + _spent_before(training), **_recent_means(rows, training))
    compared = np.array([isinstance(front, list) and bool(front) for front in searches["pareto"]], dtype=bool)
    rows = rows[compared[at] | (rows["trial"].to_numpy() == searches["chosen_trial"].to_numpy()[at])]
    ranks = rows.groupby("seed")[_SCORES].rank(na_option="bottom")
    others = rows.groupby("seed")["trial"].transform("size") - 1
    shares = (ranks - 1).div(others.clip(lower=1), axis=0)
    known = rows[_SCORES].notna().groupby(rows["seed"]).transform("any")
    ranked: pd.DataFrame = rows.assign(mean_rank=shares.where(known).mean(axis=1)).dropna(subset=["mean_rank"])
    return ranked


def _spent_before(training: DataFrameGroupBy[Any, Any]) -> np.ndarray:
    """Sums the FLOPs of the search's earlier trainings, for each row; NaN after one of unknown cost."""
    totals = training["train_flops"].max()
    before = totals.groupby(level=0).cumsum(skipna=False).groupby(level=0).shift(fill_value=0.0)
    return before.to_numpy()[training.ngroup()]


def _recent_means(rows: pd.DataFrame, training: DataFrameGroupBy[Any, Any]) -> dict[str, np.ndarray]:
    """Averages each metric over the training's last epochs up to each row; NaN where one is; lower is better."""
    age = training.cumcount().to_numpy()
    signs = [1.0 if metric.better == "lower" else -1.0 for metric in PANEL_METRICS]
    values = rows[_SCORES].to_numpy(dtype=float) * signs  # [N, 4]
    total = values.copy()
    for lag in range(1, min(LAST_EPOCHS, len(rows))):
        total[lag:] += np.where((age >= lag)[lag:, None], values[:-lag], 0.0)
    means = total / np.minimum(age + 1, LAST_EPOCHS)[:, None]
    return dict(zip(_SCORES, means.T, strict=True))


def _steps(rows: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Keeps the candidates of known cost that were the search's best so far, by rising cost.

    Trainings that ran at the same time overlap on the wall-clock, so their order is the clock's and not their numbers'.
    """
    by_cost = rows.assign(cost=rows[axis]).dropna(subset=["cost"]).sort_values(["search_id", "cost"], kind="stable")
    best = by_cost.groupby("search_id")["mean_rank"].cummin()
    is_step = best < best.groupby(by_cost["search_id"]).shift(fill_value=np.inf)
    return by_cost.assign(best_rank=best)[is_step]


def _ended(steps: pd.DataFrame, done: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Adds to each search's steps its total cost, at the rank of the last step."""
    curves = steps[["searcher", "seed", "search_id", "cost", "best_rank"]]
    ends = curves.groupby("search_id").tail(1)
    total = ends["search_id"].map(done.set_index("search_id")[axis])
    ends = ends.assign(cost=np.fmax(total, ends["cost"]))
    both = pd.concat([curves, ends]).sort_values(["search_id", "cost"], kind="stable")
    return both.drop_duplicates(["search_id", "cost"], keep="last")


def _mean(curves: pd.DataFrame) -> pd.DataFrame:
    """Averages a searcher's step curves, at all of their steps or, if there are many, at some."""
    each = [curve for _, curve in curves.groupby("search_id")]
    costs = np.unique(curves["cost"])
    costs = costs[costs >= max(curve["cost"].iloc[0] for curve in each)]
    if len(costs) > _POINTS:  # as many of them, evenly spread over a log axis
        log = np.log(np.maximum(costs, 1e-9 * costs[-1]))
        costs = costs[np.unique(np.searchsorted(log, np.linspace(log[0], log[-1], _POINTS)))]
    values = np.stack(
        [curve["best_rank"].to_numpy()[np.searchsorted(curve["cost"], costs, side="right") - 1] for curve in each]
    )  # [seeds, costs]
    low, high = mean_intervals(values.T).T
    return pd.DataFrame({"cost": costs, "best_rank": values.mean(axis=0), "low": low, "high": high})


def draw_anytime(data: Marks) -> Figure:
    """Two panels, one above the other; a curve's marker is where its search, or the mean's longest search, ends."""
    styles = drawn_styles(data.searchers, data.marks["searcher"])
    entries = searcher_entries(styles.values(), is_line=True)
    height = 4.4 + 0.1 * len(entries[1]) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    panels = figure.subplots(2, 1, sharey=True)
    for ax, axis in zip(panels, AXES, strict=True):
        _draw_panel(ax, data.marks[data.marks["axis"] == axis.heading("")], axis, styles)
        ax.set_ylabel("best mean rank so far\n(0 best, 1 worst) ↓")
    lines = set(data.marks["line"])
    reading = "Large marker: search's end."
    if "mean" in lines:
        reading += " Line: mean over seeds" + ("; thin: a seed." if "seed" in lines else ".")
    notes = [reading, *data.notes]
    if data.marks["low"].notna().any():
        notes.insert(1, "Band: 95 % bootstrap interval of the mean.")
    legend_below(figure, *entries, notes)
    return figure


def _draw_panel(ax: Axes, curves: pd.DataFrame, axis: Quantity, styles: dict[str, SearcherStyle]) -> None:
    if curves.empty:
        no_values(ax, f"no {axis.label} known")
        ax.set_xticks([])
        return
    divisor, unit = scaled(axis.column, curves["cost"].max())
    curves = curves.assign(cost=curves["cost"] / divisor)
    if worth_log(curves["cost"].tolist()):
        log_scale(ax, "x", curves["cost"].tolist())
    for searcher, style in styles.items():
        searcher_curves = curves[curves["searcher"] == searcher]
        seeds, mean = (
            searcher_curves[searcher_curves["line"] == "seed"],
            searcher_curves[searcher_curves["line"] == "mean"],
        )
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


def interactive_anytime(data: Marks, most_runs: int) -> Iterable[Choice]:
    """A choice a cost: step lines with their bands."""
    for cost in AXES:
        curves = data.marks[data.marks["axis"] == cost.heading("")]
        if curves.empty:
            continue
        divisor, unit = scaled(cost.column, curves["cost"].max())
        curves = curves.assign(cost=curves["cost"] / divisor)
        hover = f"<br>from %{{x:.4~g}} {unit} on: %{{y:.4~g}}"
        traces = []
        for name, style in drawn_styles(data.searchers, curves["searcher"]).items():
            seeds, mean = (curves[(curves["searcher"] == name) & (curves["line"] == kind)] for kind in ("seed", "mean"))
            lines = [
                line(run, "cost", "best_rank", style, hover, run_text(style, run.iloc[0]), is_main=mean.empty)
                for _, run in seeds.groupby("search_id")
            ]
            if len(mean):
                lines += band(mean, "cost", "low", "high", style)
                lines.append(line(mean, "cost", "best_rank", style, hover, mean_text(style, mean["n"])))
            traces += [stepped(trace) | {"legendgroup": name} for trace in named_once(lines)]
        traces = main_on_top(traces)
        x = scaled_axis(f"{cost.label} of the search so far ({unit})", curves["cost"].tolist())
        y = scaled_axis("best mean rank so far (0 best, 1 worst) ↓", [], SIDE_LETTERS) | {"rangemode": "tozero"}
        yield choice(cost.label, traces, xaxis=x, yaxis=y)
