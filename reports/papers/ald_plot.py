"""Draws the figures of ALD-VAE (arXiv 2312.06280)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.text import features_kind
from reports.data.quantities import CURVES
from reports.drawing.axes import fold, log_scale, worth_log
from reports.drawing.style import COLUMN_WIDTH, PAGE_WIDTH, STOP_RED, Linestyle, searcher_style, searcher_styles
from reports.figures.curves_plot import size_ticks
from reports.papers.ald import ALDCurves, DatasetCurves, Training

_LABEL_LETTERS, _TITLE_LETTERS = 19, 42  # a line, at the left of a row and above a column
_TOP_TICKS = 5  # latent sizes over a panel of a quarter page
_SHADES = ("#7f3800", "#d55e00", "#f0a25e")  # ALD's colour, darker and lighter: three trainings of one searcher


class _Look(NamedTuple):
    """A training's line."""

    color: str
    linewidth: float
    linestyle: Linestyle = "-"

    def handle(self) -> Line2D:
        """Of the legend."""
        return Line2D([], [], color=self.color, linewidth=self.linewidth, linestyle=self.linestyle)


_ALD = _Look(searcher_style("ald").color, 1.1)
_STOP = _Look(STOP_RED, 1.0, "--")


def draw_figure_2(data: ALDCurves) -> Figure:
    """A row per dataset, the latent size above; the red line is where the stop rule would have ended removal."""
    names = ["ALD without its stop rule (upper axis: latent size, dimensions)"]
    return _rows_figure(data, {"ALD": _ALD}, names, "the rule would have stopped removal")


def draw_figure_3(data: ALDCurves) -> Figure:
    """A row per dataset; ALD solid with its latent size above, the training of fixed size dashed."""
    looks = {"fixed": _Look(searcher_style("grid").color, 0.9, (0, (4, 1.2))), "ALD": _ALD}
    names = ["final size from the start", "ALD (upper axis: its latent size, dimensions)"]
    return _rows_figure(data, looks, names, "the rule stopped removal")


def draw_figure_4(data: ALDCurves) -> Figure:
    """Two by two panels a dataset, two datasets side by side; a shade and dashes for each start size."""
    n = len(data.rows)
    across, down = min(n, 2), (n + 1) // 2
    figure = Figure(figsize=(PAGE_WIDTH if across == 2 else COLUMN_WIDTH, 3.7 * down), layout="constrained")
    parts: list[SubFigure] = figure.subfigures(down, across, squeeze=False).flatten().tolist()
    for part, row in zip(parts, data.rows, strict=False):
        part.suptitle(fold(f"{row.dataset}: {', '.join(row.about)}", _TITLE_LETTERS))
        looks = _start_looks(row.trainings)
        axes: list[Axes] = part.subplots(2, 2, sharex=True).flatten().tolist()
        for k, ax in enumerate(axes):
            _draw_panel(ax, row, k, looks)
            ax.set_title(_heading(k, row.fid_features))
            if k >= 2:
                ax.set_xlabel("epoch")
        title = "latent size at the start (Dim: at the end)"
        part.legend(
            [look.handle() for look in looks.values()],
            list(looks),
            title=title,
            loc="outside lower center",
            ncols=len(looks),
        )
    return figure


def _start_looks(trainings: Sequence[Training]) -> dict[str, _Look]:
    """A line style for each training of one dataset."""
    dashes = [style.linestyle for style in searcher_styles(f"ald@{i}" for i in range(len(trainings))).values()]
    return {line.name: _Look(color, 1.0, dash) for line, color, dash in zip(trainings, _SHADES, dashes, strict=False)}


def _rows_figure(data: ALDCurves, looks: dict[str, _Look], names: list[str], stop: str) -> Figure:
    """A row per dataset and a column per metric, the size of the training "ALD" above. looks: of each training, drawn
    in this order; names: theirs and `stop` the red line's in the legend.
    """
    n = len(data.rows)
    figure = Figure(figsize=(PAGE_WIDTH, 0.75 + 1.5 * n), layout="constrained")
    axes: list[list[Axes]] = figure.subplots(n, len(CURVES), squeeze=False).tolist()
    features = sorted({features_kind(row.fid_features) for row in data.rows})
    common = features[0] if len(features) == 1 else ""
    for r, row in enumerate(data.rows):
        about = row.about if common else (*row.about, f"{features_kind(row.fid_features)} features")
        label = "\n".join(fold(line, _LABEL_LETTERS) for line in (row.dataset, *about))
        axes[r][0].set_ylabel(label, rotation=0, ha="right", va="center", multialignment="right")
        for k, ax in enumerate(axes[r]):
            _draw_panel(ax, row, k, looks)
            if row.stop is not None:
                ax.axvline(row.stop, **_STOP._asdict())
            shrinking = next(line for line in row.trainings if line.name == "ALD")
            ticks = _size_ticks(shrinking, _longest(row) / _TOP_TICKS)
            upper = ax.secondary_xaxis("top")
            upper.set_xticks(list(ticks), [str(size) for size in ticks.values()])
            upper.tick_params(labelsize=6.5, colors=_ALD.color, pad=1, length=2)
            if r == 0:
                ax.set_title(_heading(k, common), pad=6)
            if r == n - 1:
                ax.set_xlabel("epoch")
    handles = [look.handle() for look in looks.values()]
    if any(row.stop is not None for row in data.rows):
        handles, names = [*handles, _STOP.handle()], [*names, stop]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _size_ticks(line: Training, gap: float) -> dict[int, int]:
    """Epochs to mark with their latent size, at least `gap` apart, the last epoch's among them."""
    ticks = size_ticks(line.epochs, line.sizes, gap)
    last = line.epochs[-1]
    return {epoch: size for epoch, size in ticks.items() if epoch <= last - gap} | {last: line.sizes[-1]}


def _heading(k: int, fid_features: str) -> str:
    """A metric's name, its unit below and its direction; no features where the rows' differ."""
    metric = CURVES[k]
    text = metric.heading(fid_features, "\n") if fid_features or not metric.is_fid else metric.label
    return f"{text} {metric.arrow}"


def _longest(row: DatasetCurves) -> int:
    return max(line.epochs[-1] for line in row.trainings)


def _draw_panel(ax: Axes, row: DatasetCurves, k: int, looks: dict[str, _Look]) -> None:
    by_name = {line.name: line for line in row.trainings}
    for name, look in looks.items():
        line = by_name[name]
        marker = "." if len(line.epochs) == 1 else ""
        ax.plot(line.epochs, line.values[k], marker=marker, **look._asdict())
    measured = [value for line in row.trainings for value in line.values[k] if math.isfinite(value)]
    if not measured:
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, ha="center", va="center", color="#777777")
        ax.set_yticks([])
    elif CURVES[k].better == "lower" and worth_log(measured):
        log_scale(ax, "y", measured, most=5)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
