"""Command line: `python -m reports [--figures [NAME ...] | --list]`, on a results folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmark.errors import InputError
from benchmark.mirror import local_results
from benchmark.store import ResultsStore
from benchmark.text import is_url, one_line, path_argument, results_argument
from reports.data import read_groups
from reports.paper_items import PAPER_ITEMS
from reports.papers import Runs
from reports.papers_render import write_papers
from reports.render import write_report
from reports.summary import print_paper_list, print_papers, print_summary
from searchers.registry import unknown_name


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see: python -m reports --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what was asked for and print what was written; return the exit code, 2 for bad input."""
    try:
        options = _parser().parse_args(arguments)
        out: Path = options.out or Path("results" if is_url(options.results) else options.results) / "report"
        store = ResultsStore(local_results(options.results))
        if options.figures is None and not options.list:
            groups = read_groups(store, str(options.results))
            print_summary(groups, write_report(groups, store, out), out)
            return 0
        unknown = [name for name in options.figures or () if name not in PAPER_ITEMS]
        if unknown:
            raise InputError(unknown_name("figure", unknown[0], PAPER_ITEMS) + "; see: python -m reports --list")
        runs = Runs(store)
        if options.list:
            print_paper_list(runs)
        else:
            print_papers(write_papers(options.figures or list(PAPER_ITEMS), runs, out / "papers"), out / "papers")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {one_line(error)}; check the path and its permissions", file=sys.stderr)
        return 2
    return 0


def _parser() -> _Parser:
    parser = _Parser(prog="python -m reports", description="Tables, figures and a page from a results folder.")
    parser.add_argument(
        "--results", type=results_argument, default="results", help="a folder (default: results) or URL"
    )
    parser.add_argument("--out", type=path_argument, help="folder to write to (default: RESULTS/report)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--figures", nargs="*", metavar="NAME", help="the papers' figures and tables, all or by name, to OUT/papers"
    )
    what.add_argument("--list", action="store_true", help="the papers' figures, and which the results have runs for")
    return parser


if __name__ == "__main__":
    sys.exit(main())
