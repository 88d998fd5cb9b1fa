"""Writes the papers' figures and tables that the store has the runs for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.paper_items import PAPER_ITEMS
from reports.papers import Need, Runs
from reports.render import make_folder, save
from reports.style import paper_style


@dataclass(frozen=True)
class PaperReport:
    """Names and files written; of items and parts of items that have no runs, what is missing."""

    written: dict[str, tuple[Path, ...]]
    missing: tuple[tuple[str, Need], ...]


def write_papers(names: Sequence[str], runs: Runs, out: Path) -> PaperReport:
    """Write the named items into `out`, as far as the runs allow. Raises InputError where `out` cannot be written."""
    make_folder(out)
    written: dict[str, tuple[Path, ...]] = {}
    missing = []
    with paper_style():
        for name in names:
            item = PAPER_ITEMS[name]
            missing += [(name, need) for need in item.needs if not runs.has(need)]
            data = item.data(runs)
            if data is None:
                continue
            if item.draw is not None:
                written[name] = save(item.draw(data), data, out / name)
            else:
                data.frame().to_csv(out / f"{name}.csv", index=False)
                written[name] = (out / f"{name}.csv",)
    return PaperReport(written, tuple(missing))
