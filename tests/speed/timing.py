"""How the speed bench measures: interleaved rounds, and tables of medians with their spread."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from rich.progress import track

from benchmark.machine import limit_threads
from benchmark.text import short_number

Measure = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long the bench measures, and with how many threads where it uses all.

    rounds: None is each table's own number. scale: of the numbers of steps and images, and of seconds. cases and
    seconds: of the section quality; None is all of them, and each case's own seconds.
    """

    rounds: int | None = None
    scale: float = 1.0
    threads: int = field(default_factory=torch.get_num_threads)
    cases: tuple[str, ...] | None = None
    seconds: float | None = None

    def of(self, count: int) -> int:
        """This many, scaled, at least 2."""
        return max(2, round(count * self.scale))


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Mean of the repeats."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def with_threads(threads: int, measure: Measure) -> Measure:
    """The same, measured with this many threads."""

    def measured() -> float:
        limit_threads(threads)
        return measure()

    return measured


def interleaved(title: str, rounds: int, measures: Mapping[str, Measure]) -> dict[str, list[float]]:
    """The values of each over the rounds, which go there and back: a drift of the machine meets all alike."""
    names = list(measures)
    there_and_back = [*names, *reversed(names)]
    values: dict[str, list[float]] = {name: [] for name in names}
    for i in track(range(rounds * len(names)), description=title):
        name = there_and_back[i % len(there_and_back)]
        values[name].append(measures[name]())
    return values


def ratio(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Round by round."""
    return [x / y for x, y in zip(a, b, strict=True)]


class Printable(Protocol):
    """What a section gives."""

    @property
    def title(self) -> str:
        """Of the table; a key of the JSON."""

    def numbers(self) -> dict[str, dict[str, float]]:
        """By row and column, for the JSON."""

    def cells(self) -> list[list[str]]:
        """The header, then a line a row."""


@dataclass(frozen=True)
class Table:
    """Rows of values over the rounds; exponents: of some rows, how they grow from the row before."""

    title: str
    rows: Mapping[str, Sequence[float]]
    exponents: Mapping[str, float] = field(default_factory=dict)

    def numbers(self) -> dict[str, dict[str, float]]:
        """Median, minimum and maximum of each row, and its exponent."""
        return {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            | ({"exponent": self.exponents[name]} if name in self.exponents else {})
            for name, values in self.rows.items()
        }

    def cells(self) -> list[list[str]]:
        """The header, then a line a row."""
        columns = ["median", "min", "max", *(["exponent"] if self.exponents else [])]
        lines = [
            [name, *(_text(column, numbers[column]) if column in numbers else "" for column in columns)]
            for name, numbers in self.numbers().items()
        ]
        return [["", *columns], *lines]


def _text(column: str, number: float) -> str:
    if column == "exponent":
        return f"{number:.2f}"
    return short_number(number)


def markdown(title: str, cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first line of cells is its header."""
    header, *lines = cells
    rule = ["---", *["--:"] * (len(header) - 1)]
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))
