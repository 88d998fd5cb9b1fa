"""What every figure is: data that can be tested and saved, and a function that draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure


class FigureData(Protocol):
    """What a figure shows: a frozen dataclass. `x_data` returns None where there is nothing to show."""

    def frame(self) -> pd.DataFrame:
        """Exactly what is drawn, one row a mark, units in the column names: the CSV beside the figure."""


@dataclass(frozen=True)
class FigureKind:
    """A figure by its two halves, `x_data` and `draw_x`, and the sentence that explains it to a reader."""

    caption: str
    data: Callable[..., FigureData | None]
    draw: Callable[[Any], Figure]
