"""Learning curves of the chosen trainings, averaged over seeds, with the latent size below them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.data.groups import Group
from reports.data.names import noted
from reports.data.quantities import QUALITY_METRICS, Quantity
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
from reports.drawing.style import COLUMN_WIDTH, SearcherStyle, drawn_styles, searcher_styles
from reports.drawing.traces import (
    SIDE_LETTERS,
    Choice,
    Trace,
    band,
    choice,
    line,
    main_on_top,
    mean_text,
    run_text,
    scaled_axis,
    thinned,
)
from reports.figures.trainings import chosen_trial

LATENT_DIM = Quantity("latent_dim", "latent size", "dimensions")
_PANELS = (*QUALITY_METRICS, LATENT_DIM)
_HEADING_LETTERS = 46  # a line above a panel
_MARKS = 6  # markers along a line


Run = tuple[pd.Series, pd.DataFrame]
"""A search and the epochs of the training that it chose."""


@dataclass(frozen=True)
class Learning:
    """Lines of all panels. searchers: all of the group, drawn or not. notes: what is left out, how to read the rest.

    lines: one row per metric (column of the store), searcher and epoch: n_seeds whose chosen training reached the epoch
    and have the metric there, and over them its mean, low (smallest) and high (largest), NaN where there are none.
    runs: the searches that the lines are means of.
    """

    title: str
    fid_features: str
    searchers: tuple[str, ...]
    lines: pd.DataFrame
    runs: tuple[Run, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a point of a line and its band; all metrics are on validation data."""
        units = {panel.column: panel.heading(self.fid_features) for panel in _PANELS}
        return self.lines.assign(metric=self.lines["metric"].map(units))


def learning_data(group: Group) -> Learning | None:
    """Lines of each searcher's finished searches; None where none has logged an epoch."""
    done = group.done
    runs = _chosen_trainings(done, group.epochs)
    if not runs:
        return None
    trainings = pd.concat([rows for _, rows in runs])
    points = trainings.melt(["searcher", "search_id", "epoch"], [panel.column for panel in _PANELS], "metric")
    over_seeds = points.groupby(["metric", "searcher", "epoch"])["value"]
    lines = over_seeds.agg(n_seeds="count", mean="mean", low="min", high="max").reset_index()
    notes = unfinished(group)
    unknown = done.loc[~done["search_id"].isin(trainings["search_id"]), "searcher"]
    notes += noted("Finished without a logged training", unknown)
    for panel in _PANELS:
        blank = trainings.groupby(["searcher", "search_id"])[panel.column].count() == 0
        if not blank.all():
            notes += noted(f"Without {panel.name(group.fid_features)}", blank[blank].index.get_level_values("searcher"))
    lengths = trainings.groupby(["searcher", "search_id"])["epoch"].max().groupby("searcher").nunique()
    if (lengths > 1).any():
        notes.append("Where trainings end at different epochs, a line goes on with those still running.")
    seeds = trainings.groupby("searcher")["search_id"].nunique()
    notes.append("Line: mean over seeds. Band: smallest to largest seed." if seeds.max() > 1 else "One seed each.")
    return Learning(
        f"Learning curves: {group.title}", group.fid_features, tuple(group.searchers), lines, tuple(runs), tuple(notes)
    )


def _chosen_trainings(done: pd.DataFrame, epochs: pd.DataFrame) -> list[Run]:
    """Returns each finished search with the epochs of its chosen training, if it logged them."""
    logged = dict(list(epochs.groupby("search_id")))
    found = []
    for _, search in done[done["search_id"].isin(logged.keys())].iterrows():
        rows = logged[search["search_id"]]
        found.append((search, rows[rows["trial"] == chosen_trial(search, set(rows["trial"]))]))
    return [(search, rows) for search, rows in found if len(rows)]


