"""How a searcher looks in every figure: one fixed colour, marker and label, whatever else is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import matplotlib as mpl
from matplotlib.typing import FillStyleType, LineStyleType

from reports.data.names import in_order, label, parts
from searchers import SEARCHERS
from searchers.registry import Entry

PAGE_WIDTH = 7.16  # inches: a two-column page
COLUMN_WIDTH = 3.5  # inches: one of its columns
STOP_RED = "#cc0000"
GREY = "#666666"  # what is no searcher's
DARK_GREY = "#555555"

Linestyle = LineStyleType  # a name, or an offset with dash and gap lengths


@dataclass(frozen=True)
class SearcherStyle:
    """Colour (hex), matplotlib marker, printed label, matplotlib's line style and filling of one searcher."""

    color: str
    marker: str
    label: str
    linestyle: Linestyle = "-"
    fill: FillStyleType = "full"

    @property
    def mark(self) -> dict[str, Any]:
        """Matplotlib's keywords of the marker: what is not filled is white inside a thin edge."""
        edge = "white" if self.fill == "full" else self.color
        return {
            **{"color": self.color, "marker": self.marker, "fillstyle": self.fill},
            **{"markerfacecoloralt": "white", "markeredgecolor": edge, "markeredgewidth": 0.5},
        }


# Of searchers whose registry entry names none.
_OTHER_COLORS = ("#332288", "#882255", "#999933", "#117733", "#6b4c2a", "#777777")
_OTHER_MARKERS = ("X", "*", "p", "h", "8", "d")
# Dash and gap lengths in line widths; as many as the largest family of variants (GECO's figure 3) has.
_LINES: tuple[Linestyle, ...] = (
    *("-", "--", ":", "-.", (0, (10, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (4, 4))),
    *((0, (2, 1)), (0, (8, 2, 3, 2))),
)
_FILLS: tuple[FillStyleType, ...] = ("full", "none", "left", "top", "right", "bottom")


def searcher_style(name: str) -> SearcherStyle:
    """Returns a searcher's look: its registry entry's, or one that follows from the name alone.

    A variant (`ald@100`) and another execution have their searcher's colour and marker.
    """
    base = parts(name).base
    entry = SEARCHERS.get(base) or Entry(base, "")
    digest = crc32(base.encode())
    color = entry.colour or _OTHER_COLORS[digest % len(_OTHER_COLORS)]
    marker = entry.marker or _OTHER_MARKERS[digest // len(_OTHER_COLORS) % len(_OTHER_MARKERS)]
    return SearcherStyle(color, marker, label(name))


def searcher_styles(names: Iterable[str]) -> dict[str, SearcherStyle]:
    """Returns the searchers' styles in the fixed order; only line styles and fills depend on one another.

    Variants of one searcher (`ald@80`, `ald@100`) share its colour and marker, as a user's own searchers may: dashes
    tell their lines apart, and fillings their markers (up to six). The first in the fixed order is solid, and so on,
    whatever the order of `names`. Give every searcher that is compared, drawn or not, so that it looks the same in all
    of a comparison's figures.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for name in in_order(names):
        style = searcher_style(name)
        alike.setdefault((style.color, style.marker), []).append(name)
    place = {name: i for same in alike.values() for i, name in enumerate(same)}
    return {
        name: replace(searcher_style(name), linestyle=_LINES[i % len(_LINES)], fill=_FILLS[i % len(_FILLS)])
        for name, i in ((name, place[name]) for name in in_order(place))
    }


def drawn_styles(searchers: Iterable[str], drawn: Iterable[str]) -> dict[str, SearcherStyle]:
    """Returns the styles of the drawn searchers, as they are among all that are compared."""
    present = set(drawn)
    return {name: style for name, style in searcher_styles(searchers).items() if name in present}


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib settings for print, whatever the user's: small text, thin axes, fonts embedded as TrueType."""
    settings: dict[Any, object] = {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "figure.titlesize": 9,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.4,
        "legend.frameon": False,
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
        "text.parse_math": False,  # names from the store may hold dollar signs
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield
