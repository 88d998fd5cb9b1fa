"""Axis settings that several figures share."""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


def worth_log(values: list[float], ratio: float = 10.0) -> bool:
    """True where all values are positive and the largest is at least `ratio` times the smallest."""
    return bool(values) and min(values) > 0 and max(values) >= ratio * min(values)


def log_scale(ax: Axes, which: Literal["x", "y"], values: list[float]) -> None:
    """Log axis with plain numbers (20, 50, 100) as labels, as many as the range of the positive values leaves room."""
    decades = math.log10(max(values) / min(values))
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
