"""Names to classes: a registry is a literal dict of entries, and a class is imported when it is first used."""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """What a name stands for, as `module:attribute`, and a line about it for `list`.

    label, colour, marker: how the reports print and draw a searcher. The colour is hexadecimal, the marker one of
    matplotlib's. Searchers may share a colour or a marker, but not both. What is left out follows from the name.
    """

    target: str
    summary: str
    label: str = ""
    colour: str = ""
    marker: str = ""

    @property
    def room(self) -> str:
        """The folder of its module below the package."""
        return self.target.split(".")[1]

    def load(self) -> Any:
        """Imports the module and returns its attribute. Raises ImportError or AttributeError."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line about a name that is not known: what was got, the close match, what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}expected one of {', '.join(names) or 'none'}"
