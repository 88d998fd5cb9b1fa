"""Colours on a dark page."""

from __future__ import annotations

from matplotlib.colors import to_hex, to_rgb

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
