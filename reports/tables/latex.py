r"""Tables for a paper: plain LaTeX that needs booktabs, and graphicx to shrink a table that is wider than its place."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.text import features_kind
from reports.analysis.comparison import active_range, cautions, mean_sd_text, ratio, rows_of, size_range, stat
from reports.data.groups import Group
from reports.data.names import label
from reports.data.quantities import COSTS, SHOWN_METRICS, Quantity, scaled
from reports.tables.latex_table import Column, floating, heading_lines, tabular
from reports.tables.latex_text import escape, number, prose, shortened

_NARROW_LETTERS = 52  # of footnotesize that fit one of a page's two columns
_NAME_LETTERS = 28  # of a searcher in a table
_NARROWEST_HEADING, _WIDEST_HEADING = 8, 14  # letters
_LONG_TEXT = 40  # letters from which a column of text is broken into lines


def write_latex(groups: Sequence[Group], frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write `comparison-SLUG.tex` into `out` for each group; `frame` is `comparison(groups)`."""
    paths = [out / f"comparison-{group.slug}.tex" for group in groups]
    for group, path in zip(groups, paths, strict=True):
        path.write_text(comparison_latex(group, rows_of(frame, group)), encoding="ascii")
    return paths


def comparison_latex(group: Group, rows: pd.DataFrame) -> str:
    r"""A group's comparison as one `table*`: latent size and costs, below them the metrics on the test split.

    rows: the group's, of `comparison`. Cells are mean $\pm$ sd over finished seeds, the best mean of a column in bold
    (all that print alike; none where a single searcher has a value). A cost's second line is its multiple of the grid
    search's mean; a group without a grid search has none.
    """
    notes = [rf"\par\medskip\raggedright {prose(' '.join(cautions(group)))}\par"] if cautions(group) else []
    body = [*_costs(rows), r"\par\medskip", *_quality(group, rows), *notes]
    return floating("table*", _caption(group, rows), f"tab:comparison-{group.slug}", body)


