"""What the terminal shows after a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.plugins import FIGURE
from reports.analysis.analysis import GroupAnalysis
from reports.analysis.comparison import active_range, counts, plus_minus, ratio, size_range
from reports.data.quantities import ELBO, TRAIN_FLOPS
from reports.drawing.base import Report
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.papers.write import PaperReport

_HEADER = (
    *("searcher", "done/\nfailed/\nrunning", "latent\nsize", "in use"),
    *("FLOPs\nx grid", "test ELBO\n(nats)", "against\nthe grid"),
)

_LIST_WIDTH = 150


def print_summary(report: Report, out: Path, console: Console | None = None) -> None:
    """Print a compact comparison of each group, and where the report is."""
    console = console or Console()
    for of in report.analysis.groups:
        # Text, not str: names from the store are never read as markup.
        table = Table(title=Text(of.group.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in _HEADER:
            table.add_column(heading, overflow="fold", no_wrap=heading != _HEADER[0])
        for _, row in of.rows.iterrows():
            table.add_row(*(Text(cell) for cell in _cells(of, row)))
        console.print(table)
        console.print(Text(of.headline.lead), soft_wrap=True)
        for sentence in of.doubts:
            console.print(Text(sentence, "yellow"), soft_wrap=True)
    if report.merged:
        console.print(Text(report.merged), soft_wrap=True)
    n_tables, n_figures = len(report.tables), len(report.figures)
    console.print(Text(f"wrote {n_tables} tables and {n_figures} figures to {out}; open {report.page}"), soft_wrap=True)
    for sentence in report.missing:
        console.print(Text(f"not drawn: {sentence}"))


def print_papers(report: PaperReport, out: Path, console: Console | None = None) -> None:
    """Print what was written, and for each item without all its runs the command that makes the first of them."""
    console = console or Console()
    console.print(Text(f"wrote to {out}:" if report.written else "no paper's figure has its runs here"))
    for name, files in report.written.items():
        console.print(Text(f"  {name}: {', '.join(path.name for path in files)}"), soft_wrap=True)
    for name, needs in report.missing.items():
        what = "more runs for" if name in report.written else "no runs for"
        first, *others = dict.fromkeys(need.protocol for need in needs)
        searchers = [searcher for need in needs if need.protocol == first for searcher in need.searchers]
        command = RequiredRuns(first, tuple(searchers)).command(report.results)
        also = f"; or with {', '.join(others)}" if others else ""
        console.print(Text(f"{what} {name}; make them with: {command}{also}"), soft_wrap=True)


def print_own(written: Mapping[str, tuple[Path, ...]], out: Path, console: Console | None = None) -> None:
    """Print the files of a user's own figures, and which of them show nothing of these results."""
    console = console or Console()
    for name, files in written.items():
        what = ", ".join(path.name for path in files) or "nothing of these results"
        console.print(Text(f"{name}, in {out}: {what}"), soft_wrap=True)


def print_paper_list(runs: StoreFrames, console: Console | None = None) -> None:
    """Print every item: name, paper, needed protocols, and whether the store has their runs."""
    console = console or Console()
    console.width = max(console.width, _LIST_WIDTH)  # rather a wrapped line than a name in pieces
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "paper", "what it shows", "protocol", "runs"):
        table.add_column(heading, overflow="fold")
    for name, item in PAPER_ITEMS.items():
        protocols = "\n".join(need.protocol for need in item.needs) or "none needed"
        state = "\n".join("yes" if runs.has(need) else "no" for need in item.needs) or "yes"
        table.add_row(name, item.paper, item.summary, protocols, state)
    for name, entry in FIGURE.from_packages().items():
        table.add_row(*map(Text, (name, entry.summary, "", "none needed", "yes")))
    console.print(table)


def _cells(of: GroupAnalysis, row: pd.Series) -> list[str]:
    as_good = of.group.as_good(row["searcher"])
    alike = f"\n({as_good[0]} to {as_good[-1]}\nas good)" if len(as_good) > 1 else ""
    return [
        row["searcher"],
        counts(row),
        size_range(row) + alike,
        active_range(row),
        ratio(row, TRAIN_FLOPS),
        plus_minus(row, ELBO),
        next((verdict.shown for verdict in of.verdicts if verdict.searcher == row["searcher"]), "–"),
    ]
