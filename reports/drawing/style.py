"""How a searcher looks in every figure: one fixed colour, marker and label, whatever else is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import matplotlib as mpl
from matplotlib.typing import FillStyleType, LineStyleType

PAGE_WIDTH = 7.16  # inches: a two-column page
COLUMN_WIDTH = 3.5  # inches: one of its columns
STOP_RED = "#cc0000"

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


# Okabe and Ito's palette, which the colour-blind can tell apart; the dict's order is the order in every figure.
_KNOWN = {
    "grid": SearcherStyle("#000000", "s", "Grid"),
    "random": SearcherStyle("#56b4e9", "v", "Random"),
    "tpe": SearcherStyle("#0072b2", "^", "TPE"),
    "ald": SearcherStyle("#d55e00", "o", "ALD"),
    "geco-l0arm": SearcherStyle("#009e73", "D", "GECO/L0-ARM"),
    "sparsity": SearcherStyle("#cc79a7", "P", "Sparsity"),
}
_OTHER_COLORS = ("#332288", "#882255", "#999933", "#117733", "#6b4c2a", "#777777")
_OTHER_MARKERS = ("X", "*", "p", "h", "8", "d")
# Dash and gap lengths in line widths; as many as the largest family of variants (GECO's figure 3) has.
_LINES: tuple[Linestyle, ...] = (
    *("-", "--", ":", "-.", (0, (10, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (4, 4))),
    *((0, (2, 1)), (0, (8, 2, 3, 2))),
)


_FILLS: tuple[FillStyleType, ...] = ("full", "none", "left", "top", "right", "bottom")


def searcher_style(name: str) -> SearcherStyle:
    """Style of a searcher by its name in the store; a user's `package.module:Class` gets one from its name alone.

    A variant (`ald@100`) has its searcher's colour and marker.
    """
    base, _, variant = name.partition("@")
    if variant:
        style = searcher_style(base)
        return replace(style, label=f"{style.label} @{variant}")
    if name in _KNOWN:
        return _KNOWN[name]
    digest = crc32(name.encode())
    color = _OTHER_COLORS[digest % len(_OTHER_COLORS)]
    marker = _OTHER_MARKERS[digest // len(_OTHER_COLORS) % len(_OTHER_MARKERS)]
    return SearcherStyle(color, marker, name.rsplit(".", 1)[-1])


def searcher_styles(names: Iterable[str]) -> dict[str, SearcherStyle]:
    """Styles of the searchers of one figure, in the fixed order; only line styles and fills depend on one another.

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
    """Of the styles of all searchers that are compared those of the drawn ones."""
    present = set(drawn)
    return {name: style for name, style in searcher_styles(searchers).items() if name in present}


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once: latentbench's searchers in their fixed order, then the user's own by name; variants by number."""
    order = list(_KNOWN)

    def place(name: str) -> tuple[int, str, int, str]:
        base, _, variant = name.partition("@")
        known = order.index(base) if base in _KNOWN else len(order)
        number = "".join(character for character in variant if character.isdigit())
        return known, base, int(number or 0), variant

    return sorted(set(names), key=place)


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
