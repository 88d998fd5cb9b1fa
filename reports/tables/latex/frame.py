"""A frame as a LaTeX table."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from reports.data.numbers import is_whole, number_text
from reports.tables.latex.tabular import Column, floating, heading_lines, tabular
from reports.tables.latex.text import escape, number, prose

_NARROW_LETTERS = 52  # of footnotesize that fit one of a page's two columns
_NARROWEST_HEADING, _WIDEST_HEADING = 8, 14  # letters
_LONG_TEXT = 40  # letters from which a column of text is broken into lines


def frame_latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A frame as a `table`, or a `table*` where it is wider than a column; caption, column names and cells are text.

    Numbers have four significant digits, and all of theirs in a column of whole numbers; a missing cell is `--`.
    """
    columns, letters = [], 0
    for name, values in frame.items():
        texts = _texts(values)
        widest = max([_NARROWEST_HEADING, *map(len, texts)])
        align, cells = "l", [escape(text) for text in texts]
        if _is_numeric(values):
            align, cells = "r", [number(text) for text in texts]
        elif widest > _LONG_TEXT:
            align, cells = r"p{0.4\linewidth}", [rf"\raggedright {prose(text)}" for text in texts]
        columns.append(Column(str(name), align, cells, min(widest, _WIDEST_HEADING)))
        letters += 2 + max(map(len, [*texts, *heading_lines(str(name), columns[-1].heading_letters)]))
    return floating("table" if letters <= _NARROW_LETTERS else "table*", caption, label, tabular(columns))


def _texts(values: pd.Series[Any]) -> list[str]:
    """A frame's column as it is printed, a missing value as a dash."""
    present = values[values.notna()]
    whole = _is_numeric(values) and all(map(is_whole, present))
    return ["–" if missing else _text(value, whole) for value, missing in zip(values, values.isna(), strict=True)]


def _text(value: Any, whole: bool) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, Real):
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return number_text(value, whole)


def _is_numeric(values: pd.Series[Any]) -> bool:
    """True where every value that is there is a number; where none is, by the column's type."""
    present = list(values[values.notna()])
    if not present:
        return pd.api.types.is_numeric_dtype(values)
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in present)
