"""What the terminal shows after a report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.data import Group
from reports.paper_items import PAPER_ITEMS
from reports.papers import Runs
from reports.papers_render import PaperReport
from reports.quantities import RECON_NLL, WALL_SECONDS
from reports.render import Report
from reports.tables import counts, plus_minus, ratio, rows_of, size_range

_HEADER = ("searcher", "done/failed/\nrunning", "latent size", "wall-clock\n(s)", "x grid", "test NLL\n(nats/image)")


def print_summary(groups: list[Group], report: Report, out: Path, console: Console | None = None) -> None:
    """Print a compact comparison of each group and the files written, as paths relative to `out`."""
    console = console or Console()
    for group in groups:
        # Text, not str: names from the store are never read as markup.
        table = Table(title=Text(group.title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for heading in _HEADER:
            table.add_column(heading, overflow="fold")
        for _, row in rows_of(report.comparison, group).iterrows():
            table.add_row(*(Text(cell) for cell in _cells(row)))
        console.print(table)
    console.print(Text(f"wrote to {out}:"))
    console.print(Columns([Text(str(path.relative_to(out))) for path in report.files], padding=(0, 3)))
    for sentence in report.missing:
        console.print(Text(f"not drawn: {sentence}"))


def print_papers(report: PaperReport, out: Path, console: Console | None = None) -> None:
    """Print what was written, and the one command that makes each run that is missing."""
    console = console or Console()
    console.print(Text(f"wrote to {out}:" if report.written else "no paper's figure has its runs here"))
    for name, files in report.written.items():
        console.print(Text(f"  {name}: {', '.join(path.name for path in files)}"), soft_wrap=True)
    for name, need in report.missing:
        console.print(Text(f"no runs for {name}; make them with: {need.command}"), soft_wrap=True)


def print_paper_list(runs: Runs, console: Console | None = None) -> None:
    """Print every item: name, paper, needed protocols, and whether the store has their runs."""
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "paper", "what it shows", "protocol", "runs"):
        table.add_column(heading, overflow="fold")
    for name, item in PAPER_ITEMS.items():
        protocols = "\n".join(need.protocol for need in item.needs) or "none needed"
        state = "\n".join("yes" if runs.has(need) else "no" for need in item.needs) or "yes"
        table.add_row(name, item.paper, item.summary, protocols, state)
    console.print(table)


def _cells(row: pd.Series) -> list[str]:
    return [
        row["searcher"],
        counts(row),
        size_range(row),
        plus_minus(row, WALL_SECONDS),
        ratio(row, WALL_SECONDS),
        plus_minus(row, RECON_NLL),
    ]
