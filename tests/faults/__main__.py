"""The fault harness: `python -m tests.faults [FAULT ...]` disturbs suites in every way that we know of, and counts.

A try has survived when the suite, run again where it was cut short, has the same results as an undisturbed one, bit
for bit apart from times, memory and machine, and nothing else is left: no file, no claim, no process.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.faults.bench import Skipped, Tally, Try, bench
from tests.faults.files import damaged, full_disk, read_damaged, read_only
from tests.faults.processes import (
    Problems,
    accompanied,
    clock_jumps,
    fork_server_lost,
    interrupted,
    killed,
    stopped,
    terminated,
    worker_lost,
)
from tests.faults.run import Run

Fault = Callable[[Path, int, int], tuple[int, int]]
"""Gets a folder to work in, how many tries, and a seed; returns how many were tried and how many survived."""


def disturb(how: Callable[[Try], Problems], most: int, folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Suites that are disturbed in one way, each up to `most` times, and then finished."""
    tally = Tally(folder, count, seed)
    for one in tally.tries():
        problems, tried = [], 0
        while tried < min(most, tally.left) and (found := how(one)) is not None:
            problems += found
            tried += 1
        tally.count(one, problems + one.finish(), tried)
    return tally.outcome


def mixed(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Suites that are disturbed in every way that cuts a suite short, one after another."""
    tally = Tally(folder, count, seed)
    for one in tally.tries():
        cuts = [killed, killed, killed, terminated, interrupted, read_only, *([full_disk] if one.on_disk else [])]
        one.rng.shuffle(cuts)
        one.share = 0.7 / len(cuts)  # of the suite's work before each of them: some is left for the last
        found = [(how.__name__, how(one)) for how in (*cuts, worker_lost, damaged)]
        problems = [f"{name}: {problem}" for name, those in found for problem in those or ()]
        # On a busy machine a suite may be done before the last of them: a try counts once it has met them all.
        tally.count(one, problems + one.finish(), tried=int(all(those is not None for _, those in found)))
    return tally.outcome


def damaged_tables(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """The table of a running training, read with one damage after another: the interpreter does not crash."""
    tally = Tally(folder, count, seed)
    for one in tally.tries():
        shutil.copytree(one.bench.undisturbed, one.results)
        with Run(one.bench.root, one.results, ["tests.faults.tables", str(one.results), str(count), str(seed)]) as run:
            tally.count(one, run.end(0), tried=count)
    return tally.outcome


FAULTS: dict[str, tuple[Fault, int]] = {  # with the tries at full length
    "kills": (partial(disturb, killed, 10), 50),
    "terminations": (partial(disturb, terminated, 4), 12),
    "interrupts": (partial(disturb, interrupted, 4), 12),
    "lost workers": (partial(disturb, worker_lost, 1), 12),
    "lost fork servers": (partial(disturb, fork_server_lost, 1), 6),
    "full disks": (partial(disturb, full_disk, 3), 15),
    "read-only disks": (partial(disturb, read_only, 3), 10),
    "jumps of the clock": (partial(disturb, clock_jumps, 1), 10),
    "damages": (partial(disturb, damaged, 1), 30),
    "damages, then read": (partial(disturb, read_damaged, 1), 20),
    "damaged tables": (damaged_tables, 5000),
    "stops": (partial(disturb, stopped, 1), 10),
    "several suites": (partial(disturb, accompanied, 1), 16),
    "mixed": (mixed, 5),
}


def main() -> int:
    """One line for each fault; 1 where a try did not survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"{', '.join(FAULTS)} (default: all)")
    parser.add_argument("--count", type=int, help="tries of each fault (default: its own)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.faults) - FAULTS.keys()
    if unknown:
        parser.error(f"unknown fault {', '.join(unknown)}; expected some of {', '.join(FAULTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # on the way out children are killed and disks unmounted
    folder, failed = Path(tempfile.mkdtemp(prefix="faults-")), False
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("undisturbed", total=None)
        Tally.on_try = lambda tried: progress.advance(task, tried)
        bench(folder / "bench")
        for name in options.faults or FAULTS:
            fault, count = FAULTS[name][0], options.count or FAULTS[name][1]
            progress.reset(task, description=name, total=count)
            start = time.monotonic()
            try:
                tried, survived = fault(folder / name, count, options.seed)
            except Skipped as reason:
                progress.print(f"{name:20}  skipped: {reason}", highlight=False)
                continue
            failed |= survived < tried
            seconds = time.monotonic() - start
            progress.print(f"{name:20}  {tried:4} tried  {survived:4} survived  {seconds:6.0f} s", highlight=False)
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