def frame_latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A frame as a `table`, or a `table*` where it is wider than a column; caption, column names and cells are text.

    Numbers have four significant digits, and all of theirs in a column of whole numbers; a missing cell is `--`.
    """
    columns, letters = [], 0
    for name, values in frame.items():
        texts = _texts(values)
        widest = max([_NARROWEST_HEADING, *map(len, texts)])
        align, cells = "l", [escape(text) for text in texts]
        if _is_numeric(values):
            align, cells = "r", [number(text) for text in texts]
        elif widest > _LONG_TEXT:
            align, cells = r"p{0.4\linewidth}", [rf"\raggedright {prose(text)}" for text in texts]
        columns.append(Column(str(name), align, cells, min(widest, _WIDEST_HEADING)))
        letters += 2 + max(map(len, [*texts, *heading_lines(str(name), columns[-1].heading_letters)]))
    return floating("table" if letters <= _NARROW_LETTERS else "table*", caption, label, tabular(columns))


def _costs(rows: pd.DataFrame) -> list[str]:
    sizes = Column("latent size: median (min–max)", "r", [escape(size_range(row)) for _, row in rows.iterrows()])
    in_use = Column("latents in use", "r", [escape(active_range(row)) for _, row in rows.iterrows()])
    columns = [*_searchers(rows), sizes, in_use]
    below = [[""] * len(rows) for _ in columns]
    for cost in COSTS:
        divisor, unit = scaled(cost.column, rows[stat(cost, "mean")].max())
        unit = re.sub(r"\bs\b", unit, cost.unit) or unit  # core-s in minutes are core-min
        columns.append(Column(f"{cost.label} ({unit})" if unit else cost.label, "r", _mean_sd(rows, cost, divisor)))
        multiples = [ratio(row, cost) for _, row in rows.iterrows()]
        below.append([number(multiple) if multiple else "" for multiple in multiples])
    if not _has_multiples(rows):
        return tabular(columns)
    columns = [
        replace(column, cells=[cell for pair in zip(column.cells, second, strict=True) for cell in pair])
        for column, second in zip(columns, below, strict=True)
    ]
    return tabular(columns, lines=2)


def _has_multiples(rows: pd.DataFrame) -> bool:
    return bool(rows[[stat(cost, "vs_grid") for cost in COSTS]].notna().to_numpy().any())


def _quality(group: Group, rows: pd.DataFrame) -> list[str]:
    headings = [f"{metric.heading(group.fid_features)}\u00a0{metric.arrow}" for metric in SHOWN_METRICS]
    metrics = [
        Column(heading, "r", _mean_sd(rows, metric)) for heading, metric in zip(headings, SHOWN_METRICS, strict=True)
    ]
    return tabular([*_searchers(rows), *metrics])


def _searchers(rows: pd.DataFrame) -> list[Column]:
    names = [escape(shortened(label(name), _NAME_LETTERS)) for name in rows["searcher"]]
    return [Column("searcher", "l", names), Column("seeds", "r", [f"{n:g}" for n in rows["n_done"]])]


def _mean_sd(rows: pd.DataFrame, quantity: Quantity, divisor: float = 1.0) -> list[str]:
    """The cells of a column, its best in bold."""
    means, sds = (rows[stat(quantity, name)] / divisor for name in ("mean", "sd"))
    printed = [float(mean_sd_text(mean, math.nan)) if np.isfinite(mean) else math.nan for mean in means]
    known = [value for value in printed if not math.isnan(value)]
    best = (min if quantity.better == "lower" else max)(known) if len(known) > 1 else math.nan
    return [
        number(mean_sd_text(mean, sd), bold=value == best) for mean, sd, value in zip(means, sds, printed, strict=True)
    ]


def _caption(group: Group, rows: pd.DataFrame) -> str:
    protocols = ", ".join(sorted(set(group.searches["protocol"]) - {""})) or "unknown"
    epochs = ", ".join(f"{n:g}" for n in sorted(group.searches["epochs"].dropna().unique())) or "unknown"
    fewest, most = rows["n_done"].min(), rows["n_done"].max()
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    sentences = [
        f"Ways of choosing the latent size on {group.title}: size and cost above, quality on the test split below.",
        f"Dataset {group.dataset}, backbone {group.backbone}, protocol {protocols} "
        f"(hash {group.protocol_hash or 'unknown'}), epochs per training: {epochs}, "
        f"FID on {features_kind(group.fid_features) or 'unknown'} features.",
        f"Mean ± standard deviation over finished seeds ({seeds} a searcher); bold: the best mean; "
        + ("×: multiple of the grid search's mean; " if _has_multiples(rows) else "")
        + "arrows point to the better direction.",
    ]
    for status, words in (("failed", "Failed, not in the means"), ("running", "Still running, not in the means")):
        named = zip(rows["searcher"], rows[f"n_{status}"], strict=True)
        listed = [f"{label(name)} ({count})" for name, count in named if count]
        sentences += [f"{words}: {', '.join(listed)}."] if listed else []
    return " ".join(sentences)


def _texts(values: pd.Series[Any]) -> list[str]:
    """A frame's column as it is printed, a missing value as a dash."""
    present = values[values.notna()]
    whole = _is_numeric(values) and all(float(value).is_integer() and abs(value) < 1e6 for value in present)
    return ["–" if missing else _text(value, whole) for value, missing in zip(values, values.isna(), strict=True)]


def _text(value: Any, whole: bool) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, Real):
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.0f}" if whole else mean_sd_text(value, math.nan)


def _is_numeric(values: pd.Series[Any]) -> bool:
    """True where every value that is there is a number; where none is, by the column's type."""
    present = list(values[values.notna()])
    if not present:
        return pd.api.types.is_numeric_dtype(values)
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in present)
