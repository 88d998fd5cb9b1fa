"""The model that a search would deliver if it were stopped, against its cost so far."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.store.frames import compared_all
from reports.analysis.comparison import time_notes
from reports.analysis.effects import FEW_SEEDS
from reports.analysis.losses import grid_trainings, losses_of, seed_levels
from reports.analysis.stats import mean_intervals
from reports.data.groups import Group
from reports.data.names import noted
from reports.data.numbers import scaled
from reports.data.quantities import ELBO, TRAIN_FLOPS, WALL_SECONDS, Quantity
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

AXES = (TRAIN_FLOPS, WALL_SECONDS)
_POINTS = 100  # of a mean curve at most
_Y_LABEL = "loss of the model so far\n(parts of the gap) ↓"


def anytime_data(group: Group) -> Marks | None:
    """Curves of the group's finished searches against training FLOPs and wall-clock; None where there is none.

    A curve is the test loss of the model that one would get who stopped the search there: of its finished trainings so
    far, in the order of their cost, the one with the best validation ELBO. The cost is that of all the search's
    trainings so far. The curve starts at the first candidate (see `candidates`) and ends at the search's total cost,
    with the model that it delivered. A searcher's mean curve starts where every seed has a candidate and ends with its
    longest search; a search that has ended keeps its model.

    One row a step of a curve; from `cost` on the curve is at `loss`, until the next step.

    axis: what the cost is, with its unit: training FLOPs, or wall-clock in seconds.
    line: `seed`, one search, or `mean`, over the n searches of its searcher. loss: -ELBO on the test split above the
    best mean of a size of the grid, less the level of its seed, in parts of what latents are worth. low, high: the
    mean's 95 % t-interval, from 6 searches on. The last row of a curve is its end.
    """
    losses = losses_of(group)
    if losses is None:
        return None
    done = group.done
    rows = candidates(group)
    grids = done.loc[done["searcher"] == losses.grid, "search_id"]
    levels = -seed_levels(grid_trainings(group, ELBO.column, grids))
    of_seed, of_row = (frame["seed"].map(levels).fillna(0.0) for frame in (done, rows))
    done = done.assign(loss=(-done[ELBO.tested] - of_seed - losses.best) / losses.gap)
    rows = rows.assign(loss=(-rows["test"] - of_row - losses.best) / losses.gap)
    notes, parts = unfinished(group), []
    for axis in AXES:
        curves = _ended(_steps(rows, axis.column), done, axis.column)
        label = axis.heading("")
        lost = done.loc[~done["search_id"].isin(curves["search_id"].unique()), "searcher"]
        notes += noted(f"Finished without a test loss of their trainings or their {axis.label}", lost)
        for searcher, searcher_curves in curves.groupby("searcher"):
            several = searcher_curves["search_id"].nunique()
            if several < FEW_SEEDS:  # too few for an interval of their mean: each is drawn instead
                parts.append(searcher_curves.assign(axis=label, line="seed", n=1))
            if several > 1:
                parts.append(_mean(searcher_curves).assign(axis=label, line="mean", searcher=searcher, n=several))
    if not parts:
        return None
    notes += time_notes(group)
    columns = ["axis", "searcher", "line", "n", "seed", "search_id", "cost", "loss", "low", "high"]
    frame = pd.concat(parts, ignore_index=True).reindex(columns=columns).astype({"seed": "Int64"})
    title = f"Model so far: {group.title}"
    return Marks(title, group.fid_features, tuple(group.searchers), frame, tuple(notes))


def candidates(group: Group) -> pd.DataFrame:
    """The finished trainings that finished searches could choose from, with the costs up to their ends.

    A search that compared its trainings says so by their Pareto front: every training is then a candidate. Otherwise
    only the chosen one is; what else was trained (a baseline that sets a bound) adds to the cost alone.

    val, test: the ELBO of the finished model on either split. train_flops, wall_seconds: of the search so far.
    """
    keys = ["search_id", "trial"]
    done, epochs = group.done.reindex(columns=["search_id", "pareto", "chosen_trial"]), group.epochs
    epochs = epochs[epochs["search_id"].isin(done["search_id"])]
    ends = epochs.groupby(keys, sort=False).tail(1)[[*keys, "searcher", "seed", *(axis.column for axis in AXES)]]
    ends = ends.assign(train_flops=ends["train_flops"] + _spent_before(ends))
    # Assessments of a model with only some of its latents have no row of their epoch and size on the test split.
    curves = group.curves[[*keys, "epoch", "size", "split", ELBO.column]]
    val, test = (curves[curves["split"] == split].drop(columns="split") for split in ("val", "test"))
    pairs = test.merge(val, on=[*keys, "epoch", "size"], suffixes=("_test", "_val"))
    models = pairs.rename(columns={f"{ELBO.column}_{split}": split for split in ("test", "val")})
    models = models.drop_duplicates(keys, keep="last")  # a method may have assessed its last epoch itself
    rows = ends.merge(models[[*keys, "val", "test"]], on=keys).merge(done, on="search_id")
    compared = compared_all(rows).to_numpy()
    found: pd.DataFrame = rows[compared | (rows["trial"] == rows["chosen_trial"]).to_numpy()]
    return found.dropna(subset=["val", "test"])


def _spent_before(ends: pd.DataFrame) -> pd.Series[float]:
    """Sums the FLOPs of the search's earlier trainings, for each row; NaN after one of unknown cost."""
    so_far = ends.groupby("search_id")["train_flops"].transform(lambda flops: flops.cumsum(skipna=False))
    before: pd.Series[float] = so_far.groupby(ends["search_id"]).shift(fill_value=0.0)
    return before


