"""Two latents of rows of the test split, by label: those that carry the most."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.data.groups import Group
from reports.drawing.layout import fold
from reports.drawing.style import COLUMN_WIDTH, GREY
from reports.figures.rows.base import RowsData, models

_ACROSS = 2
_LETTERS = 24
_COLOURS = "tab10"
_MOST_LABELS = 10  # that have a colour of their own


def codes_data(group: Group) -> RowsData | None:
    """A mark a row of the test split: its searcher, search_id and model; label; x and y, which latents name."""
    frames = []
    for keys, kept in models(group):
        codes = kept["codes"]
        if codes.shape[1] < 2:
            continue
        numbers = [int(number) for number in kept["latents"]]
        frame = pd.DataFrame({"label": kept["labels"], "x": codes[:, 0], "y": codes[:, 1]})
        frames.append(frame.assign(**keys, x_latent=numbers[0], y_latent=numbers[1]))
    if not frames:
        return None
    marks = pd.concat(frames, ignore_index=True)
    n_labels = marks["label"].nunique()
    notes = (f"The {n_labels} labels share {_MOST_LABELS} colours.",) if n_labels > _MOST_LABELS else ()
    return RowsData(f"Two latents by label: {group.title}", marks, notes)


def draw_codes(data: RowsData) -> Figure:
    """A panel a model; a colour a label."""
    panels = list(data.marks.groupby("model", sort=False))
    down = -(-len(panels) // _ACROSS)
    figure = Figure(figsize=(COLUMN_WIDTH, 0.5 + 1.7 * down), layout="constrained")
    figure.suptitle(fold(data.title, 42))
    axes = figure.subplots(down, _ACROSS, squeeze=False).flat
    for ax, (heading, marks) in zip(axes, panels, strict=False):
        numbers = np.unique(data.marks["label"], return_inverse=True)[1][marks.index] % _MOST_LABELS
        ax.scatter(marks["x"], marks["y"], c=numbers, cmap=_COLOURS, vmin=0, vmax=_MOST_LABELS - 1, s=2, lw=0)
        ax.set_title(fold(str(heading), _LETTERS), fontsize=7)
        ax.set_xlabel(f"latent {marks['x_latent'].iloc[0]}")
        ax.set_ylabel(f"latent {marks['y_latent'].iloc[0]}")
    for ax in list(figure.axes)[len(panels) :]:
        ax.remove()
    if data.notes:
        figure.supxlabel(fold(" ".join(data.notes), 60), fontsize=7, color=GREY)
    return figure
