"""`latentbench compare A B`: the same searches in two results."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.errors import InputError
from benchmark.store.remote import open_results
from benchmark.text import printable
from reports.compare.pairs import COMPARED, SIZES, Comparison, compare_searches
from reports.data.names import label
from reports.data.numbers import interval_text, number_text, quantity_text, scaled
from reports.data.quantities import SHOWN_COSTS

SIDES = ("first", "second")
_HEADINGS = ("searcher", "quantity", "first", "second", "second − first (95 %)", "pairs", "equal")


def print_comparison(options: argparse.Namespace) -> int:
    """Prints the comparison and returns 0. Raises InputError where nothing can be compared."""
    out: Path | None = options.out
    if out is not None and out.suffix not in (".csv", ".md"):
        raise InputError(f"out is {out}; expected a file that ends in .csv or .md")
    stores = [open_results([results]) for results in (options.first, options.second)]
    found = compare_searches(*(store.searches() for store in stores))
    console = Console()
    console.width = max(console.width, 130)
    console.print(Text(f"first: {stores[0].names[0]}, second: {stores[1].names[0]}"), soft_wrap=True)
    for title, rows in _groups(found):
        table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in _HEADINGS:
            table.add_column(heading, no_wrap=True, justify="left" if heading in _HEADINGS[:2] else "right")
        for cells in rows:
            table.add_row(*map(Text, cells))
        console.print(table)
    for line in (*found.warnings, *found.notes):
        console.print(Text(line, "yellow"), soft_wrap=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = found.rows.to_csv(index=False) if out.suffix == ".csv" else markdown(found)
        out.write_text(text, encoding="utf-8")
        console.print(Text(f"wrote {out}"), soft_wrap=True)
    return 0


def markdown(found: Comparison) -> str:
    """The comparison as Markdown: a table a group, then the notes."""
    lines = []
    for title, rows in _groups(found):
        lines += [f"## {title}", "", "| " + " | ".join(_HEADINGS) + " |", "|---|---|" + "---:|" * 5]
        lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in rows]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in (*found.warnings, *found.notes)), ""])


def _groups(found: Comparison) -> list[tuple[str, list[list[str]]]]:
    """A title and the cells of its rows for each data set, network and protocol."""
    groups = []
    for (dataset, backbone, digest), rows in found.rows.groupby(["dataset", "backbone", "protocol_hash"]):
        title = f"{printable(dataset)}, {printable(backbone)} (protocol {str(digest)[:6] or 'unknown'})"
        groups.append((title, [_cells(row) for _, row in rows.iterrows()]))
    return groups


def _cells(row: pd.Series) -> list[str]:
    quantity, column = COMPARED[row["quantity"]], row["quantity"]
    unit = f" ({quantity.unit})" if quantity.unit.startswith("nats") else ""
    what = f"test {quantity.label}{unit}" if column.startswith("test_") else quantity.label
    means = [number_text(row[side]) if column in SIZES else quantity_text(quantity, row[side]) for side in SIDES]
    largest = max(row[side] for side in SIDES)
    divisor, unit = scaled(column, largest) if quantity in SHOWN_COSTS else (1.0, "")
    difference, low, high = (row[name] / divisor for name in ("difference", "low", "high"))
    text = "0" if row["equal"] == row["pairs"] else interval_text(difference, low, high, unit)
    return [label(row["searcher"]), what, *means, text, str(row["pairs"]), str(row["equal"])]
