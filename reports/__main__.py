"""Command line: `latentbench report [--figures [NAME ...] | --list]`, or `python -m reports`, on a results folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import reports.headless  # noqa: F401
from benchmark.cli import add_report_options
from benchmark.errors import InputError
from benchmark.paths import output_folder
from benchmark.plugins import FIGURE
from benchmark.store import ResultsStore
from benchmark.store.remote import open_results
from benchmark.terminal.command import OneLineParser, exit_code
from reports.data.groups import read_groups
from reports.drawing.base import FigureKind
from reports.papers.base import StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.papers.write import write_papers
from reports.terminal import print_own, print_paper_list, print_papers, print_summary
from reports.write import write_own, write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what was asked for, prints what was written, and returns the exit code: 2 for bad input."""
    return exit_code(lambda: report(_parser().parse_args(arguments)), "error")


def report(options: argparse.Namespace) -> int:
    """Carries out `latentbench report` with its options and returns 0. Raises InputError or OSError where it cannot."""
    out: Path = options.out or output_folder(options.results[0], "report")
    store = open_results(options.results)
    where = ", ".join(store.names)
    if options.figures is None and not options.list:
        print_summary(write_report(read_groups(store, where), out, store), out)
        return 0
    own = {name: _own_figure(name) for name in options.figures or () if name not in PAPER_ITEMS}
    runs = StoreFrames(store)
    if options.list:
        print_paper_list(runs)
        return 0
    names = [name for name in options.figures or PAPER_ITEMS if name not in own]
    if names:
        print_papers(write_papers(names, runs, out / "papers"), out / "papers")
    if own:
        print_own(write_own(own, read_groups(store, where), out / "figures"), out / "figures")
    return 0


def _own_figure(name: str) -> FigureKind:
    """The figure of a user or of another package."""
    figure = replace(FIGURE, built_in=PAPER_ITEMS).load(name)
    if not isinstance(figure, FigureKind):
        raise InputError(f"figure {name!r} is {figure!r}; expected a reports.drawing.base.FigureKind")
    return figure


def write_page(results: Path) -> Path:
    """Writes the report of a results folder where `latentbench report` does, prints nothing, and returns its page."""
    store = ResultsStore(results)
    return write_report(read_groups(store, str(results)), results / "report", store).page


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m reports", description="Tables, figures and a page from a results folder.")
    add_report_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
