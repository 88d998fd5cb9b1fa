"""The figures of the results that are of the whole study; those of single data sets are the report's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from docs.results.moves import IMAGES, START, THRESHOLD
from docs.results.study import Study, block_label, only
from docs.results.study import sizes as size_range
from reports.analysis.analysis import analyse
from reports.analysis.effects import MARGIN
from reports.analysis.paired_blocks import complete_blocks
from reports.data.names import GRID, label
from reports.drawing.layout import log_scale, searcher_entries
from reports.drawing.style import GREY, PAGE_WIDTH, searcher_style, searcher_styles
from reports.figures.ranks import draw_ranks, ranks_data
from reports.papers.runs import printed_name

LOWEST, HIGHEST = -0.15, 1.0  # losses beyond are drawn at the edge
SIZES = [2.0, 64.0]  # the least and the most that panels of sizes show
MARKERS = "osD^vPX*<>ph"


def losses(study: Study) -> Figure:
    """Each method's loss against the grid: a mark a data set, a bar the mean over them with its interval."""
    methods = [name for name in study.by_loss if name != GRID]
    datasets = study.datasets
    figure = Figure(figsize=(PAGE_WIDTH, 1.0 + 0.24 * len(methods)), layout="constrained")
    ax = figure.subplots()
    for y, name in enumerate(reversed(methods)):
        style, means = searcher_style(name), study.over_datasets(name, "loss")
        for dataset, value in means.items():
            x = float(np.clip(value, LOWEST, HIGHEST))
            marker = MARKERS[datasets.index(str(dataset)) % len(MARKERS)]
            ax.plot(x, y, marker, color=style.color, markersize=4.5, markeredgecolor="white", markeredgewidth=0.4)
        if (found := study.across.get(name)) and math.isfinite(found.effect.low):
            low, high = np.clip([found.effect.low, found.effect.high], LOWEST, HIGHEST)
            ax.plot([low, high], [y - 0.3, y - 0.3], color=style.color, linewidth=1)
        ax.plot(
            np.clip(means.mean(), LOWEST, HIGHEST), y - 0.3, "|", color=style.color, markersize=7, markeredgewidth=1.6
        )
        text = f"{study.cost(name):4.1f}   {study.size_ratio(name):5.2f}  {len(means):4d}"
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=7, family="DejaVu Sans Mono")
    heads = "cost   size   data\n       ratio  sets"
    ax.text(1.02, len(methods) - 0.5, heads, transform=ax.get_yaxis_transform(), fontsize=7, family="DejaVu Sans Mono")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.axvline(MARGIN, color=GREY, linewidth=0.8, linestyle="--")
    ax.set_xscale("symlog", linthresh=0.1, linscale=1.6)
    ax.set_xlim(LOWEST, HIGHEST)
    ax.set_xticks([-0.1, -0.05, 0, 0.05, 0.1, 0.3, 1])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %".replace("-", "−")))
    ax.set_yticks(range(len(methods)), [label(name) for name in reversed(methods)])
    ax.set_ylim(-0.7, len(methods) - 0.2)
    ax.set_xlabel(
        "loss of the test ELBO against the grid, in parts of what latents are worth (log beyond 10 %; dashed: 5 %)\n"
        "a mark a data set (mean of its seeds and blocks); bar: mean over data sets and its 95 % t-interval",
        fontsize=7,
    )
    handles = [Line2D([], [], marker=mark, linestyle="", color=GREY, markersize=4.5) for mark in MARKERS]
    figure.legend(
        handles[: len(datasets)],
        [*map(printed_name, datasets)],
        loc="outside lower center",
        ncols=min(len(datasets), 8),
    )
    return figure


