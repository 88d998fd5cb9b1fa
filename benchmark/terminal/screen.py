"""Shows a suite on the terminal."""

from collections.abc import Sequence

from benchmark.suite.plan import SearchSpec
from benchmark.terminal.progress import SuiteDisplay
from benchmark.terminal.stage_display import StageDisplay


class TerminalScreen:
    """Implements `benchmark.suite.display.Screen`."""

    def waiting(self, doing: str) -> StageDisplay:
        """Shows what the user waits for before the first search."""
        return StageDisplay(doing)

    def searches(self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int) -> SuiteDisplay:
        """Shows the running searches."""
        return SuiteDisplay(specs, n_trainings, done_before)

    def line(self, text: str) -> None:
        """Prints a line."""
        print(text, flush=True)
