"""A figure's title and its legend below, under sentences on how to read it and on what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from reports.data.groups import Group
from reports.data.names import counted
from reports.drawing.axes import fold
from reports.drawing.style import SearcherStyle

_NOTE_SIZE = 6.5
_TITLE_LETTERS, _NAME_LETTERS, _NOTE_LETTERS = 12, 14, 18.5  # an inch, each in its size
_MARGIN = 0.05  # inches


def wrapped_title(figure: Figure, text: str) -> None:
    """The figure's title, in as many lines as its width asks for."""
    figure.suptitle(fold(text, int(figure.get_figwidth() * _TITLE_LETTERS)))


def unfinished(group: Group) -> list[str]:
    """A sentence for the failed and one for the running searches, which no figure of results can show."""
    status = group.searches["status"]
    found = {name: group.searches.loc[status == name, "searcher"] for name in ("failed", "running")}
    return [f"Not drawn, {name}: {counted(rows)}." for name, rows in found.items() if len(rows)]


def searcher_entries(styles: Iterable[SearcherStyle], is_line: bool) -> tuple[list[Line2D], list[str]]:
    """Legend handles and names of searchers: their markers, on their lines where the figure has lines."""
    styles = list(styles)
    handles = [Line2D([], [], **style.mark, linestyle=style.linestyle if is_line else "none") for style in styles]
    return handles, [style.label for style in styles]


def legend_below(figure: Figure, handles: Sequence[Artist], names: Sequence[str], notes: Sequence[str]) -> None:
    """The legend below the axes of a figure with constrained layout, in as many columns as its width takes."""
    width = figure.get_figwidth()
    title = "\n".join(fold(note, int(width * _NOTE_LETTERS)) for note in notes)
    folded = [fold(name, int(width * _NAME_LETTERS)) for name in names]
    # Dashes need room on both sides of a marker.
    marked = (one for one in handles if isinstance(one, Line2D) and one.get_marker() != "None")
    length = 4 if any(one.is_dashed() for one in marked) else 2
    for columns in range(max(1, min(len(names), 4)), 0, -1):
        legend = figure.legend(
            handles,
            folded,
            loc="outside lower center",
            ncols=columns,
            columnspacing=1.2,
            handlelength=length,
            title=title,
            title_fontproperties=FontProperties(size=_NOTE_SIZE),
            alignment="left",
        )
        if columns == 1 or legend.get_window_extent().width <= (width - 2 * _MARGIN) * figure.dpi:
            return
        legend.remove()
