"""The comparison as a Markdown page."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.text import features_kind
from reports.analysis.comparison import active_range, cautions, counts, plus_minus, ratio, rows_of, size_range
from reports.analysis.significance import claims
from reports.data.groups import Group
from reports.data.quantities import COSTS, SHOWN_METRICS, Quantity

_ERROR_LENGTH = 300
_TESTS = (
    "A block is one seed of one dataset, backbone and protocol; compared are the searchers and blocks that make the "
    "table without gaps with the most pairs of searches. The overall score is the mean of a searcher's four ranks "
    "inside a block: by FID of reconstructions, FID of samples, silhouette and reconstruction NLL on the test split. "
    "A difference is claimed where Friedman's test finds one among all searchers and the paired Wilcoxon signed-rank "
    "test between the two, at 5 % after Holm's correction over the pairs of one measure. `significance.csv` has every "
    "pair."
)


def escape(text: str) -> str:
    """Text as one line that Markdown shows literally, in a table cell too."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def table(header: list[str], rows: list[list[str]]) -> str:
    """A pipe table; cells are escaped, the first column is left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells if n == 1 else map(escape, cells)) + " |" for n, cells in enumerate(lines))


def comparison_page(groups: list[Group], frame: pd.DataFrame) -> str:
    """The page: per group the costs, the test metrics and their cautions; the tests; failed and running searches.

    `frame` is `comparison(groups)`.
    """
    parts = [
        "# Comparison of searchers",
        "Mean ± standard deviation over finished seeds; a single seed has none. "
        "`x` is the multiple of the grid search's mean in the same group. Arrows point to the better direction. "
        "`comparison.csv` also has bootstrap 95 % intervals of the means (percentile method), which are too narrow "
        "with few seeds: of normal values they cover the true mean in 74 % of cases with 3 seeds, in 90 % with 10.",
    ]
    for group in groups:
        parts += _group(group, rows_of(frame, group))
    parts += ["## Significance", _TESTS, "\n".join(f"- {escape(sentence)}" for sentence in claims(groups))]
    parts += _listing("Failed searches", groups, "failed", "No search failed.")
    parts += _listing("Running searches", groups, "running", "No search is running.")
    return "\n\n".join(parts) + "\n"


def _group(group: Group, rows: pd.DataFrame) -> list[str]:
    costs = [
        [row["searcher"], counts(row), size_range(row), active_range(row), *(_cost(row, cost) for cost in COSTS)]
        for _, row in rows.iterrows()
    ]
    quality = [[row["searcher"], *(plus_minus(row, metric) for metric in SHOWN_METRICS)] for _, row in rows.iterrows()]
    cost_header = ["searcher", "done/failed/running", "latent size: median (min–max)", "latents in use"]
    cost_header += [cost.heading(group.fid_features) for cost in COSTS]
    quality_header = ["searcher", *(f"{m.heading(group.fid_features)} {m.arrow}" for m in SHOWN_METRICS)]
    protocols = ", ".join(sorted(set(group.searches["protocol"]) - {""})) or "unknown"
    epochs = ", ".join(f"{n:g}" for n in sorted(group.searches["epochs"].dropna().unique())) or "unknown"
    about = (
        f"Dataset {escape(group.dataset)}, backbone {escape(group.backbone)}, protocol {escape(protocols)} "
        f"(hash {escape(group.protocol_hash) or 'unknown'}), epochs per training: {epochs}, "
        f"FID on {escape(features_kind(group.fid_features)) or 'unknown'} features."
    )
    parts = [f"## {escape(group.title)}", about, "### Latent size and cost", table(cost_header, costs)]
    parts += ["### Quality on the test split", table(quality_header, quality)]
    return [*parts, *(escape(note) for note in cautions(group))]


def _cost(row: pd.Series, cost: Quantity) -> str:
    multiple = ratio(row, cost)
    return plus_minus(row, cost) + (f" ({multiple})" if multiple else "")


def _listing(title: str, groups: list[Group], status: str, none: str) -> list[str]:
    lines = [
        f"- {escape(group.title)}: {escape(row['searcher'])}, seed {row['seed']:g}"
        + (f": {escape(row['error'][:_ERROR_LENGTH])}" if row["error"] else "")
        for group in groups
        for _, row in group.searches[group.searches["status"] == status].iterrows()
    ]
    return [f"## {title}", "\n".join(lines) or none]