def draw_learning(data: Learning) -> Figure:
    """Panels that share the epochs; a searcher has one colour, marker and line style in all of them."""
    styles = drawn_styles(data.searchers, data.lines["searcher"])
    figure = Figure(figsize=(COLUMN_WIDTH, 1.1 * len(_PANELS) + 0.6 + 0.1 * (len(styles) + len(data.notes))))
    figure.set_layout_engine("constrained")
    wrapped_title(figure, data.title)
    axes: list[Axes] = figure.subplots(len(_PANELS), 1, sharex=True).tolist()
    for ax, panel in zip(axes, _PANELS, strict=True):
        lines = data.lines[data.lines["metric"] == panel.column]
        arrow = "" if panel is LATENT_DIM else f" {panel.arrow}"
        ax.set_title(fold(panel.heading(data.fid_features) + arrow, _HEADING_LETTERS), loc="left", pad=3)
        if lines["mean"].isna().all():
            no_values(ax)
            ax.set_yticks([])
            continue
        _draw_panel(ax, lines, styles)
        values = [*lines["low"].dropna(), *lines["high"].dropna()]
        if panel is not LATENT_DIM and panel.better == "lower" and worth_log(values):
            log_scale(ax, "y", values, most=5)
        else:
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=panel is LATENT_DIM))
    axes[-1].set_ylim(bottom=0)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    legend_below(figure, *searcher_entries(styles.values(), is_line=True), data.notes)
    return figure


def _draw_panel(ax: Axes, lines: pd.DataFrame, styles: dict[str, SearcherStyle]) -> None:
    last = lines["epoch"].max()
    for place, (searcher, style) in enumerate(styles.items()):
        searcher_lines = lines[lines["searcher"] == searcher].sort_values("epoch")
        # Markers are spread over the epochs, and shifted from searcher to searcher so that equal lines stay apart.
        step = math.ceil(last / _MARKS)
        shift = round(step * place / len(styles))
        ax.fill_between(
            searcher_lines["epoch"],
            searcher_lines["low"],
            searcher_lines["high"],
            color=style.color,
            alpha=0.15,
            linewidth=0,
        )
        ax.plot(
            searcher_lines["epoch"],
            searcher_lines["mean"],
            **style.mark,
            linestyle=style.linestyle,
            linewidth=1.1,
            markersize=4,
            markevery=[i for i in range(len(searcher_lines)) if i % step == shift % step] or [0],
        )


def interactive_learning(data: Learning, most_runs: int) -> Iterable[Choice]:
    """A choice a metric, with the latent size below it: the searchers' means and, thin, the searches themselves.

    Where there are more than `most_runs` searches, the first seeds of each searcher are drawn.
    """
    most = max(1, most_runs // len(data.searchers))
    runs = {name: [run for run in data.runs if run[0]["searcher"] == name][:most] for name in data.searchers}
    sizes = [trace | {"yaxis": "y2", "showlegend": False} for trace in _learning_lines(data, runs, LATENT_DIM.column)]
    for metric in QUALITY_METRICS:
        lines = data.lines[data.lines["metric"] == metric.column]
        if lines["mean"].isna().all():
            continue
        values = [*lines["low"], *lines["high"]] if metric.better == "lower" else []
        y = scaled_axis(f"{metric.heading(data.fid_features)} {metric.arrow}", values, SIDE_LETTERS // 2)
        yield choice(
            metric.name(data.fid_features),
            [*_learning_lines(data, runs, metric.column), *sizes],
            xaxis=scaled_axis("epoch", []) | {"anchor": "y2"},
            yaxis=y | {"domain": [0.36, 1]},
            yaxis2=scaled_axis(LATENT_DIM.label, []) | {"domain": [0, 0.3], "rangemode": "tozero"},
        )


def _learning_lines(data: Learning, runs: dict[str, list[Run]], column: str) -> list[Trace]:
    hover = "<br>epoch %{x}: %{y:.5~g}"
    lines = data.lines[(data.lines["metric"] == column) & data.lines["mean"].notna()]
    found: list[Trace] = []
    for name, style in searcher_styles(data.searchers).items():
        searcher_runs = runs[name]
        mean = thinned(lines[lines["searcher"] == name].sort_values("epoch"))
        is_only = len(searcher_runs) == 1 and bool((mean["n_seeds"] == 1).all())
        traces = [
            line(thinned(rows), "epoch", column, style, hover, run_text(style, search), is_main=is_only)
            for search, rows in searcher_runs
        ]
        if not is_only and len(mean):
            traces += band(mean, "epoch", "low", "high", style)
            traces.append(line(mean, "epoch", "mean", style, hover, mean_text(style, mean["n_seeds"])))
        found += [trace | {"legendgroup": name} for trace in traces]
    return main_on_top(found)
