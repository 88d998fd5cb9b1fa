"""What a figure is, and what a report has written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from reports.analysis.analysis import Analysis
from reports.data.groups import Group
from reports.drawing.traces import Choice


class Shown(Protocol):
    """What a figure or table shows: a frozen dataclass. `x_data` returns None where there is nothing to show."""

    def frame(self) -> pd.DataFrame:
        """Exactly what is drawn, one row a mark, units in the column names: the CSV beside the figure."""


class FigureData(Shown, Protocol):
    """What a figure of a report shows. notes: sentences on what it leaves out and on how to read it."""

    @property
    def title(self) -> str:
        """What the figure is, then a colon and the group's title where it is of one group."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences below the figure."""


@dataclass(frozen=True)
class Marks:
    """A figure of one group whose marks are the rows of one frame.

    searchers: all of the group, drawn or not, so that they look the same in all of its figures.
    """

    title: str
    fid_features: str
    searchers: tuple[str, ...]
    marks: pd.DataFrame
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The marks; `x_data` says what their columns are."""
        return self.marks


@dataclass(frozen=True)
class FigureKind:
    """A figure by its parts, `x_data`, `draw_x` and perhaps `interactive_x`.

    caption: explains it to a reader.
    data: of a `Group`, or of an `Analysis` for a figure over all groups.
    interactive: its form on the page, a choice a metric or cost. The number is how many lines of single searches it may
        draw at most. None for a figure that stays an image.
    of_rows: True for a figure of rows of a table alone, False for one of images alone; None for both.
    """

    caption: str
    data: Callable[[Any], FigureData | None]
    draw: Callable[[Any], Figure]
    interactive: Callable[[Any, int], Iterable[Choice]] | None = None
    of_rows: bool | None = None


@dataclass(frozen=True)
class Written:
    """A figure: what it shows and its files. `group` is None for one over all groups."""

    name: str
    group: Group | None
    kind: FigureKind
    data: FigureData
    png: Path
    pdf: Path
    csv: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The figure's three files."""
        return self.png, self.pdf, self.csv

    def choices(self, most_runs: int) -> tuple[Choice, ...]:
        """Builds the figure's interactive form; empty for a figure that stays an image."""
        return tuple(self.kind.interactive(self.data, most_runs)) if self.kind.interactive else ()


@dataclass(frozen=True)
class Report:
    """What was written: tables, figures, the page, and a sentence for each figure that had no data.

    sources: texts beside the results that the page carries: the groups' protocols and the packages installed.
    merged: a sentence on several results that were read as one.
    """

    analysis: Analysis
    tables: tuple[Path, ...]
    figures: tuple[Written, ...]
    missing: tuple[str, ...]
    page: Path
    sources: Mapping[str, str] = field(default_factory=dict)
    merged: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file written."""
        return self.page, *self.tables, *(path for figure in self.figures for path in figure.files)