def _steps(rows: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Keeps the candidates of known cost that were the best so far on validation data, by rising cost.

    Trainings that ran at the same time overlap on the wall-clock, so their order is the clock's and not their numbers'.
    """
    by_cost = rows.assign(cost=rows[axis]).dropna(subset=["cost"]).sort_values(["search_id", "cost"], kind="stable")
    best = by_cost.groupby("search_id")["val"].cummax()
    return by_cost[best > best.groupby(by_cost["search_id"]).shift(fill_value=-np.inf)]


def _ended(steps: pd.DataFrame, done: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Adds to each search's steps its total cost, at the loss of the model that it delivered."""
    curves = steps[["searcher", "seed", "search_id", "cost", "loss"]]
    ends = curves.groupby("search_id").tail(1)
    of = done.set_index("search_id")
    total, delivered = (ends["search_id"].map(of[name]) for name in (axis, "loss"))
    ends = ends.assign(cost=np.fmax(total, ends["cost"]), loss=delivered.fillna(ends["loss"]))
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
        [curve["loss"].to_numpy()[np.searchsorted(curve["cost"], costs, side="right") - 1] for curve in each]
    )  # [seeds, costs]
    low, high = mean_intervals(values.T).T if len(each) >= FEW_SEEDS else (np.nan, np.nan)
    return pd.DataFrame({"cost": costs, "loss": values.mean(axis=0), "low": low, "high": high})


def draw_anytime(data: Marks) -> Figure:
    """Two panels, one above the other; a curve's marker is where its search, or the mean's longest search, ends."""
    styles = drawn_styles(data.searchers, data.marks["searcher"])
    entries = searcher_entries(styles.values(), is_line=True)
    height = 4.8 + 0.1 * len(entries[1]) + 0.12 * len(data.notes)
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, data.title)
    panels = figure.subplots(2, 1, sharey=True)
    for ax, axis in zip(panels, AXES, strict=True):
        _draw_panel(ax, data.marks[data.marks["axis"] == axis.heading("")], axis, styles)
        ax.set_ylabel(_Y_LABEL)
    lines = set(data.marks["line"])
    reading = "Marker: search's end, large for the mean. 0: the best size of the grid; 1: a model without latents."
    if "mean" in lines:
        reading += " Line: mean over seeds" + ("; thin: a seed." if "seed" in lines else ".")
    notes = [reading, *data.notes]
    if data.marks["low"].notna().any():
        notes.insert(1, "Band: 95 % t-interval of the mean.")
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
            ax.plot(
                seed["cost"].iloc[-1:], seed["loss"].iloc[-1:], style.marker, color=color, markersize=2.5, alpha=0.5
            )
            ax.plot(seed["cost"], seed["loss"], drawstyle="steps-post", color=color, linewidth=0.5, alpha=0.5)
        ax.fill_between(mean["cost"], mean["low"], mean["high"], step="post", color=color, alpha=0.15, linewidth=0)
        _draw_main(ax, mean, style)
    ax.set_xlabel(f"{axis.label} of the search so far ({unit})")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))


def _draw_main(ax: Axes, curve: pd.DataFrame, style: SearcherStyle) -> None:
    """The curve, with small markers along it to tell it apart without colour, and a large one at its end."""
    look = {**style.mark, "linestyle": style.linestyle}
    ax.plot(curve["cost"], curve["loss"], drawstyle="steps-post", markersize=4, markevery=0.15, **look)
    ax.plot(curve["cost"].iloc[-1:], curve["loss"].iloc[-1:], markersize=7, zorder=3, **look)


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
                line(run, "cost", "loss", style, hover, run_text(style, run.iloc[0]), is_main=mean.empty)
                for _, run in seeds.groupby("search_id")
            ]
            if len(mean):
                lines += band(mean, "cost", "low", "high", style)
                lines.append(line(mean, "cost", "loss", style, hover, mean_text(style, mean["n"])))
            traces += [stepped(trace) | {"legendgroup": name} for trace in named_once(lines)]
        traces = main_on_top(traces)
        x = scaled_axis(f"{cost.label} of the search so far ({unit})", curves["cost"].tolist())
        y = scaled_axis(_Y_LABEL.replace("\n", " "), [], SIDE_LETTERS) | {"rangemode": "tozero"}
        yield choice(cost.label, traces, xaxis=x, yaxis=y)
