"""What a paper's figure or table is, and the runs that it is drawn from."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmark.errors import InputError
from benchmark.store import ResultsStore
from reports.drawing.base import Shown


@dataclass(frozen=True)
class RequiredRuns:
    """Finished searches of a protocol, with every one of these searchers (variants included: `ald@100`).

    files: they must have what a study's file leaves out: models, images, probes, and the latents of all epochs.
    """

    protocol: str
    searchers: tuple[str, ...]
    files: bool = False

    def with_files(self) -> RequiredRuns:
        """The same runs from a results folder."""
        return replace(self, files=True)

    def command(self, results: Path) -> str:
        """The command that makes the runs in this results folder."""
        what = f"--protocol {self.protocol} --searchers {' '.join(self.searchers)}"
        return f"python -m benchmark run {what} --results {shlex.quote(str(results))}"


class StoreFrames:
    """A store's frames, each read once."""

    def __init__(self, store: ResultsStore) -> None:
        self.store = store

    @cached_property
    def searches(self) -> pd.DataFrame:
        """`ResultsStore.searches()`, the finished ones."""
        searches = self.store.searches()
        return searches[searches["status"] == "done"]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """`ResultsStore.epochs()`."""
        return self.store.epochs()

    @cached_property
    def latents(self) -> pd.DataFrame:
        """`ResultsStore.latents()`."""
        return self.store.latents()

    @cached_property
    def probes(self) -> pd.DataFrame:
        """`ResultsStore.probes()`."""
        return self.store.probes()

    def of(self, need: RequiredRuns) -> pd.DataFrame:
        """Returns the finished searches that a need names, in the order of its searchers, then by seed."""
        found = self.searches[
            (self.searches["protocol"] == need.protocol) & self.searches["searcher"].isin(need.searchers)
        ]
        if need.files:
            found = found.loc[[self._has_files(search_id) for search_id in found["search_id"]]]
        order = {searcher: place for place, searcher in enumerate(need.searchers)}
        return found.assign(_place=found["searcher"].map(order)).sort_values(["_place", "seed"]).drop(columns="_place")

    def _has_files(self, search_id: str) -> bool:
        try:
            self.store.folder(search_id)
        except InputError:
            return False
        return True

    def has(self, need: RequiredRuns) -> bool:
        """True where every searcher of the need has a finished search."""
        return set(need.searchers) <= set(self.of(need)["searcher"])

    def training(self, search_id: str, trial: int) -> pd.DataFrame:
        """The rows of one training, by epoch."""
        rows = self.epochs[(self.epochs["search_id"] == search_id) & (self.epochs["trial"] == trial)]
        return rows.sort_values("epoch")


@dataclass(frozen=True)
class PaperItem:
    """A figure or table of a paper.

    paper: as "ALD-VAE (2312.06280), figure 2". needs: any of them is enough for data; each adds its part; none for an
    item that needs no run. data: of the runs, None where none of them is there. draw: None for a table, which is
    written as CSV and LaTeX.
    """

    paper: str
    summary: str
    needs: tuple[RequiredRuns, ...]
    data: Callable[[StoreFrames], Shown | None]
    draw: Callable[[Any], Figure] | None = None
