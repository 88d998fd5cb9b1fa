"""The live view of a results folder: its running searches' curves while they train."""

import io
import sys
import time

from rich.console import Console
from rich.live import Live

from benchmark.store import ResultsStore
from benchmark.terminal.panels import view
from benchmark.terminal.snapshot import FileCache, Snapshot, snapshot

_PIPE_WIDTH = 160  # rather a long line than a cut name
_IDLE_SECONDS = 10.0  # between two searches of a suite none is running for a moment


def watch(store: ResultsStore, every: float, once: bool) -> int:
    """Shows the store's searches anew every so many seconds until none is running; the exit code.

    Where `once`, and where the output is no terminal, it shows them once.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding without braille is no reason to fail
    console, files = Console(), FileCache()
    if not console.is_terminal or console.is_dumb_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
        once = True
    now = snapshot(store, files, time.time()) if once else _follow(console, store, files, every)
    console.print(view(now, console.width, None))
    if not once:
        console.print(_farewell(now))
    return 0


def _follow(console: Console, store: ResultsStore, files: FileCache, every: float) -> Snapshot:
    """Shows snapshots until no search is running that is worth waiting for; the last one."""
    last_running = time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            now = snapshot(store, files, time.time())
            live.update(view(now, console.width, console.height), refresh=True)
            if any(not search.gone for search in now.running):
                last_running = time.monotonic()
            elif time.monotonic() - last_running >= _IDLE_SECONDS:
                return now
            time.sleep(every)


def _farewell(now: Snapshot) -> str:
    if now.running:
        return "nothing runs here any more: no news of the searches above; run their command again to continue them"
    return "nothing is running any more"
