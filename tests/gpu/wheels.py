"""Prints the packages that a machine without network needs beside its torch, as `name==version` lines.

    python -m tests.gpu.wheels [NAME ...]

They are those that latentbench needs by its pyproject.toml, in this environment's versions, with what they need;
without torch and what it needs, and without the NAMEs that the machine has already.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.gpu.part import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

THERE = ("torch", "torchvision")  # with CUDA, on every machine that this is for
TESTS = ("pytest",)  # part "tests" runs them


def needed(names: Iterable[str], without: Iterable[str] = ()) -> dict[str, str]:
    """The versions here of these distributions and of what they need, by name, except those in `without`."""
    found: dict[str, str] = {}
    waiting, left_out = [canonicalize_name(name) for name in names], {canonicalize_name(name) for name in without}
    while waiting:
        name = waiting.pop()
        if name in found or name in left_out:
            continue
        try:
            own = distribution(name)
        except PackageNotFoundError:  # of another Python or platform
            continue
        found[name] = own.version
        requirements = map(Requirement, own.requires or ())
        waiting += [
            canonicalize_name(one.name) for one in requirements if not one.marker or one.marker.evaluate({"extra": ""})
        ]
    return found


def main(have: Iterable[str]) -> None:
    """Prints them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [re.split(r"[\s<>=!~\[;]", line)[0] for line in project["dependencies"]]
    of_torch = needed(THERE)
    for name, version in sorted(needed([*asked, *TESTS], without=[*of_torch, *have]).items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(sys.argv[1:])
