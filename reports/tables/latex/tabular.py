r"""A LaTeX table of columns: booktabs' rules, wrapped headings, never wider than its place (graphicx shrinks it)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.tables.latex.text import escape, prose

_BETWEEN = r"\addlinespace[2pt]"


@dataclass(frozen=True)
class Column:
    """A heading as plain text, an alignment of LaTeX's (`l`, `r`, `p{...}`), and the cells as LaTeX.

    heading_letters: in a line of the heading, as far as its words can be broken.
    """

    heading: str
    align: str
    cells: list[str]
    heading_letters: int = 14


def heading_lines(heading: str, letters: int) -> list[str]:
    """A heading in lines of so many letters, or of its longest word's; broken at spaces and after `_`. At least one."""
    spaced = heading.replace("_", "_ ")
    room = max([letters, *map(len, spaced.split())])
    lines = textwrap.wrap(spaced, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace("_ ", "_") for line in lines] or [""]


def tabular(columns: Sequence[Column], lines: int = 1) -> list[str]:
    r"""Lines of LaTeX: a tabular no wider than \linewidth. lines: of the cells, so many belong to one row."""
    headings = [heading_lines(column.heading, column.heading_letters) for column in columns]
    height = max(map(len, headings))
    padded = [[*[""] * (height - len(heading)), *map(escape, heading)] for heading in headings]
    body = [_row(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
    if lines > 1:
        body = [line for n, row in enumerate(body) for line in ([_BETWEEN] * (n > 0 and n % lines == 0) + [row])]
    return [
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{''.join(column.align for column in columns)}@{{}}}}",
        *[r"\toprule", *map(_row, zip(*padded, strict=True)), r"\midrule", *body, r"\bottomrule"],
        r"\end{tabular}}",
    ]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \tabularnewline"


def floating(kind: Literal["table", "table*"], caption: str, label: str, body: Sequence[str]) -> str:
    """The table of these lines with its caption, plain text, above them."""
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{graphicx}",
        rf"\begin{{{kind}}}[tbp]",
        r"\centering\sloppy\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{prose(caption)}}}",
        rf"\label{{{re.sub(r'[^A-Za-z0-9:._-]+', '-', label)}}}",
        r"\footnotesize\setlength{\tabcolsep}{4pt}",
        *body,
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"
