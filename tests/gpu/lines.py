"""What the parts of `make gpu` find: a line each, in a file that outlives the part."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VERDICTS = {True: "pass", False: "FAIL", None: "-"}


@dataclass(frozen=True)
class Line:
    """One thing that a part has looked at. is_met: None where there is nothing to be met, or not on this device."""

    part: str
    what: str
    should: str
    found: str
    is_met: bool | None = None


class Report:
    """A part's lines, each written at once."""

    def __init__(self, part: str, path: Path) -> None:
        self.part, self._path = part, path

    def add(self, what: str, should: str, found: str, is_met: bool | None = None) -> None:
        """A line."""
        line = Line(self.part, what, should, found, None if is_met is None else bool(is_met))
        with self._path.open("a", encoding="utf-8") as file:
            print(json.dumps(asdict(line)), file=file)
        print(f"{line.part}: {line.what}: {line.found} ({VERDICTS[line.is_met]})", flush=True)

    def at_most(self, what: str, found: float, limit: float, unit: str = "", counts: bool = True) -> None:
        """A number that must not be above the limit. counts: False where the limit is of other devices."""
        self.add(what, f"at most {limit:g}{unit}", f"{found:.3g}{unit}", found <= limit if counts else None)

    def at_least(self, what: str, found: float, limit: float, unit: str = "", counts: bool = True) -> None:
        """A number that must not be below the limit."""
        self.add(what, f"at least {limit:g}{unit}", f"{found:.3g}{unit}", found >= limit if counts else None)


def read_lines(path: Path) -> list[Line]:
    """The lines so far; [] before the first."""
    if not path.exists():
        return []
    return [Line(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def markdown(lines: Sequence[Line], title: str) -> str:
    """The lines as one table."""
    rows = [("part", "what", "should be", "is", ""), ("---",) * 5]
    rows += [(line.part, line.what, line.should, line.found, VERDICTS[line.is_met]) for line in lines]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    failed = sum(line.is_met is False for line in lines)
    met = sum(line.is_met is True for line in lines)
    return (
        f"# {title}\n\n{met} as they should be, {failed} not, {len(lines) - met - failed} for information.\n\n{table}\n"
    )
