"""Reconstructed against true values of some columns, in the data's own units."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports.data.groups import Group
from reports.drawing.layout import fold
from reports.drawing.style import COLUMN_WIDTH, GREY, searcher_style
from reports.figures.rows.base import RowsData, models

_ACROSS = 3
_LETTERS = 16


def values_data(group: Group) -> RowsData | None:
    """A mark a row of the test split and column of the table, by the first searcher's model.

    Columns: the searcher, search_id and model; column, r2 (of it), true and reconstructed.
    """
    for keys, kept in models(group):
        frames = [
            pd.DataFrame({"true": true, "reconstructed": own}).assign(**keys, column=str(name), r2=float(r2))
            for name, r2, true, own in zip(
                kept["columns"], kept["r2"], kept["originals"].T, kept["reconstructions"].T, strict=True
            )
        ]
        marks = pd.concat(frames, ignore_index=True)
        note = f"{keys['model']}; columns from the worst to the best explained, R² on these rows."
        return RowsData(f"Reconstructed and true values: {group.title}", marks, (note,))
    return None


def draw_values(data: RowsData) -> Figure:
    """A panel a column; on the line the two are equal."""
    panels = list(data.marks.groupby("column", sort=False))
    down = -(-len(panels) // _ACROSS)
    figure = Figure(figsize=(COLUMN_WIDTH, 0.7 + 1.2 * down), layout="constrained")
    figure.suptitle(fold(data.title, 42))
    colour = searcher_style(data.marks["searcher"].iloc[0]).color
    for ax, (name, marks) in zip(figure.subplots(down, _ACROSS, squeeze=False).flat, panels, strict=False):
        ax.scatter(marks["true"], marks["reconstructed"], color=colour, s=2, lw=0)
        ends = marks["true"].min(), marks["true"].max()
        ax.plot(ends, ends, color=GREY, lw=0.7)
        ax.set_title(f"{fold(str(name), _LETTERS)}\nR² {marks['r2'].iloc[0]:.2f}", fontsize=7)
        ax.tick_params(labelsize=6)
    for ax in list(figure.axes)[len(panels) :]:
        ax.remove()
    figure.supxlabel(fold(f"true values. {' '.join(data.notes)}", 60), fontsize=7, color=GREY)
    figure.supylabel("reconstructed", fontsize=7)
    return figure
