"""Searchers' colours and markers on the page: those of the figures, and lighter where the page is dark."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from reports.drawing.style import searcher_style

# Matplotlib's markers as plotly.js names them.
SYMBOLS = {
    **{"s": "square", "v": "triangle-down", "^": "triangle-up", "o": "circle", "D": "diamond", "P": "cross"},
    **{"<": "triangle-left", ">": "triangle-right", "H": "hexagon2"},
    **{"X": "x", "*": "star", "p": "pentagon", "h": "hexagon", "8": "octagon", "d": "diamond-tall"},
}
_DARK_PAGE = "#14171a"
_CONTRAST = 3.0  # of graphics against their background (WCAG 2.2, 1.4.11)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def on_dark(color: str) -> str:
    """The colour for a dark page: black becomes white, others are lightened as far as their contrast asks for."""
    red, green, blue = to_rgb(color)
    if red == green == blue:
        return to_hex((1 - red, 1 - green, 1 - blue)) if contrast(color, _DARK_PAGE) < _CONTRAST else color
    for step in range(21):
        share = step / 20
        lighter = to_hex((red + (1 - red) * share, green + (1 - green) * share, blue + (1 - blue) * share))
        if contrast(lighter, _DARK_PAGE) >= _CONTRAST:
            break
    return lighter


def css_class(searcher: str) -> str:
    """Of a searcher's colour, and the id of its marker."""
    return f"searcher-{crc32(searcher.encode()):08x}"


def markers_css(searchers: Sequence[str]) -> str:
    """A rule for each searcher's colour in the light and in the dark."""
    colors = {name: searcher_style(name).color for name in searchers}
    return "".join(
        f".{css_class(name)} {{ color: light-dark({color}, {on_dark(color)}); }}\n" for name, color in colors.items()
    )


def markers_svg(searchers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of each searcher its CSS class and its marker as the data of an SVG path in a box from -1 to 1."""
    return {name: (css_class(name), _svg_path(searcher_style(name).marker)) for name in searchers}


def _svg_path(marker: str) -> str:
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    scale = np.abs(path.vertices).max()
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
    parts = []
    for vertices, code in path.iter_segments(simplify=False):
        numbers = [f"{value / scale:.3f}" for value in vertices * ([1, -1] * (len(vertices) // 2))]
        parts.append(letters[code] + ("" if code == Path.CLOSEPOLY else " ".join(numbers)))
    return "".join(parts)
