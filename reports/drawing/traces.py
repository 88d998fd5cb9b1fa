"""Parts of the page's interactive plots: plotly.js traces in the searchers' styles, axes, and text shown as it is."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.typing import LineStyleType

from reports.drawing.contrast import on_dark
from reports.drawing.layout import fold, worth_log
from reports.drawing.style import SearcherStyle

# Matplotlib's markers as plotly.js names them.
SYMBOLS = {
    **{"s": "square", "v": "triangle-down", "^": "triangle-up", "o": "circle", "D": "diamond", "P": "cross"},
    **{"<": "triangle-left", ">": "triangle-right", "H": "hexagon2"},
    **{"X": "x", "*": "star", "p": "pentagon", "h": "hexagon", "8": "octagon", "d": "diamond-tall"},
}
Trace = dict[str, Any]
MOST_POINTS = 200  # of a line
SIDE_LETTERS = 52  # a line of the title of an axis as high as the plot
_NAME_LETTERS = 26  # a line of the legend, on a phone
_TITLE_LETTERS = 34  # a line of an axis title
_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}


@dataclass(frozen=True)
class Choice:
    """One thing that a plot can show: plotly.js's traces and layout. Each trace's `meta` has its two colours."""

    label: str
    data: list[Trace]
    layout: dict[str, Any]


def choice(label: str, traces: Sequence[Trace], **layout: Any) -> Choice:
    """Adds what all plots share. The tests check traces and layouts with plotly, which would take seconds here."""
    base = {
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"},
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
    }
    return Choice(label, list(traces), {**base, **layout})


def plain(text: str) -> str:
    """Text on one line that plotly.js shows as it is; it would read some HTML tags, entities and its own `%{...}`."""
    return html.escape(" ".join(text.split()), quote=False).replace("%{", "&#37;{")


def folded(text: str, letters: int = _NAME_LETTERS) -> str:
    """Folds such text into several lines."""
    return "<br>".join(map(plain, fold(text, letters).split("\n")))


def scaled_axis(title: str, values: list[float], letters: int = _TITLE_LETTERS) -> dict[str, Any]:
    """An axis, on a log scale with plain numbers where the values ask for one."""
    known = [value for value in values if math.isfinite(value)]
    log: dict[str, Any] = {}
    if worth_log(known):
        low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
        digits = (1, 2, 5) if high - low < 4 else (1,)
        ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
        log = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    text = {"text": folded(title, letters), "font": {"size": 13}}
    return {"title": text, "zeroline": False, "automargin": True, **log}


def points(
    rows: pd.DataFrame, x: str, y: str, style: SearcherStyle, size: int, opacity: float, hover: str, text: list[str]
) -> Trace:
    """A marker a row; `text` says what each is of, `hover` is plotly.js's template of what follows."""
    more = {"mode": "markers", "marker": _marker(style, size), "opacity": opacity}
    return {**_trace(rows, x, y, style.color, style.label), **more, **_hover("%{text}" + hover), "text": text}


def line(
    rows: pd.DataFrame, x: str, y: str, style: SearcherStyle, hover: str, text: str, is_main: bool = True
) -> Trace:
    """A line that is of what `text` says: a main one is thick, dashed as in print, with markers, and in the legend."""
    stroke = {"width": 2.2, "dash": _dash(style.linestyle)} if is_main else {"width": 1}
    more = {"mode": "lines", "line": stroke, "showlegend": is_main, **_hover(text + hover)}
    marks = {"mode": "lines+markers", "marker": {**_marker(style, 8), "maxdisplayed": 8}} if is_main else {}
    return {**_evenly(_trace(rows, x, y, style.color, style.label, "" if is_main else "66")), **more, **marks}


def band(rows: pd.DataFrame, x: str, low: str, high: str, style: SearcherStyle) -> list[Trace]:
    """The room between two curves, as two invisible lines; empty where the curves have no values."""
    if rows[low].isna().all():
        return []
    more = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    edges = [{**_evenly(_trace(rows, x, edge, style.color, style.label)), **more} for edge in (low, high)]
    return [edges[0], edges[1] | {"fill": "tonexty"}]


