"""The live display of a suite, and its summary."""

from collections.abc import Sequence
from types import TracebackType

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table

from benchmark.stages import Stage
from benchmark.store import ResultsStore
from benchmark.store.doubts import sentences
from benchmark.suite.plan import SearchSpec
from benchmark.text import one_line, printable
from searchers.quantities import DECISION_METRICS, METRICS

SUMMARY_METRICS = tuple(metric for metric in METRICS if metric in DECISION_METRICS)


class SuiteDisplay:
    """Searches done with an ETA, and a line for each running search. On a pipe: a line for each search that ends."""

    def __init__(self, specs: Sequence[SearchSpec], n_trainings: Sequence[int], done_before: int) -> None:
        self.console = Console()
        self._specs = specs
        self._n_trainings = n_trainings
        self._done = done_before
        self._total = done_before + len(specs)
        self._fractions = [0.0] * len(specs)
        self._trainings: list[dict[int, float]] = [{} for _ in specs]
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
        """A search has finished an epoch."""
        n_trainings = max(self._n_trainings[index], trial + 1)
        self._trainings[index][trial] = epoch / epochs
        fraction = sum(self._trainings[index].values()) / n_trainings
        self._show(index, fraction, f"training {trial + 1}/{n_trainings}, epoch {epoch}/{epochs}, {latent_dim} latents")

    def stacked(self, index: int, members: Sequence[int], trainings: int, epoch: int, epochs: int) -> None:
        """An epoch of the stacked trainings of these searches has finished."""
        for member in members:
            self._fractions[member] = epoch / epochs
        self._show(index, epoch / epochs, f"{trainings} trainings at once, epoch {epoch}/{epochs}")

    def stage(self, index: int, stage: Stage) -> None:
        """A search does something long that is no training."""
        self._show(index, 0.0, printable(stage.text))

    def started(self, index: int, node: str) -> None:
        """A task of a search has begun on this node."""
        self._nodes[index] = f" on {node}"

    def status(self, status: str) -> None:
        """What the cluster is doing."""
        self._status = f", {printable(status)}"
        self._progress.update(self._suite, detail=self._count() + self._status)

    def _show(self, index: int, fraction: float, detail: str) -> None:
        self._fractions[index] = max(self._fractions[index], fraction)  # a search reads back what it has done before
        if index not in self._lines:
            spec = self._specs[index]
            self._lines[index] = self._progress.add_task(f"  {spec.searcher} seed {spec.seed}", total=1.0, detail="")
        self._progress.update(
            self._lines[index], completed=self._fractions[index], detail=detail + self._nodes.get(index, "")
        )
        self._progress.update(self._suite, completed=sum(self._fractions))

    def notice(self, line: str) -> None:
        """Something the user must see."""
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def ended(self, index: int, outcome: str) -> None:
        """A search has ended."""
        spec = self._specs[index]
        self._done += 1
        self._fractions[index] = 1.0
        if index in self._lines:
            self._progress.remove_task(self._lines.pop(index))
        self._progress.update(self._suite, completed=sum(self._fractions), detail=self._count() + self._status)
        message = (
            f"[{self._count()}] {spec.dataset.name} {spec.backbone.name} {spec.searcher} seed {spec.seed}: {outcome}"
        )
        self.notice(message)

    def _count(self) -> str:
        return f"{self._done}/{self._total}"


def print_latents(store: ResultsStore, searches: pd.DataFrame) -> None:
    """Each latent of the chosen trainings at their last epoch (the tables I and II of 1812.07238)."""
    latents, epochs = store.latents(), store.epochs()
    for _, search in searches[searches["status"] == "done"].iterrows():
        own = latents[(latents["search_id"] == search["search_id"]) & (latents["trial"] == search["chosen_trial"])]
        own = own[own["epoch"] == own["epoch"].max()]
        table = Table(title=f"{search['search_id']}: over the validation data", box=SIMPLE)
        for name in ("latent", "variance of the mean", "mean of the variance", "sum"):
            table.add_column(name, justify="right")
        sums = own["latent_mean_variance"] + own["latent_variance_mean"]
        for (_, row), total in zip(own.iterrows(), sums, strict=True):
            numbers = (row["latent_mean_variance"], row["latent_variance_mean"], total)
            table.add_row(str(row["latent_id"]), *(f"{number:.4g}" for number in numbers))
        console = Console()
        console.print(table)
        rows = epochs[(epochs["search_id"] == search["search_id"]) & (epochs["trial"] == search["chosen_trial"])]
        inactive = len(own) - rows["active_units"].iloc[-1]
        console.print(f"{inactive} of {len(own)} latents are inactive; the sum is {sums.mean():.3f} on average")


def print_summary(searches: pd.DataFrame) -> None:
    """One row a search on the terminal: size, latents in use, costs, metrics on the test split.

    Then each failed search's error, and what speaks against the finished ones' answers.
    """
    table = Table(title="metrics on the test split; wall: seconds to the finished model", box=SIMPLE, padding=(0, 1))
    for name in ("dataset", "searcher", "seed", "status", "latents", "in use", "wall", *SUMMARY_METRICS):
        table.add_column(name, justify="left" if name in ("dataset", "searcher", "status") else "right", no_wrap=True)
    for _, row in searches.iterrows():
        cells = [printable(row[name]) for name in ("dataset", "searcher", "seed", "status")]
        if row["status"] == "done":
            metrics = [_number(row[f"test_{name}"], ".4g") for name in SUMMARY_METRICS]
            sizes = [_number(row[name], ".0f") for name in ("latent_dim", "test_active_units")]
            cells += [*sizes, _number(row["wall_seconds"], ".1f"), *metrics]
        table.add_row(*map(escape, cells))
    console = Console()
    console.width = max(console.width, 160)  # rather a wrapped line than a cut name
    console.print(table)
    for _, row in searches[searches["status"] == "failed"].iterrows():
        console.print(f"failed: {row['search_id']}: {one_line(row['error'])}", markup=False, style="red")
    rows = searches.to_dict("records")
    for sentence in sentences(rows, lambda row: printable(f"{row['searcher']} seed {row['seed']}")):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True, style="yellow")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
