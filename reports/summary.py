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


def _cells(row: pd.Series) -> list[str]:
    return [
        row["searcher"],
        counts(row),
        size_range(row),
        plus_minus(row, WALL_SECONDS),
        ratio(row, WALL_SECONDS),
        plus_minus(row, RECON_NLL),
    ]
