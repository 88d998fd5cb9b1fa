"""The order and the printed names of searchers, the same in every table and figure."""

from __future__ import annotations

from collections.abc import Iterable

from searchers import SEARCHERS


def label(searcher: str) -> str:
    """A searcher's printed name: its registry entry's, or the last part of a user's `package.module:Class`.

    A variant (`ald@100`) has its searcher's name with the variant after it.
    """
    base, _, variant = searcher.partition("@")
    known = SEARCHERS[base].label if base in SEARCHERS else ""
    name = known or base.rsplit(".", 1)[-1]
    return f"{name} @{variant}" if variant else name


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once: latentbench's searchers as its registry has them, then the user's by name; variants by number."""
    order = {name: place for place, name in enumerate(SEARCHERS)}

    def place(name: str) -> tuple[int, str, int, str]:
        base, _, variant = name.partition("@")
        number = "".join(character for character in variant if character.isdigit())
        return order.get(base, len(order)), base, int(number or 0), variant

    return sorted(set(names), key=place)


def counted(searchers: Iterable[str]) -> str:
    """How often each searcher occurs, in their fixed order: `Grid (2), ALD (1)`."""
    names = list(searchers)
    return ", ".join(f"{label(name)} ({names.count(name)})" for name in in_order(names))
