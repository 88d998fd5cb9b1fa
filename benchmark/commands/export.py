"""`latentbench export`: results in the formats of other programs."""

import argparse

from benchmark.errors import InputError
from benchmark.export import FORMATS
from benchmark.paths import output_folder
from benchmark.stages import listening
from benchmark.store.remote import open_results
from benchmark.terminal.stage_display import StageDisplay
from benchmark.text import printable


def export(options: argparse.Namespace) -> int:
    """Writes the files and prints their paths. Raises InputError where there are no searches."""
    if options.epochs is not None and (options.to != "study" or options.epochs < 1):
        raise InputError(f"--epochs {options.epochs} with --to {options.to}; expected at least 1, with --to study")
    out = options.out or output_folder(options.results[0], "export")
    with StageDisplay("reading the results") as display, listening(display.show):
        store = open_results(options.results)
        write = FORMATS[options.to].load()
        written = write(store, out) if options.epochs is None else write(store, out, options.epochs)
    if not written:
        raise InputError(
            f"no searches at {', '.join(map(str, options.results))}; expected results that `latentbench run` wrote"
        )
    for path in written:
        print(f"wrote {printable(path)}")
    return 0
