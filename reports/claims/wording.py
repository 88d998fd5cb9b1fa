"""Numbers of a verdict, with no more digits than they carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from reports.analysis.effects import Effect
from reports.claims.evidence import Evidence


def number(value: float) -> str:
    """Two significant digits: 0.034, 1.2, 37, 120; a dash if it is not known."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{value:+.0f}"
    return f"{float(f'{value:.2g}'):g}" if abs(value) >= 0.001 else "0"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{number(100 * value)} %"


def chance(p: float) -> str:
    """A probability of two digits, but never 1."""
    return "above 0.99" if p > 0.99 else number(p)


def interval(found: Effect, text: Callable[[float], str], unit: str = "") -> str:
    """The mean with its interval: `1.2 % of the gap (95 %: 0.3 % to 2.1 %)`."""
    if not found.n:
        return "unknown"
    bounds = f"95 %: {text(found.low)} to {text(found.high)}"
    return f"{text(found.mean)}{unit} ({'too few different values' if math.isnan(found.low) else bounds})"


def counted(n: int, evidence: Evidence) -> str:
    """How many values a mean is of."""
    single = len(evidence.datasets) == 1
    what = "seed" if single else "data set"
    return f"{n} {what}" + ("" if n == 1 else "s")


def listed(seeds: Iterable[int]) -> str:
    """Seeds as text: `0 to 4`, or `0, 2, 5`."""
    found = sorted(seeds)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))
