"""The terminal as a suite's screen."""

from collections.abc import Sequence

from benchmark.suite.plan import SearchSpec
from benchmark.terminal.progress import SuiteDisplay
from benchmark.terminal.stage_display import StageDisplay


class TerminalScreen:
    """Implements `benchmark.suite.display.Screen`."""

    def waiting(self, doing: str) -> StageDisplay:
        """What the user waits for before the first search."""
        return StageDisplay(doing)

    def searches(self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int) -> SuiteDisplay:
        """The searches that run."""
        return SuiteDisplay(specs, n_trainings, done_before)

    def line(self, text: str) -> None:
        """A line of its own."""
        print(text, flush=True)
