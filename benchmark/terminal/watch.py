"""Shows the curves of a results folder's running searches while they train."""

import io
import sys
import time

from rich.console import Console
from rich.live import Live

from benchmark.store import ResultsStore
from benchmark.terminal.panels import view
from benchmark.terminal.snapshot import FileCache, Snapshot, snapshot
from benchmark.terminal.summary import wide_console

_IDLE_SECONDS = 10.0  # between two searches of a suite, for a moment none is running


def watch(store: ResultsStore, every: float, once: bool) -> int:
    """Shows the searches every so many seconds until none is running, and returns the exit code.

    once: shows them a single time, as on an output that is no terminal.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding without braille must not fail
    console, files = Console(), FileCache()
    if not console.is_terminal or console.is_dumb_terminal:
        console, once = wide_console(), True
    last = snapshot(store, files, time.time()) if once else _follow(console, store, files, every)
    console.print(view(last, console.width, None))
    if not once:
        console.print(_closing_line(last))
    return 0


def _follow(console: Console, store: ResultsStore, files: FileCache, every: float) -> Snapshot:
    """Shows snapshots until no search is left that is worth waiting for; returns the last one."""
    last_running = time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            current = snapshot(store, files, time.time())
            live.update(view(current, console.width, console.height), refresh=True)
            if any(not search.gone for search in current.running):
                last_running = time.monotonic()
            elif time.monotonic() - last_running >= _IDLE_SECONDS:
                return current
            time.sleep(every)


def _closing_line(last: Snapshot) -> str:
    if last.running:
        return "nothing runs here any more: no news of the searches above; run their command again to continue them"
    return "nothing is running any more"
