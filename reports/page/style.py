"""Searchers' colours and markers on the page: those of the figures, and lighter where the page is dark."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from reports.drawing.contrast import on_dark
from reports.drawing.style import searcher_style


def css_class(searcher: str) -> str:
    """Names the class of a searcher's colour, which is its marker's id too."""
    return f"searcher-{crc32(searcher.encode()):08x}"


def markers_css(searchers: Sequence[str]) -> str:
    """Writes a rule for each searcher's colour in the light and in the dark."""
    colors = {name: searcher_style(name).color for name in searchers}
    return "".join(
        f".{css_class(name)} {{ color: light-dark({color}, {on_dark(color)}); }}\n" for name, color in colors.items()
    )


def markers_svg(searchers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns each searcher's CSS class and its marker as an SVG path in a box from -1 to 1."""
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
