"""Writes a report: tables, the figures of every group, then the page that shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.store import ResultsStore
from benchmark.text import ROWS, features_kind, of_data
from reports.analysis.analysis import Analysis, analyse
from reports.data.groups import Group
from reports.drawing.base import FigureData, FigureKind, Report, Written
from reports.drawing.save import make_folder, save
from reports.drawing.shown import shown
from reports.drawing.style import paper_style
from reports.figures.registry import GROUP_FIGURES, OVERALL_FIGURES
from reports.page.page import write_page
from reports.tables.latex.comparison import write_latex
from reports.tables.markdown import comparison_page


def write_report(groups: Sequence[Group], out: Path, store: ResultsStore | None = None) -> Report:
    """Write every table and figure, then the page, into `out`, made where needed; InputError where it cannot be.

    store: that the groups are from, for its protocols, its lists of packages and what several results share.
    """
    make_folder(out)
    analysis = analyse(groups)
    tables = _write_tables(analysis, out)
    figures, missing = [], []
    with paper_style():
        for name, group, kind, data in _figures(analysis):
            stem = out / (f"{name}-{group.slug}" if group else name)
            if data is None:
                missing.append(f"{stem.name}: no search has its data yet")
            else:
                figures.append(Written(name, group, kind, data, *save(kind.draw(data), data, stem)))
    page, merged = out / "index.html", store.description() if store else ""
    report = Report(analysis, tables, tuple(figures), tuple(missing), page, _sources(groups, store), merged)
    write_page(report)
    return report


def write_own(figures: Mapping[str, FigureKind], groups: Sequence[Group], out: Path) -> dict[str, tuple[Path, ...]]:
    """Writes a user's own figures of each group into `out`; returns the files by name. Raises InputError.

    An error in a figure's own code names the figure.
    """
    make_folder(out)
    written = {}
    with paper_style():
        for name, kind in figures.items():
            files: list[Path] = []
            for group in groups:
                try:
                    data: Any = kind.data(group)
                    drawn = data and kind.draw(data)
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise InputError(f"figure {name} of {group.title}: {reason}; mend its code") from error
                files += save(drawn, data, out / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}-{group.slug}") if data else ()
            written[name] = tuple(files)
    return written


def _write_tables(analysis: Analysis, out: Path) -> tuple[Path, ...]:
    """The page links every file that is returned."""
    table, verdicts, markdown = (out / name for name in ("comparison.csv", "verdicts.csv", "comparison.md"))
    analysis.comparison.to_csv(table, index=False)
    analysis.verdicts.to_csv(verdicts, index=False)
    markdown.write_text(comparison_page(analysis), encoding="utf-8")
    known = [] if analysis.truth.empty else [out / "truth.csv"]
    for path in known:
        analysis.truth.to_csv(path, index=False)
    return table, verdicts, *known, markdown, *write_latex(analysis, out)


def _sources(groups: Sequence[Group], store: ResultsStore | None) -> dict[str, str]:
    """The texts as far as the results have them, the protocols in the order of the groups."""
    kept = store.kept() if store else {}
    names = dict.fromkeys(f"protocol-{group.protocol_hash}.toml" for group in groups)
    names |= dict.fromkeys(name for name in kept if name.startswith("packages"))
    return {name: kept[name] for name in names if name in kept}


def _figures(analysis: Analysis) -> Iterator[tuple[str, Group | None, FigureKind, FigureData | None]]:
    """One at a time so that only one is in memory."""
    for name, kind in OVERALL_FIGURES.items():
        yield name, None, kind, kind.data(analysis)
    for of in analysis.groups:
        group, notes = shown(of.group)
        for name, kind in GROUP_FIGURES.items():
            if kind.of_rows not in (None, features_kind(group.fid_features) == ROWS):
                continue
            data: Any = kind.data(group)  # a dataclass
            said = tuple(of_data(note, group.fid_features) for note in (*notes, *data.notes)) if data else ()
            yield name, of.group, kind, data and replace(data, notes=said)
