"""Writes the report: tables, the figures of every group, then the page that shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from benchmark.errors import InputError
from reports.analysis.comparison import comparison
from reports.analysis.significance import significance
from reports.data.groups import Group, Store
from reports.drawing.base import FigureData, FigureKind
from reports.drawing.style import paper_style
from reports.figures.registry import GROUP_FIGURES, OVERALL_FIGURES
from reports.page.page import write_page
from reports.tables.latex import write_latex
from reports.tables.markdown import comparison_page


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
        """All of them."""
        return self.png, self.pdf, self.csv


@dataclass(frozen=True)
class Report:
    """What was written: the comparison, tables, figures, and a sentence for each figure that had no data; the page."""

    comparison: pd.DataFrame
    tables: tuple[Path, ...]
    figures: tuple[Written, ...]
    missing: tuple[str, ...]
    page: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file written."""
        return self.page, *self.tables, *(path for figure in self.figures for path in figure.files)


def make_folder(out: Path) -> None:
    """Make `out` where needed.

    Raises:
        InputError: it cannot be a folder or is not writable.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out} ({error.strerror}); give another folder with --out") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {out} (no permission); give another folder with --out")


def write_report(groups: list[Group], store: Store, out: Path) -> Report:
    """Write every table and figure, then the page, into `out`, made where needed; InputError where it cannot be."""
    make_folder(out)
    frame = comparison(groups)
    tables = _write_tables(groups, frame, out)
    figures, missing = [], []
    with paper_style():
        for name, group, kind, data in _figures(groups, store):
            stem = out / (f"{name}-{group.slug}" if group else name)
            if data is None:
                missing.append(f"{stem.name}: no search has its data yet")
            else:
                figures.append(Written(name, group, kind, data, *save(kind.draw(data), data, stem)))
    report = Report(frame, tables, tuple(figures), tuple(missing), out / "index.html")
    write_page(groups, report)
    return report


def _write_tables(groups: list[Group], frame: pd.DataFrame, out: Path) -> tuple[Path, ...]:
    """`frame` is `comparison(groups)`; the page links every file that is returned."""
    table, tests, markdown = (out / name for name in ("comparison.csv", "significance.csv", "comparison.md"))
    frame.to_csv(table, index=False)
    significance(groups).to_csv(tests, index=False)
    markdown.write_text(comparison_page(groups, frame), encoding="utf-8")
    return table, tests, markdown, *write_latex(groups, frame, out)


def _figures(groups: list[Group], store: Store) -> Iterator[tuple[str, Group | None, FigureKind, FigureData | None]]:
    """One at a time so that only one is in memory."""
    for name, kind in OVERALL_FIGURES.items():
        yield name, None, kind, kind.data(groups)
    for group in groups:
        for name, kind in GROUP_FIGURES.items():
            yield name, group, kind, kind.data(group, store)


def save(figure: Figure, data: FigureData, stem: Path) -> tuple[Path, Path, Path]:
    """Write the figure as `stem`.png and .pdf and what it draws as .csv; the same store gives the same bytes."""
    png, pdf, csv = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf", "csv"))
    figure.dpi = mpl.rcParams["savefig.dpi"]
    if (layout := figure.get_layout_engine()) is not None:
        # For both files; each `savefig` would draw the whole figure once more for this.
        layout.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave a placeholder, and the drawing with it
    figure.savefig(png)
    figure.savefig(pdf, metadata={"CreationDate": None})
    data.frame().to_csv(csv, index=False)
    return png, pdf, csv
