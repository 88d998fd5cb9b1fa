"""The live display of a suite."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from benchmark.stages import Stage
from benchmark.suite.plan import SearchSpec
from benchmark.text import printable


class SuiteDisplay:
    """Shows an overall bar with an ETA and a line per running search; on a pipe, a line per ended search."""

    def __init__(self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int) -> None:
        self.console = Console()
        self._specs = specs
        self._n_trainings = n_trainings
        self._done = done_before
        self._total = done_before + len(specs)
        self._fractions = [0.0] * len(specs)
        self._trainings: list[dict[int, float]] = [{} for _ in specs]  # by search: training -> share of its epochs
        self._nodes: dict[int, str] = {}
        self._status = ""
        self._lines: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            Remaining(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._suite = self._progress.add_task("searches", total=max(1, len(specs)), detail=self._count())

    def __enter__(self) -> "SuiteDisplay":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()

    def epoch(self, index: int, trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        """Shows that a search has finished an epoch."""
        n_trainings = max(self._n_trainings[index], trial + 1)
        self._trainings[index][trial] = epoch / epochs
        fraction = sum(self._trainings[index].values()) / n_trainings
        self._show(index, fraction, f"training {trial + 1}/{n_trainings}, epoch {epoch}/{epochs}, {latent_dim} latents")

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        """Shows that the stacked trainings of these searches have finished an epoch."""
        for member in members:
            self._fractions[member] = epoch / epochs
        self._show(index, epoch / epochs, f"{trainings} trainings at once, epoch {epoch}/{epochs}")

    def stage(self, index: int, stage: Stage) -> None:
        """Shows a long step of a search that is not a training."""
        self._show(index, 0.0, printable(stage.text))

    def started(self, index: int, node: str) -> None:
        """Shows that a task of a search has begun on this node."""
        self._nodes[index] = f" on {node}"

    def status(self, status: str) -> None:
        """Shows the state of the cluster."""
        self._status = f", {printable(status)}"
        self._progress.update(self._suite, detail=self._count() + self._status)

    def _show(self, index: int, fraction: float, detail: str) -> None:
        self._fractions[index] = max(self._fractions[index], fraction)  # a resumed search repeats its finished epochs
        if index not in self._lines:
            spec = self._specs[index]
            self._lines[index] = self._progress.add_task(f"  {spec.searcher} seed {spec.seed}", total=1.0, detail="")
        self._progress.update(
            self._lines[index], completed=self._fractions[index], detail=detail + self._nodes.get(index, "")
        )
        self._progress.update(self._suite, completed=sum(self._fractions))

    def notice(self, line: str) -> None:
        """Prints a line that the user must see."""
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def ended(self, index: int, outcome: str) -> None:
        """Shows that a search has ended, and how."""
        spec = self._specs[index]
        self._done += 1
        self._fractions[index] = 1.0
        if index in self._lines:
            self._progress.remove_task(self._lines.pop(index))
        self._progress.update(self._suite, completed=sum(self._fractions), detail=self._count() + self._status)
        search = f"{spec.dataset.name} {spec.backbone.name} {spec.searcher} seed {spec.seed}"
        self.notice(f"[{self._count()}] {search}: {outcome}")

    def _count(self) -> str:
        return f"{self._done}/{self._total}"
