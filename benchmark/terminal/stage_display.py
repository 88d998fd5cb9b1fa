"""Shows what the user waits for before the first search, on a terminal or a pipe."""

import threading
import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from benchmark.stages import Stage
from benchmark.text import printable

PATIENCE_SECONDS = 2.0  # shorter stages get no line
LINE_SECONDS = 10.0  # between two lines of one stage
LOOK_SECONDS = 0.25  # between two checks for a line to print


class StageDisplay:
    """Shows a live bar of the current stage with an ETA, and clears it at the end.

    On a pipe it prints a line for each stage that takes more than two seconds, and one every ten seconds. `doing`, the
    work before the first stage, is shown on a terminal only.
    """

    def __init__(self, doing: str, console: Console | None = None) -> None:
        self.console = console or Console()
        self._lines = Lines()
        self._ended = threading.Event()
        self._printer = threading.Thread(target=self._print_lines, daemon=True)
        columns = (SpinnerColumn("line"), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        self._is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._progress = Progress(
            *columns, TextColumn("ETA"), Remaining(), console=self.console, transient=True, disable=not self._is_live
        )
        self._task = self._progress.add_task(escape(doing), total=None)

    def __enter__(self) -> "StageDisplay":
        if self._is_live:
            self._progress.start()
        else:
            self._printer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()
        self._ended.set()
        if self._printer.ident is not None:
            self._printer.join()

    def show(self, stage: Stage) -> None:
        """Shows that a stage has begun or advanced."""
        if self._lines.show(stage, time.monotonic()):
            self._progress.reset(self._task, total=stage.total)
        self._progress.update(self._task, completed=stage.done, description=escape(printable(stage.text)))

    def notice(self, line: str) -> None:
        """Prints a line that the user must see."""
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def _print_lines(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            line = self._lines.due(time.monotonic())
            if line is not None:
                self.notice(line)


class Lines:
    """Decides which lines a pipe gets and when. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._began = self._last_line = 0.0
        self._printed_stage = ""

    def show(self, stage: Stage, now: float) -> bool:
        """Notes that a stage has begun or advanced; returns True if it has begun."""
        previous, self._stage = self._stage, stage
        if previous is None:
            self._last_line = now + PATIENCE_SECONDS - LINE_SECONDS  # many short stages are a long wait too
        if previous is not None and previous.what == stage.what:
            return False
        self._began = now
        return True

    def due(self, now: float) -> str | None:
        """Returns the line to print now, if any."""
        stage = self._stage
        if stage is None:
            return None
        is_new = stage.what != self._printed_stage and now - self._began >= PATIENCE_SECONDS
        if not is_new and now - self._last_line < LINE_SECONDS:
            return None
        self._last_line, self._printed_stage = now, stage.what
        if stage.total is None or not 0 < stage.done <= stage.total:
            return stage.text
        seconds = (now - self._began) * (stage.total - stage.done) / stage.done
        return f"{stage.text}, about {timedelta(seconds=round(seconds))} left"
