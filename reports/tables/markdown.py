"""The comparison as a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmark.text import of_data
from reports.analysis.analysis import Analysis, GroupAnalysis
from reports.analysis.answer import HEADINGS, against_grid, answer_rows
from reports.analysis.comparison import active_range, counts, mean_and_ratio, plus_minus, size_range
from reports.data.groups import Group
from reports.data.measured import measured
from reports.data.quantities import SHOWN_COSTS, shown_metrics

_ERROR_LENGTH = 300


def escape(text: str) -> str:
    """Text as one line that Markdown shows literally, in a table cell too."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def table(header: list[str], rows: list[list[str]]) -> str:
    """A pipe table; cells are escaped, the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells if n == 1 else map(escape, cells)) + " |" for n, cells in enumerate(lines))


def comparison_page(analysis: Analysis) -> str:
    """The page: per group the costs, the test metrics and their cautions; the tests; failed and running searches."""
    parts = [
        "# Comparison of searchers",
        "Mean ± standard deviation over finished seeds; a single seed has none, and of equal values none is printed. "
        "`x` is the multiple of the grid search's mean in the same group. Arrows point to the better direction. "
        "`comparison.csv` also has the range of the seeds, from 6 seeds on 95 % t-intervals of the means.",
    ]
    for of in analysis.groups:
        parts += _group(of)
    groups = [of.group for of in analysis.groups]
    parts += ["## Over all groups", "\n".join(f"- {escape(sentence)}" for sentence in analysis.overall)]
    parts += _listing("Failed searches", groups, "failed", "No search failed.")
    parts += _listing("Running searches", groups, "running", "No search is running.")
    return "\n\n".join(parts) + "\n"


def _group(of: GroupAnalysis) -> list[str]:
    group = of.group
    rows = [row for _, row in of.rows.iterrows()]
    costs = [
        [
            row["searcher"],
            counts(row),
            size_range(row),
            active_range(row),
            *(mean_and_ratio(row, c) for c in SHOWN_COSTS),
        ]
        for row in rows
    ]
    quality = [
        [row["searcher"], *(plus_minus(row, metric) for metric in shown_metrics(group.fid_features))] for row in rows
    ]
    cost_header = ["searcher", "done/failed/running", "latent size: median (min–max)", "latents in use"]
    cost_header += [cost.name(group.fid_features) for cost in SHOWN_COSTS]
    quality_header = [
        "searcher",
        *(f"{m.heading(group.fid_features)} {m.arrow}" for m in shown_metrics(group.fid_features)),
    ]
    parts = [f"## {escape(group.title)}", escape(group.conditions), escape(of.headline.lead)]
    against = answer_rows(of)
    if against:
        lines = [[row.searcher, *row.cells] for row in against]
        parts += [
            "### Against the grid search",
            table(["searcher", *(of_data(heading, group.fid_features) for heading in HEADINGS)], lines),
            against_grid(of),
        ]
    parts.append("### Latent size and cost")
    parts += [table(cost_header, costs), "### Quality on the test split", *map(escape, measured(group))]
    parts.append(table(quality_header, quality))
    return [*parts, *map(escape, of.cautions)]


def _listing(title: str, groups: Sequence[Group], status: str, none: str) -> list[str]:
    lines = [
        f"- {escape(group.title)}: {escape(row['searcher'])}, seed {row['seed']:g}"
        + (f": {escape(row['error'][:_ERROR_LENGTH])}" if row["error"] else "")
        for group in groups
        for _, row in group.searches[group.searches["status"] == status].iterrows()
    ]
    return [f"## {title}", "\n".join(lines) or none]