def sizes(study: Study) -> Figure:
    """The sizes chosen, a panel a block: a dot a seed, a cross where it had not settled, a ring the latents in use.

    Shaded: as good as the grid's choice. Dashed: the smallest and the largest right size, where known.
    """
    blocks, methods = study.blocks, study.methods
    columns = 4
    lines = -(-len(blocks) // columns)
    height = 0.45 + 0.115 * len(methods)
    figure = Figure(figsize=(PAGE_WIDTH, lines * height + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for ax, block in zip(axes.flat, blocks, strict=False):
        for y, name in enumerate(reversed(methods)):
            rows, style = study.of(name, block), searcher_style(name)
            lift = y + 0.3 * np.linspace(-1, 1, len(rows)) if len(rows) > 1 else np.full(len(rows), y)
            ax.plot(
                rows["in_use"].clip(lower=1),
                lift,
                "o",
                color=style.color,
                fillstyle="none",
                markersize=3.2,
                markeredgewidth=0.5,
            )
            moving = (rows["unsettled"] == 1).to_numpy()
            ax.plot(rows["size"][~moving], lift[~moving], "o", color=style.color, markersize=2.4, markeredgewidth=0)
            ax.plot(rows["size"][moving], lift[moving], "x", color=style.color, markersize=3.2, markeredgewidth=0.8)
        if good := study.as_good(block):
            ax.axvspan(min(good) / 1.06, max(good) * 1.06, color="#f5e9a8", zorder=0)
        for end in study.right(block):
            ax.axvline(end, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
        log_scale(ax, "x", SIZES)
        ax.set_xlim(SIZES[0] / 1.15, SIZES[1] * 1.15)
        ax.set_title(block_label(block))
    for ax in axes.flat[len(blocks) :]:
        ax.set_visible(False)
    axes.flat[0].set_yticks(range(len(methods)), [label(name) for name in reversed(methods)])
    axes.flat[0].set_ylim(-0.7, len(methods) - 0.3)
    for ax in axes[:, 0]:
        ax.tick_params("y", labelsize=5.5)
    figure.supxlabel(
        "latent size (dots; crosses: not settled), latents in use (rings); shaded: as good for the grid; dashed: right",
        fontsize=8,
    )
    return figure


def ranks(study: Study, methods: Sequence[str]) -> Figure:
    """The critical-difference diagrams of some methods over every block and seed that has them all."""
    data = ranks_data(replace(analyse([]), blocks=complete_blocks([only(group, methods) for group in study.groups])))
    assert data is not None
    return draw_ranks(data)


def thresholds(moved: pd.DataFrame) -> Figure:
    """Chosen size against each method's main threshold."""
    rows, columns = moved[moved["what"] == THRESHOLD], 4
    names = list(searcher_styles(rows["searcher"]))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(PAGE_WIDTH, 1.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        own, style = rows[rows["searcher"] == name], searcher_style(name)
        (setting,) = set(own["setting"])
        own = own.assign(x=1 - own["value"] if setting == "share" else own["value"])
        medians = own.groupby("x")[["size", "in_use"]].median()
        ax.plot(medians.index, medians["size"], color=style.color, linewidth=1.2)
        ax.plot(medians.index, medians["in_use"], color=style.color, linewidth=0.8, linestyle=":")
        ax.plot(own["x"], own["size"], "o", color=style.color, markersize=2.5)
        by_itself = own.loc[own["own"], "x"].iloc[:1]
        ax.plot(by_itself, medians["size"].reindex(by_itself), "o", color=style.color, fillstyle="none", markersize=7)
        log_scale(ax, "x", list(own["x"]), most=5)
        ax.set_title(f"{label(name)} ({_seeds(own)})")
        ax.set_xlabel(f"1 − {setting}" if setting == "share" else setting, fontsize=6.5)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    log_scale(axes.flat[0], "y", [1.0, 32.0])
    axes.flat[0].set_ylim(0.9, 36)
    figure.supylabel(
        "latent size, median of the seeds (dotted: latents in use; ring: the method's own value)", fontsize=8
    )
    return figure


def starts(moved: pd.DataFrame) -> Figure:
    """Chosen size against the start size (digits), and against the number of images (manifold 5)."""
    figure = Figure(figsize=(PAGE_WIDTH, 3.0), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, what, text in zip(
        axes,
        (START, IMAGES),
        ("size that the search starts from (digits", "images (manifold of 5, 150 epochs"),
        strict=True,
    ):
        rows = moved[moved["what"] == what]
        rows = rows[rows.groupby("searcher")["value"].transform("nunique") > 1]
        styles = searcher_styles(rows["searcher"])
        for place, (name, style) in enumerate(styles.items()):
            medians = rows[rows["searcher"] == name].groupby("value")["size"].median()
            shift = 1 + 0.012 * (place - len(styles) / 2)
            ax.plot(medians.index * shift, medians, **style.mark, linestyle=style.linestyle, markersize=4, linewidth=1)
        if len(rows):
            log_scale(ax, "x", list(rows["value"]))
            ax.legend(*searcher_entries(styles.values(), True), fontsize=5.5, ncols=2)
        ax.set_xlabel(f"{text}, {_seeds(rows)})")
    log_scale(axes[0], "y", SIZES)
    axes[0].set_ylabel("latent size, median of the seeds")
    return figure


def _seeds(rows: pd.DataFrame) -> str:
    """How many seeds the curves of some methods have: `3 seeds`, `1 to 3 seeds`."""
    counts = rows.groupby("searcher")["seed"].nunique().tolist()
    return f"{size_range(counts)} {'seed' if max(counts) == 1 else 'seeds'}"
