"""Command line: `python -m reports --results DIR --out DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmark.errors import InputError
from benchmark.store import ResultsStore
from reports.data import read_groups
from reports.render import write_report
from reports.summary import print_summary


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see: python -m reports --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and print what was written; return the exit code, 2 for bad input."""
    parser = _Parser(prog="python -m reports", description="Tables and figures from a results folder.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder (default: results)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: RESULTS/report)")
    try:
        options = parser.parse_args(arguments)
        out: Path = options.out or options.results / "report"
        store = ResultsStore(options.results)
        groups = read_groups(store, str(options.results))
        report = write_report(groups, store, out)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print_summary(groups, report, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
