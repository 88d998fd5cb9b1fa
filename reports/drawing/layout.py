"""What several figures share: log axes, folded text, the title, and the legend below under its notes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from reports.analysis.effects import FEW_SEEDS
from reports.data.groups import Group
from reports.data.names import noted
from reports.drawing.style import GREY, SearcherStyle

SPREAD = f"range of the seeds (from {FEW_SEEDS} seeds on 95 % t-interval)"  # beside a mean
_NOTE_SIZE = 6.5
_TITLE_LETTERS, _NAME_LETTERS, _NOTE_LETTERS = 12, 14, 18.5  # an inch, each in its size
_MARGIN = 0.05  # inches


def worth_log(values: list[float], ratio: float = 10.0) -> bool:
    """True where all values are positive and the largest is at least `ratio` times the smallest."""
    return bool(values) and min(values) > 0 and max(values) >= ratio * min(values)


def log_scale(ax: Axes, which: Literal["x", "y"], values: list[float], most: int = 7) -> None:
    """Makes an axis logarithmic, with plain numbers (20, 50, 100) as labels, about `most` over the positive values."""
    decades = math.log10(max(values) / min(values))
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    dense = [subs for subs in ((1, 2, 5), (1, 3)) if decades * len(subs) < most]
    axis.set_major_locator(LogLocator(subs=dense[0] if dense else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def fold(text: str, letters: int) -> str:
    """The text's lines in lines of at most `letters`: cut between words; in a longer word after `:/._-`, before `@`,
    else anywhere.
    """
    return "\n".join(part for line in text.splitlines() for part in _folded(line, letters))


def _folded(line: str, letters: int) -> list[str]:
    lines = [""]
    for word in line.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= letters:
            lines[-1] = longer
            continue
        lines.append("")
        for part in [word] if len(word) <= letters else re.findall(r"@?[^:/._@-]*[:/._-]*", word):
            if len(lines[-1] + part) > letters:
                lines.append("")
            lines[-1] += part
            while len(lines[-1]) > letters:
                lines[-1:] = [lines[-1][:letters], lines[-1][letters:]]
    return [line for line in lines if line]


def no_values(ax: Axes, text: str = "no values") -> None:
    """Says in the middle of empty axes that there is nothing to draw."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)


def wrapped_title(figure: Figure, text: str) -> None:
    """Sets the figure's title, in as many lines as its width asks for."""
    figure.suptitle(fold(text, int(figure.get_figwidth() * _TITLE_LETTERS)))


def unfinished(group: Group) -> list[str]:
    """Notes the failed and the running searches, which no figure of results can show."""
    names, status = group.searches["searcher"], group.searches["status"]
    return [note for kind in ("failed", "running") for note in noted(f"Not drawn, {kind}", names[status == kind])]


def searcher_entries(styles: Iterable[SearcherStyle], is_line: bool) -> tuple[list[Line2D], list[str]]:
    """Makes legend handles and names of searchers: markers, on their lines where the figure has lines."""
    styles = list(styles)
    handles = [Line2D([], [], **style.mark, linestyle=style.linestyle if is_line else "none") for style in styles]
    return handles, [style.label for style in styles]


def legend_below(figure: Figure, handles: Sequence[Artist], names: Sequence[str], notes: Sequence[str]) -> None:
    """Puts the legend below the axes of a figure with constrained layout, in as many columns as fit."""
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