def dashed(rows: pd.DataFrame, x: str, y: str, color: str, label: str) -> Trace:
    """A thin dashed step line that is no searcher's."""
    stroke = {"dash": "dash", "width": 1.2, "shape": "hv"}
    return {**_trace(rows, x, y, color, label), "mode": "lines", "line": stroke, "hoverinfo": "skip"}


def stepped(trace: Trace) -> Trace:
    """The line goes right, then up or down."""
    return trace | {"line": {**trace["line"], "shape": "hv"}}


def run_text(style: SearcherStyle, row: pd.Series) -> str:
    """What a mark is of: a search by searcher, seed, latent size and id, or a mean over seeds."""
    if row.get("mark") == "mean":
        return f"{plain(style.label)}, mean over seeds"
    size = f"<br>latent size {row['latent_dim']:g}" if pd.notna(row.get("latent_dim")) else ""
    return f"{plain(style.label)}, seed {row['seed']:g}{size}<br>{plain(row['search_id'])}"


def run_texts(rows: pd.DataFrame, style: SearcherStyle) -> list[str]:
    """Applies `run_text` to each row."""
    return [run_text(style, row) for _, row in rows.iterrows()]


def mean_text(style: SearcherStyle, seeds: pd.Series[float]) -> str:
    """Says what a mean line is of."""
    n = seeds.max()
    return f"{plain(style.label)}, mean of {n:g} seed{'s' if n > 1 else ''}"


def named_once(traces: Sequence[Trace]) -> list[Trace]:
    """Keeps only the first of several lines in the legend."""
    first = next((i for i, trace in enumerate(traces) if trace["showlegend"]), None)
    return [trace | {"showlegend": i == first} for i, trace in enumerate(traces)]


def main_on_top(traces: Iterable[Trace]) -> list[Trace]:
    """Puts the lines that the legend names last, so that they are drawn on top."""
    return sorted(traces, key=lambda trace: bool(trace["showlegend"]))


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS of a line's rows, evenly spread, the first and the last among them."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int))] if len(rows) else rows


def numbers(values: pd.Series[float]) -> list[float | None]:
    """Rounds to five significant digits; None where there is no value."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values.astype(float)]


def json_text(choices: Sequence[Choice]) -> str:
    """What the page's script reads: JSON that is safe inside a script element, ASCII without `<`, `>` and `&`.

    Every trace is written once; a choice has their places.
    """
    places: dict[str, int] = {}
    shown = [[places.setdefault(_compact(trace), len(places)) for trace in one.data] for one in choices]
    layouts = [_compact({"shown": indices, "layout": one.layout}) for indices, one in zip(shown, choices, strict=True)]
    text = f'{{"traces":[{",".join(places)}],"choices":[{",".join(layouts)}]}}'
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _compact(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _trace(rows: pd.DataFrame, x: str, y: str, color: str, label: str, alpha: str = "") -> Trace:
    """Makes a trace; `alpha`, hexadecimal, belongs to the colour, since a trace's own opacity takes longer to draw."""
    meta = {"light": color + alpha, "dark": on_dark(color) + alpha}
    return {"type": "scatter", "x": numbers(rows[x]), "y": numbers(rows[y]), "name": folded(label), "meta": meta}


def _evenly(trace: Trace) -> Trace:
    """Replaces evenly spaced x values by the first and the step, so that epochs take no room."""
    steps = set(np.diff(trace["x"]))
    if len(steps) != 1:
        return trace
    rest = {name: value for name, value in trace.items() if name != "x"}
    return rest | {"x0": trace["x"][0], "dx": float(steps.pop())}


def _hover(template: str) -> Trace:
    return {"hovertemplate": f"{template}<extra></extra>"}


def _marker(style: SearcherStyle, size: int) -> dict[str, Any]:
    return {"symbol": SYMBOLS[style.marker], "size": size, "line": {"width": 1}}


def _dash(linestyle: LineStyleType) -> str:
    if isinstance(linestyle, str):
        return _DASHES[linestyle]
    return ",".join(f"{2 * length:g}px" for length in linestyle[1])
