"""Axis settings that several figures share."""

from __future__ import annotations

import math
import re
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


def worth_log(values: list[float], ratio: float = 10.0) -> bool:
    """True where all values are positive and the largest is at least `ratio` times the smallest."""
    return bool(values) and min(values) > 0 and max(values) >= ratio * min(values)


def log_scale(ax: Axes, which: Literal["x", "y"], values: list[float], most: int = 7) -> None:
    """Log axis with plain numbers (20, 50, 100) as labels, about `most` over the range of the positive values."""
    decades = math.log10(max(values) / min(values))
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    dense = [subs for subs in ((1, 2, 5), (1, 3)) if decades * len(subs) < most]
    axis.set_major_locator(LogLocator(subs=dense[0] if dense else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def fold(text: str, letters: int) -> str:
    """The text's lines in lines of at most `letters`: cut between words; in a longer word after `:/._-`, before `@`,
    else anywhere.
    """
    return "\n".join(part for line in text.splitlines() for part in _folded(line, letters))


def _folded(line: str, letters: int) -> list[str]:
    lines = [""]
    for word in line.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= letters:
            lines[-1] = longer
            continue
        lines.append("")
        for part in [word] if len(word) <= letters else re.findall(r"@?[^:/._@-]*[:/._-]*", word):
            if len(lines[-1] + part) > letters:
                lines.append("")
            lines[-1] += part
            while len(lines[-1]) > letters:
                lines[-1:] = [lines[-1][:letters], lines[-1][letters:]]
    return [line for line in lines if line]
