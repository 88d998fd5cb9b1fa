"""Small line charts of braille characters, each 2 x 4 dots."""

import math
from collections.abc import Sequence
from itertools import pairwise

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a character's dots, by row and column
_BLANK = 0x2800


def braille_chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """`height` lines of `width` characters: the values from left to right, the lowest on the bottom dots.

    A column of dots is one value while there is room, else the mean of several neighbours; one that is not finite
    leaves a gap. Equal values lie in the middle.
    """
    means = _columns(values, 2 * width)
    finite = [mean for mean in means if math.isfinite(mean)]
    high = max(finite, default=0.0)
    span = high - min(finite, default=0.0)
    cells = [[0] * width for _ in range(height)]
    bottom = 4 * height - 1
    before: int | None = None
    for x, mean in enumerate(means):
        if not math.isfinite(mean):
            before = None
            continue
        y = round((high - mean) / span * bottom) if 0 < span < math.inf else bottom // 2  # counted from the top
        start = y if before is None else before + (y > before) - (y < before)
        for dot in range(min(start, y), max(start, y) + 1):  # connected with the column before
            cells[dot // 4][x // 2] |= _BITS[dot % 4][x % 2]
        before = y
    return ["".join(chr(_BLANK + bits) if bits else " " for bits in line) for line in cells]


def _columns(values: Sequence[float], most: int) -> list[float]:
    """At most so many means of neighbours, NaN where none of them is finite."""
    columns = min(len(values), most)
    edges = [column * len(values) // columns for column in range(columns + 1)] if columns else []
    means = []
    for start, end in pairwise(edges):
        finite = [value for value in values[start:end] if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return means
