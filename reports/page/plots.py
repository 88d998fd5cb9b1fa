"""The page's interactive plots, built from the very frames that the figures for print draw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.data.groups import Group
from reports.data.quantities import CURVES, TRAIN_FLOPS, scaled
from reports.drawing.style import SearcherStyle, drawn_styles, searcher_styles
from reports.figures.anytime import AXES, Anytime
from reports.figures.curves import chosen_trial
from reports.figures.learning import LATENT_DIM, Learning
from reports.figures.regret import Regret
from reports.figures.tradeoff import Tradeoff
from reports.page.traces import (
    Choice,
    Trace,
    axis,
    band,
    choice,
    dashed,
    folded,
    line,
    numbers,
    plain,
    points,
    run_text,
    stepped,
    thinned,
)

if TYPE_CHECKING:
    from reports.write import Written

_GREY = "#666666"
_SIDE_LETTERS = 52  # a line of the title of an axis as high as the plot


def interactive(written: Written, most_runs: int) -> tuple[Choice, ...]:
    """The plot of a group's figure, a choice a metric or cost; none for a figure that stays an image.

    most_runs: lines of single searches among the learning curves; of more, the first seeds of each searcher are drawn.
    """
    if written.group is None:
        return ()
    if isinstance(written.data, Learning):
        return tuple(_learning(written.data, _runs(written.group, most_runs)))
    build = _BUILDERS.get(type(written.data))
    return tuple(build(written.data, written.group)) if build else ()


def json_text(choices: Sequence[Choice]) -> str:
    """What the page's script reads: JSON that is safe inside a script element, ASCII without `<`, `>` and `&`.

    Every trace is written once; a choice has their places.
    """
    places: dict[str, int] = {}
    shown = [[places.setdefault(_compact(trace), len(places)) for trace in one.data] for one in choices]
    layouts = [_compact({"shown": own, "layout": one.layout}) for own, one in zip(shown, choices, strict=True)]
    text = f'{{"traces":[{",".join(places)}],"choices":[{",".join(layouts)}]}}'
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _compact(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _tradeoff(data: Tradeoff, group: Group) -> Iterable[Choice]:
    divisor, unit = scaled(TRAIN_FLOPS.column, data.marks["cost"].max())
    marks = data.marks.assign(cost=data.marks["cost"] / divisor)
    x = axis(f"training FLOPs of the whole search ({unit})", marks["cost"].tolist())
    for metric in CURVES:
        own = marks[marks["metric"] == metric.heading(data.fid_features)]
        if own.empty:
            continue
        front = own[(own["mark"] == "mean") & own["on_front"]].sort_values("cost")
        traces = [dashed(front, "cost", "quality", _GREY, "Pareto front of the means")]
        hover = f"<br>%{{x:.4~g}} {unit}, {metric.label} %{{y:.5~g}}"
        for name, style in _drawn(group, own).items():
            seeds, mean = (own[(own["searcher"] == name) & (own["mark"] == mark)] for mark in ("seed", "mean"))
            for rows, size, opacity in ((seeds, 9, 0.7), (mean, 15, 1.0)):
                texts = _run_texts(seeds if len(seeds) == 1 else rows, style)  # the mean of one search is that search
                trace = points(rows, "cost", "quality", style, size, opacity, hover, texts)
                traces.append(trace | {"legendgroup": name, "showlegend": rows is mean})
        values = own["quality"].tolist() if metric.better == "lower" else []
        y = axis(f"{metric.heading(data.fid_features)} {metric.arrow}", values, _SIDE_LETTERS)
        yield choice(metric.label, traces, xaxis=x, yaxis=y)


def _anytime(data: Anytime, group: Group) -> Iterable[Choice]:
    for cost in AXES:
        own = data.curves[data.curves["axis"] == cost.heading("")]
        if own.empty:
            continue
        divisor, unit = scaled(cost.column, own["cost"].max())
        own = own.assign(cost=own["cost"] / divisor)
        hover = f"<br>from %{{x:.4~g}} {unit} on: %{{y:.4~g}}"
        traces = []
        for name, style in _drawn(group, own).items():
            seeds, mean = (own[(own["searcher"] == name) & (own["line"] == kind)] for kind in ("seed", "mean"))
            lines = [
                line(run, "cost", "best_rank", style, hover, run_text(style, run.iloc[0]), is_main=mean.empty)
                for _, run in seeds.groupby("search_id")
            ]
            if len(mean):
                lines += band(mean, "cost", "low", "high", style)
                lines.append(line(mean, "cost", "best_rank", style, hover, _mean_text(style, mean["n"])))
            traces += [stepped(trace) | {"legendgroup": name} for trace in _named_once(lines)]
        traces = _main_on_top(traces)
        x = axis(f"{cost.label} of the search so far ({unit})", own["cost"].tolist())
        y = axis("best mean rank so far (0 best, 1 worst) ↓", [], _SIDE_LETTERS) | {"rangemode": "tozero"}
        yield choice(cost.label, traces, xaxis=x, yaxis=y)


def _regret(data: Regret, group: Group) -> Iterable[Choice]:
    styles = searcher_styles(data.searchers)
    names = [folded(style.label) for style in styles.values()]
    y = {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.4, -0.6]}
    y |= {"automargin": True}
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    zero |= {"line": {"color": "#888888", "dash": "dash", "width": 1.2}}
    for metric in CURVES:
        own = data.marks[data.marks["metric"] == metric.heading(data.fid_features)]
        if own.empty:
            continue
        hover = f"<br>regret %{{x:.4~g}} {metric.unit}"
        traces = []
        for place, (name, style) in enumerate(styles.items()):
            seeds, means = (own[(own["searcher"] == name) & (own["mark"] == mark)] for mark in ("seed", "mean"))
            spread = np.linspace(-0.26, 0.08, len(seeds)) if len(seeds) > 1 else np.zeros(len(seeds))
            seeds, means = seeds.assign(place=place + spread), means.assign(place=place + 0.3)
            traces.append(points(seeds, "regret", "place", style, 9, 0.75, hover, _run_texts(seeds, style)))
            bars = {"array": numbers(means["high"] - means["regret"])}
            bars |= {"arrayminus": numbers(means["regret"] - means["low"])}
            traces.append(
                points(means, "regret", "place", style, 13, 1.0, hover, _run_texts(means, style))
                | {"error_x": {"type": "data", "symmetric": False, "thickness": 1.5, **bars}}
            )
        x = axis(f"regret: {metric.heading(data.fid_features)}", [])
        yield choice(metric.label, traces, xaxis=x, yaxis=y, shapes=[zero], showlegend=False)


def _learning(data: Learning, runs: Sequence[tuple[pd.Series, pd.DataFrame]]) -> Iterable[Choice]:
    """Above a metric, below it the latent size: the searchers' means and, thin, the searches themselves."""
    sizes = [trace | {"yaxis": "y2", "showlegend": False} for trace in _learning_lines(data, runs, LATENT_DIM.column)]
    for metric in CURVES:
        lines = data.lines[data.lines["metric"] == metric.column]
        if lines["mean"].isna().all():
            continue
        values = [*lines["low"], *lines["high"]] if metric.better == "lower" else []
        y = axis(f"{metric.heading(data.fid_features)} {metric.arrow}", values, _SIDE_LETTERS // 2)
        yield choice(
            metric.label,
            [*_learning_lines(data, runs, metric.column), *sizes],
            xaxis=axis("epoch", []) | {"anchor": "y2"},
            yaxis=y | {"domain": [0.36, 1]},
            yaxis2=axis(LATENT_DIM.label, []) | {"domain": [0, 0.3], "rangemode": "tozero"},
        )


def _learning_lines(data: Learning, runs: Sequence[tuple[pd.Series, pd.DataFrame]], column: str) -> list[Trace]:
    hover = "<br>epoch %{x}: %{y:.5~g}"
    lines = data.lines[(data.lines["metric"] == column) & data.lines["mean"].notna()]
    found: list[Trace] = []
    for name, style in searcher_styles(data.searchers).items():
        own = [(search, rows) for search, rows in runs if search["searcher"] == name]
        mean = thinned(lines[lines["searcher"] == name].sort_values("epoch"))
        is_only = len(own) == 1 and bool((mean["n_seeds"] == 1).all())
        traces = [
            line(thinned(rows), "epoch", column, style, hover, run_text(style, search), is_main=is_only)
            for search, rows in own
        ]
        if not is_only and len(mean):
            traces += band(mean, "epoch", "low", "high", style)
            traces.append(line(mean, "epoch", "mean", style, hover, _mean_text(style, mean["n_seeds"])))
        found += [trace | {"legendgroup": name} for trace in traces]
    return _main_on_top(found)


def _runs(group: Group, most_runs: int) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Finished searches with the epochs of their chosen training; the first seeds of each searcher where too many."""
    logged = dict(list(group.epochs.groupby("search_id")))
    most = max(1, most_runs // len(group.searchers))
    found = []
    for searcher in group.searchers:
        done = group.of(searcher, "done")
        for _, search in done[done["search_id"].isin(logged.keys())].head(most).iterrows():
            rows = logged[search["search_id"]]
            found.append((search, rows[rows["trial"] == chosen_trial(search, set(rows["trial"]))]))
    return [(search, rows) for search, rows in found if len(rows)]


_BUILDERS: dict[type, Callable[[Any, Group], Iterable[Choice]]] = {
    Tradeoff: _tradeoff,
    Anytime: _anytime,
    Regret: _regret,
}


def _drawn(group: Group, rows: pd.DataFrame) -> dict[str, SearcherStyle]:
    """Styles of the searchers that occur in the rows."""
    return drawn_styles(group.searchers, rows["searcher"])


def _named_once(traces: Sequence[Trace]) -> list[Trace]:
    """Of several lines that would be in the legend the first alone is."""
    first = next((i for i, trace in enumerate(traces) if trace["showlegend"]), None)
    return [trace | {"showlegend": i == first} for i, trace in enumerate(traces)]


def _main_on_top(traces: Iterable[Trace]) -> list[Trace]:
    """Lines that the legend names are drawn last."""
    return sorted(traces, key=lambda trace: bool(trace["showlegend"]))


def _run_texts(rows: pd.DataFrame, style: SearcherStyle) -> list[str]:
    return [run_text(style, row) for _, row in rows.iterrows()]


def _mean_text(style: SearcherStyle, seeds: pd.Series[float]) -> str:
    n = seeds.max()
    return f"{plain(style.label)}, mean of {n:g} seed{'s' if n > 1 else ''}"
