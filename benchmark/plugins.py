"""Code of users and of other packages by name: the five kinds of things that latentbench takes from them.

One's own is written `module:Attribute`. A package registers a name as an entry point (`latentbench.searchers`,
`.datasets`, `.backbones`, `.metrics`, `.figures`). Nothing is imported before it is used.
"""

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from benchmark.errors import InputError
from searchers import SEARCHERS, registry
from searchers.registry import Entry, unknown_name


@dataclass(frozen=True)
class Kind:
    """One kind of thing. own: how a user's own is written. built_in: latentbench's own names."""

    name: str
    own: str
    built_in: Mapping[str, Any] = field(default_factory=dict)

    def from_packages(self) -> dict[str, Entry]:
        """The names that installed packages register, without clashes, each with its package. Imports none of them."""
        points = _entry_points(f"latentbench.{self.name}s", tuple(sys.path))
        names = [point.name for point in points]
        return {
            point.name: Entry(point.value, f"from {_package(point)}")
            for point in points
            if point.name not in self.built_in and names.count(point.name) == 1
        }

    def clashes(self) -> dict[str, str]:
        """For each name that is registered more than once a line that says by whom."""
        points = _entry_points(f"latentbench.{self.name}s", tuple(sys.path))
        by: dict[str, list[str]] = {}
        for point in points:
            by.setdefault(point.name, ["latentbench"] if point.name in self.built_in else []).append(_package(point))
        return {
            name: f"{self.name} {name!r} is registered by {' and '.join(packages)}; expected one: remove a package, or "
            f"write {self.own}"
            for name, packages in by.items()
            if len(packages) > 1
        }

    def find(self, name: str) -> Entry | None:
        """What a name stands for; None where it is not known. Raises InputError where several packages claim it."""
        module, colon, _ = name.partition(":")
        if colon and "/" not in name and module not in self.built_in:  # folder:PATH, however it is misspelt
            return Entry(name, "")
        if name in (clashes := self.clashes()):
            raise InputError(clashes[name])
        found: Entry | None = {**self.from_packages(), **self.built_in}.get(name)
        return found

    def check(self, name: str) -> Entry:
        """`find`. Raises InputError, with the close match, where the name is not known."""
        entry = self.find(name)
        if entry is None:
            known = [*self.built_in, *self.from_packages()]
            raise InputError(f"{unknown_name(self.name, name, known)}, or your own as {self.own}")
        return entry

    def load(self, name: str) -> Any:
        """Imports what a name stands for. Raises InputError, in one line, where that cannot be."""
        entry = self.check(name)
        try:
            return entry.load()
        except (Exception, SystemExit) as error:  # importing a module runs it
            place = traceback.extract_tb(error.__traceback__)[-1]
            is_theirs = not place.filename.startswith("<") and place.filename != registry.__file__
            where = f" ({place.filename}, line {place.lineno})" if is_theirs else ""
            source = f" {entry.summary}" if name in self.from_packages() else ""
            raise InputError(
                f"cannot load {self.name} {name!r}{source}: {type(error).__name__}: {error}{where}; expected an "
                f"importable {self.own}"
            ) from error


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """path: `sys.path`, on which the packages are found."""
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, _package(point))))


SEARCHER = Kind("searcher", "module:Class", SEARCHERS)
METRIC = Kind("metric", "module:function")
FIGURE = Kind("figure", "module:FIGURE")
