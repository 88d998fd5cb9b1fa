"""Draws the figures of GECO with L0-ARM (arXiv 2003.10901)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing.axes import fold, log_scale, worth_log
from reports.drawing.legend import wrapped_title
from reports.drawing.style import COLUMN_WIDTH, STOP_RED, searcher_style
from reports.figures.images import Images
from reports.papers.geco import BATCH, PAPER_ENDS, Front, GecoTraining, Reconstructions

_ACROSS = 8  # images of figure 2 side by side
_NAME_WIDTH = 0.6  # inches, at their left
_STYLE = searcher_style("geco-l0arm")


def draw_figure_1(data: GecoTraining) -> Figure:
    """Four panels over the batches: MSE with tau, open gates, the multiplier, and how many images are within tau."""
    figure = Figure(figsize=(COLUMN_WIDTH, 5.0), layout="constrained")
    wrapped_title(figure, f"GECO/L0-ARM in training: {data.about}")
    axes: list[Axes] = figure.subplots(4, 1, sharex=True).tolist()
    columns = ("mse", "gate_mass", "lambda", "hit_rate")
    labels = ("MSE\n(sum over pixels,\nper image)", "open gates\n‖σ(kγ)‖₁", "multiplier λ")
    marker = "." if len(data.curves) == 1 else ""
    for ax, column, label in zip(axes, columns, (*labels, "images\nwithin τ (%)"), strict=True):
        values = data.curves[column] * (100 if column == "hit_rate" else 1)
        ax.plot(data.curves["batches"] / 1000, values, color=_STYLE.color, linewidth=1.1, marker=marker)
        ax.set_ylabel(label)
        measured = values.dropna().tolist()
        if column in ("mse", "lambda") and worth_log(measured):
            log_scale(ax, "y", measured, most=5)
    axes[0].axhline(data.tau, color=STOP_RED, linewidth=1.0, linestyle="--", label=f"τ = {data.tau:g}")
    axes[0].legend(loc="upper right")
    axes[1].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[3].set_ylim(-3, 103)
    axes[3].set_xlabel(f"thousand batches of {BATCH} images")
    figure.align_ylabels(axes)
    return figure


def draw_figure_2(data: Reconstructions) -> Figure:
    """Test images above, a row per tau below, named at the left with the size that it kept."""
    rows = [("test\nimages", data.originals), *data.rows]
    strips = [_strip(images[:_ACROSS]) for _, images in rows]
    height = (COLUMN_WIDTH - _NAME_WIDTH) * strips[0].shape[0] / strips[0].shape[1]
    figure = Figure(figsize=(COLUMN_WIDTH, 0.5 + (height + 0.1) * len(rows)), layout="constrained")
    wrapped_title(figure, f"Reconstructions: {data.about}")
    for ax, (name, _), strip in zip(figure.subplots(len(rows), 1), rows, strips, strict=True):
        ax.imshow(strip, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
    return figure


def _strip(images: Images) -> Images:
    """[N, H, W, 3] -> [H, N * (W + gap), 3], white between them."""
    gap = max(1, images.shape[2] // 24)
    padded = np.pad(images, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def draw_figure_3(data: Front) -> Figure:
    """Retained dimensions against tau, the paper's two printed points, and above them one image's reconstructions."""
    height = 2.6 if data.original is None else 3.6
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, f"Retained dimensions: {data.about}")
    if data.original is None:
        ax = figure.subplots()
    else:
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 2.6])[:, 0].tolist()
        upper.suptitle(f"reconstructions of {data.what}", fontsize=7)
        images = {"original": data.original, **{f"τ = {tau:g}": image for tau, image in data.images.items()}}
        for place, (name, image) in zip(upper.subplots(1, len(images)), images.items(), strict=True):
            place.imshow(image, interpolation="nearest")
            place.set_title(name, fontsize=7, pad=2)
            place.axis("off")
        ax = lower.subplots()
    ax.plot(data.points["tau"], data.points["dimensions"], color=_STYLE.color, marker=_STYLE.marker, label="ours")
    taus, sizes = zip(*PAPER_ENDS, strict=True)
    ax.plot(
        taus, sizes, color="black", marker="o", markerfacecolor="none", markersize=8, linestyle="none", label="paper"
    )
    ax.set_xlabel("bound τ on the squared error per image")
    ax.set_ylabel("retained size (dimensions)")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    missing = f"no finished run at τ = {', '.join(map(str, data.unfinished))}" if data.unfinished else ""
    ax.legend(title=fold(missing, 32), title_fontsize=6.5, alignment="left")
    return figure
