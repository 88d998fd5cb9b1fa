"""Command line: `latentbench report [--figures [NAME ...] | --list]`, or `python -m reports`, on a results folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import reports.headless  # noqa: F401
from benchmark.cli import add_report_options
from benchmark.errors import InputError
from benchmark.paths import is_url
from benchmark.store import ResultsStore
from benchmark.store.remote import local_results
from benchmark.terminal.command import OneLineParser, exit_code
from reports.data.groups import read_groups
from reports.drawing.base import Report
from reports.papers.base import StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.papers.write import write_papers
from reports.terminal import print_paper_list, print_papers, print_summary
from reports.write import write_report
from searchers.registry import unknown_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what was asked for, prints what was written, and returns the exit code: 2 for bad input."""
    return exit_code(lambda: report(_parser().parse_args(arguments)), "error")


def report(options: argparse.Namespace) -> int:
    """Carries out `latentbench report` with its options and returns 0. Raises InputError or OSError where it cannot."""
    out: Path = options.out or Path("results" if is_url(options.results) else options.results) / "report"
    if options.figures is None and not options.list:
        print_summary(_write(options.results, out), out)
        return 0
    store = ResultsStore(local_results(options.results))
    unknown = [name for name in options.figures or () if name not in PAPER_ITEMS]
    if unknown:
        raise InputError(unknown_name("figure", unknown[0], PAPER_ITEMS) + "; see: python -m reports --list")
    runs = StoreFrames(store)
    if options.list:
        print_paper_list(runs)
    else:
        print_papers(write_papers(options.figures or list(PAPER_ITEMS), runs, out / "papers"), out / "papers")
    return 0


def write_page(results: Path) -> Path:
    """Writes the report of a results folder where `latentbench report` does, prints nothing, and returns its page."""
    return _write(results, results / "report").page


def _write(results: str | Path, out: Path) -> Report:
    store = ResultsStore(local_results(results))
    return write_report(read_groups(store, str(results)), out, store.path)


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m reports", description="Tables, figures and a page from a results folder.")
    add_report_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
