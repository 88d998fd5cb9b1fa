"""The order and the printed names of searchers, the same in every table and figure, and the names of datasets.

The reports tell searches of one searcher apart by how their trainings were executed: `grid` trains one size after
another, `grid (stacked)` is the same searcher with its trainings stacked into one model. These names are what the
column `searcher` holds in all frames of the reports. In the tables `ald, size only` stands for the sizes that ALD
found, each scored by a plain training of it in place of ALD's own model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from searchers import SEARCHERS

SEQUENTIAL = "sequential"
SIZE_ONLY = ", size only"
GRID = "grid"  # the exhaustive search, which the others are measured against


class Parts(NamedTuple):
    """The parts of a name in the reports: ald, 100 and stacked of `ald@100 (stacked)`."""

    base: str
    variant: str
    execution: str


def executed(searcher: str, execution: str) -> str:
    """Makes a searcher's name in the reports."""
    return searcher if execution == SEQUENTIAL else f"{searcher} ({execution})"


def parts(searcher: str) -> Parts:
    """Takes a name in the reports apart, the method's where it is of sizes only."""
    searcher = native(searcher)
    name, _, execution = searcher.partition(" (") if re.fullmatch(r"\S+ \(\w+\)", searcher) else (searcher, "", "")
    base, _, variant = name.partition("@")
    return Parts(base, variant, execution.removesuffix(")") or SEQUENTIAL)


def is_size_only(searcher: str) -> bool:
    """Whether the name is of a method's sizes alone."""
    return searcher.endswith(SIZE_ONLY)


def native(searcher: str) -> str:
    """The name of the method whose sizes are scored alone; any other name as it is."""
    return searcher.removesuffix(SIZE_ONLY)


def label(searcher: str) -> str:
    """A searcher's printed name: its registry entry's, or the last part of a user's `package.module:Class`.

    A variant (`ald@100`) has its searcher's name with the variant after it.
    """
    base, variant, execution = parts(searcher)
    known = SEARCHERS[base].label if base in SEARCHERS else ""
    name = known or base.rsplit(".", 1)[-1]
    return executed(f"{name} @{variant}" if variant else name, execution) + SIZE_ONLY * is_size_only(searcher)


def in_order(names: Iterable[str]) -> list[str]:
    """Sorts names, each once: latentbench's searchers as its registry has them, then the user's by name.

    Variants come by their number, sequential searches before others, and what is of the size only last.
    """
    order = {name: place for place, name in enumerate(SEARCHERS)}

    def place(name: str) -> tuple[int, str, int, str, bool, str, str]:
        base, variant, execution = parts(name)
        number = "".join(character for character in variant if character.isdigit())
        return order.get(base, len(order)), base, int(number or 0), variant, execution != SEQUENTIAL, execution, name

    return sorted(set(names), key=place)


def counted(searchers: Iterable[str]) -> str:
    """Counts how often each searcher occurs, in the fixed order: `Grid (2), ALD (1)`."""
    names = list(searchers)
    return ", ".join(f"{label(name)} ({names.count(name)})" for name in in_order(names))


def noted(what: str, searchers: Iterable[str]) -> list[str]:
    """Writes a note on some searches, `What: Grid (2), ALD (1).`; none where there are no such searches."""
    named = counted(searchers)
    return [f"{what}: {named}."] if named else []


def dataset_label(dataset: str) -> str:
    """A dataset's name; of `folder:PATH` and `array:PATH` the folder's or file's own."""
    kind, _, path = dataset.partition(":")
    return f"{kind} {Path(path).name}" if kind in ("folder", "array") else dataset
