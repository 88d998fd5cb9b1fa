"""A group\'s comparison as LaTeX."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from reports.analysis.analysis import Analysis, GroupAnalysis
from reports.analysis.comparison import active_range, ratio_or_dash, size_range, stat, times_apart
from reports.data.groups import Group
from reports.data.measured import measured
from reports.data.names import label
from reports.data.numbers import mean_sd_text, scaled
from reports.data.quantities import SHOWN_COSTS, Quantity, shown_metrics
from reports.tables.latex.tabular import Column, floating, tabular
from reports.tables.latex.text import escape, number, prose, shortened

_NAME_LETTERS = 28  # of a searcher in a table


def write_latex(analysis: Analysis, out: Path) -> list[Path]:
    """Write `comparison-SLUG.tex` into `out` for each group."""
    paths = []
    for of in analysis.groups:
        paths.append(out / f"comparison-{of.group.slug}.tex")
        paths[-1].write_text(comparison_latex(of), encoding="ascii")
    return paths


def comparison_latex(of: GroupAnalysis) -> str:
    r"""A group's comparison as one `table*`: latent size and costs, below them the metrics on the test split.

    Cells are mean $\pm$ sd over finished seeds, the best mean of a column in bold (all that print alike; none where a
    single searcher has a value, and none of times that do not compare). A cost's second line is its multiple of
    the grid search's mean; a group without a grid search has none.
    """
    group, rows = of.group, of.rows
    said = " ".join((*measured(group), *of.cautions))
    notes = [rf"\par\medskip\raggedright {prose(said)}\par"] if said else []
    body = [*_costs(group, rows), r"\par\medskip", *_quality(group, rows), *notes]
    return floating("table*", _caption(group, rows), f"tab:comparison-{group.slug}", body)


def _costs(group: Group, rows: pd.DataFrame) -> list[str]:
    apart = times_apart(group) > 0
    sizes = Column("latent size: median (min–max)", "r", [escape(size_range(row)) for _, row in rows.iterrows()])
    in_use = Column("latents in use", "r", [escape(active_range(row)) for _, row in rows.iterrows()])
    columns = [*_searchers(rows), sizes, in_use]
    below = [[""] * len(rows) for _ in columns]
    for cost in SHOWN_COSTS:
        divisor, unit = scaled(cost.column, rows[stat(cost, "mean")].max())
        unit = re.sub(r"\bs\b", unit, cost.unit) or unit  # core-s in minutes are core-min
        columns.append(
            Column(
                f"{cost.label} ({unit})" if unit else cost.label,
                "r",
                _mean_sd(rows, cost, divisor, not (apart and cost.is_time)),
            )
        )
        multiples = [ratio_or_dash(row, cost) for _, row in rows.iterrows()]
        below.append([number(multiple) if multiple else "" for multiple in multiples])
    if not _has_multiples(rows):
        return tabular(columns)
    columns = [
        replace(column, cells=[cell for pair in zip(column.cells, second, strict=True) for cell in pair])
        for column, second in zip(columns, below, strict=True)
    ]
    return tabular(columns, lines=2)


def _has_multiples(rows: pd.DataFrame) -> bool:
    return bool(rows[[stat(cost, "vs_grid") for cost in SHOWN_COSTS]].notna().to_numpy().any())


def _quality(group: Group, rows: pd.DataFrame) -> list[str]:
    shown = shown_metrics(group.fid_features)
    headings = [f"{metric.heading(group.fid_features)}\u00a0{metric.arrow}" for metric in shown]
    metrics = [Column(heading, "r", _mean_sd(rows, metric)) for heading, metric in zip(headings, shown, strict=True)]
    return tabular([*_searchers(rows), *metrics])


def _searchers(rows: pd.DataFrame) -> list[Column]:
    names = [escape(shortened(label(name), _NAME_LETTERS)) for name in rows["searcher"]]
    return [Column("searcher", "l", names), Column("seeds", "r", [f"{n:g}" for n in rows["n_done"]])]


def _mean_sd(rows: pd.DataFrame, quantity: Quantity, divisor: float = 1.0, compared: bool = True) -> list[str]:
    """The cells of a column, its best, if compared, in bold: all that are equal to four digits, costs to three."""
    digits = 3 if quantity in SHOWN_COSTS else 4
    means, sds = (rows[stat(quantity, name)] / divisor for name in ("mean", "sd"))
    printed = [float(f"{mean:.{digits - 1}e}") for mean in means]
    known = [value for value in printed if not math.isnan(value)]
    best = (min if quantity.better == "lower" else max)(known) if len(known) > 1 else math.nan
    return [
        number(mean_sd_text(mean, sd, digits), bold=compared and value == best)
        for mean, sd, value in zip(means, sds, printed, strict=True)
    ]


def _caption(group: Group, rows: pd.DataFrame) -> str:
    fewest, most = rows["n_done"].min(), rows["n_done"].max()
    seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
    sentences = [
        f"Ways of choosing the latent size on {group.title}: size and cost above, quality on the test split below.",
        group.conditions,
        f"Mean ± standard deviation over finished seeds ({seeds} a searcher); bold: the best mean, no claim; "
        + ("×: multiple of the grid search's mean; " if _has_multiples(rows) else "")
        + "arrows point to the better direction.",
    ]
    for status, words in (("failed", "Failed, not in the means"), ("running", "Still running, not in the means")):
        named = zip(rows["searcher"], rows[f"n_{status}"], strict=True)
        listed = [f"{label(name)} ({count})" for name, count in named if count]
        sentences += [f"{words}: {', '.join(listed)}."] if listed else []
    return " ".join(sentences)
