"""Draws small line charts with braille characters of 2 x 4 dots each."""

import math
from collections.abc import Sequence
from itertools import pairwise

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of the dots of a character, [row][column]
_BLANK = 0x2800


def braille_chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """Draws the values from left to right in `height` lines of `width` characters; the lowest is at the bottom.

    A column of dots shows one value, or the mean of several neighbours if there are too many. A value that is not
    finite leaves a gap. Equal values lie in the middle.
    """
    means = _column_means(values, 2 * width)
    finite = [mean for mean in means if math.isfinite(mean)]
    high = max(finite, default=0.0)
    span = high - min(finite, default=0.0)
    cells = [[0] * width for _ in range(height)]
    bottom = 4 * height - 1
    previous: int | None = None
    for x, mean in enumerate(means):
        if not math.isfinite(mean):
            previous = None
            continue
        y = round((high - mean) / span * bottom) if 0 < span < math.inf else bottom // 2  # dots from the top
        start = y if previous is None else previous + (y > previous) - (y < previous)
        for dot in range(min(start, y), max(start, y) + 1):  # connects the point with the previous column
            cells[dot // 4][x // 2] |= _BITS[dot % 4][x % 2]
        previous = y
    return ["".join(chr(_BLANK + bits) if bits else " " for bits in line) for line in cells]


def _column_means(values: Sequence[float], max_columns: int) -> list[float]:
    """The means of neighbouring values, one per column; NaN if none of a column's values is finite."""
    columns = min(len(values), max_columns)
    edges = [column * len(values) // columns for column in range(columns + 1)] if columns else []
    means = []
    for start, end in pairwise(edges):
        finite = [value for value in values[start:end] if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return means
