"""`make bench`: what training, metrics, searches and stacked trainings cost, most of it as ratios.

Machines are shared and noisy, so what is compared is interleaved in rounds of one process, and each number is printed
with its spread over the rounds.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import rich.table
import torch
from rich.console import Console

from benchmark.machine import limit_threads, resolve_device
from benchmark.provenance import environment
from searchers.registry import unknown_name
from tests.speed import conv as speed_conv
from tests.speed import gpu as speed_gpu
from tests.speed import mlp as speed_mlp
from tests.speed import overheads as speed_overheads
from tests.speed import quality as speed_quality
from tests.speed import scaling as speed_scaling
from tests.speed import stacked as speed_stacked
from tests.speed.timing import Effort, Printable, markdown

FULL = Effort()
SECTIONS: dict[str, Callable[[Effort], Sequence[Printable]]] = {
    "mlp": speed_mlp.measure,
    "conv": speed_conv.measure,
    "stacked": speed_stacked.measure,
    "overheads": speed_overheads.measure,
    "scaling": speed_scaling.measure,
    "quality": speed_quality.measure,
    "gpu": speed_gpu.measure,
}


def main(arguments: Sequence[str] | None = None, effort: Effort = FULL) -> None:
    """Prints each section's tables, and the same numbers as JSON on the last line."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="NAME", help=f"{', '.join(SECTIONS)} (default: all possible)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as Markdown too")
    cases = ", ".join(speed_quality.CASES)
    parser.add_argument("--cases", nargs="+", metavar="CASE", help=f"of the section quality: {cases} (default: all)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="CPU seconds of each training of the section quality"
    )
    options = parser.parse_args(arguments)
    has_gpu = torch.cuda.is_available()
    names = options.sections or [name for name in SECTIONS if name != "gpu" or has_gpu]
    for name in names:
        if name not in SECTIONS:
            parser.error(unknown_name("section", name, SECTIONS))
        if name == "gpu" and not has_gpu:
            parser.error("section gpu needs a CUDA device and torch sees none; leave it out")
    for case in options.cases or ():
        if case not in speed_quality.CASES:
            parser.error(unknown_name("case", case, speed_quality.CASES))
    if options.seconds is not None and not options.seconds > 0:
        parser.error(f"--seconds is {options.seconds}; expected more than 0")
    if options.cases or options.seconds:
        if "quality" not in names:
            parser.error("--cases and --seconds are of the section quality; name it too, or leave them out")
        effort = replace(effort, cases=options.cases, seconds=options.seconds)
    torch.set_flush_denormal(True)
    console = Console()
    tables: list[Printable] = []
    console.width = max(console.width, 120)  # rather a wrapped line than a cut name
    for name in names:
        limit_threads(effort.threads)  # the section before may have changed it
        for table in SECTIONS[name](effort):
            console.print(_printed(table))
            tables.append(table)
    if options.markdown:
        options.markdown.write_text(
            "\n\n".join([_machine(effort), *(markdown(table.title, table.cells()) for table in tables)]) + "\n",
            encoding="utf-8",
        )
    print(json.dumps({table.title: table.numbers() for table in tables}))


def _printed(table: Printable) -> rich.table.Table:
    header, *lines = table.cells()
    printed = rich.table.Table(title=table.title)
    for column in header:
        printed.add_column(column, justify="right" if column else "left", no_wrap=True)
    for line in lines:
        printed.add_row(*line)
    return printed


def _machine(effort: Effort) -> str:
    used = environment(resolve_device("auto"), effort.threads)
    gpu = "" if used["device"] == "cpu" else f", {used['device']}"
    return f"{used['cpu']}, {os.cpu_count()} cores, {effort.threads} threads{gpu}, torch {used['torch']}"


if __name__ == "__main__":
    main()
