"""Writes the papers' figures and tables that the store has the runs for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.drawing.save import make_folder, save
from reports.drawing.style import paper_style
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.tables.latex.frame import frame_latex


@dataclass(frozen=True)
class PaperReport:
    """The results folder; names and files written; of items and parts of items without runs, what they need."""

    results: Path
    written: dict[str, tuple[Path, ...]]
    missing: dict[str, list[RequiredRuns]]


def write_papers(names: Sequence[str], runs: StoreFrames, out: Path) -> PaperReport:
    """Write the named items into `out`, as far as the runs allow. Raises InputError where `out` cannot be written."""
    make_folder(out)
    written: dict[str, tuple[Path, ...]] = {}
    missing: dict[str, list[RequiredRuns]] = {}
    with paper_style():
        for name in names:
            item = PAPER_ITEMS[name]
            absent = [need for need in item.needs if not runs.has(need)]
            if absent:
                missing[name] = absent
            data = item.data(runs)
            if data is None:
                continue
            if item.draw is not None:
                written[name] = save(item.draw(data), data, out / name)
            else:
                frame, csv, tex = data.frame(), out / f"{name}.csv", out / f"{name}.tex"
                frame.to_csv(csv, index=False)
                source = frame_latex(frame, f"{item.paper}: {item.summary}", f"tab:{name}")
                tex.write_text(source, encoding="ascii")
                written[name] = csv, tex
    return PaperReport(runs.store.path, written, missing)
