"""A three-dimensional latent space with and without sampling in training: figure 3 of 1812.07238."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from reports.drawing.images import mosaic
from reports.drawing.layout import legend_below, wrapped_title
from reports.drawing.style import PAGE_WIDTH
from reports.papers.asperti.base import GreyImages, Run, decode, find_run, pixels, rows_of
from reports.papers.asperti.plane import DIGIT_COLORS
from reports.papers.base import RequiredRuns, StoreFrames

SAMPLED = RequiredRuns("asperti-mnist-3d", ("grid",), files=True)
UNSAMPLED = RequiredRuns("asperti-mnist-3d", ("searchers.experiments.unsampled:UnsampledGrid",), files=True)

SLICES = np.linspace(-2, 2, 5)  # of each latent: the paper's 25 points a slice, two sd of the prior either way
_DIMENSIONS = ["z1", "z2", "z3"]


@dataclass(frozen=True)
class Space:
    """One training's latent space. encodings: digit, z1, z2, z3 (posterior means) of an image a row.

    slices: [5, 5, 5, H, W], what is decoded at (z3, z2, z1), each over `SLICES`.
    """

    name: str
    note: str
    encodings: pd.DataFrame
    slices: GreyImages

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation of the encodings along their principal axes, falling: equal where they fill a ball."""
        centred = self.encodings[_DIMENSIONS].to_numpy() - self.encodings[_DIMENSIONS].mean().to_numpy()
        spread: NDArray[np.float64] = np.linalg.svd(centred, compute_uv=False) / np.sqrt(max(len(centred) - 1, 1))
        return spread


@dataclass(frozen=True)
class Cube:
    """Figure 3: (A) with and (B) without sampling, as far as they have been run."""

    title: str
    spaces: tuple[Space, ...]

    def frame(self) -> pd.DataFrame:
        """One row a mark: an encoding's digit and place, or the place that an image is decoded from and its pixels."""
        parts = []
        for space in self.spaces:
            flat = space.slices.reshape(-1, *space.slices.shape[3:])
            decoded = pd.DataFrame(_places(), columns=_DIMENSIONS).assign(pixels=pixels(flat))
            marks = {"encoding": space.encodings, "decoded image": decoded}
            parts += [rows.assign(training=space.name, mark=mark) for mark, rows in marks.items()]
        frame = pd.concat(parts, ignore_index=True)[["training", "mark", "digit", *_DIMENSIONS, "pixels"]]
        return frame.astype({"digit": "Int64"})


def cube_data(runs: StoreFrames) -> Cube | None:
    """The probes' posterior means after the last epoch, and a grid decoded."""
    named = ((SAMPLED, "(A) VAE"), (UNSAMPLED, "(B) without sampling"))
    found = [(name, run) for need, name in named if (run := find_run(runs, need)) is not None]
    spaces = tuple(_space(runs, run, name) for name, run in found)
    return Cube("Figure 3 of 1812.07238: encodings and decoded slices of the latent space", spaces) if spaces else None


def _space(runs: StoreFrames, run: Run, name: str) -> Space:
    probes = rows_of(runs.probes, run)
    probes = probes[probes["epoch"] == probes["epoch"].max()]
    encodings = pd.DataFrame(np.stack(probes["probe_mean"].to_list()), columns=_DIMENSIONS)
    encodings.insert(0, "digit", probes["probe_label"].astype(int).to_numpy())
    images = decode(runs, run, _places())  # [125, H, W]
    return Space(name, run.note, encodings, images.reshape(5, 5, 5, *images.shape[1:]))


def _places() -> NDArray[np.float64]:
    """z1, z2, z3 of the slices' images, [125, 3]; z1 changes fastest."""
    z3, z2, z1 = np.meshgrid(SLICES, SLICES, SLICES, indexing="ij")
    return np.stack([z1, z2, z3], -1).reshape(-1, 3)


def draw_cube(data: Cube) -> Figure:
    """A row a training: its encodings, then a picture for each of five values of z3, z1 to the right and z2 upwards."""
    figure = Figure(figsize=(PAGE_WIDTH, 0.9 + 2.2 * len(data.spaces)), layout="constrained")
    wrapped_title(figure, data.title)
    grid = GridSpec(len(data.spaces), 1 + len(SLICES), figure, width_ratios=[2.4, *(1 for _ in SLICES)])
    for row, space in enumerate(data.spaces):
        _draw_encodings(figure.add_subplot(grid[row, 0], projection="3d"), space)
        for column, (z3, images) in enumerate(zip(SLICES, space.slices, strict=True), start=1):
            ax = figure.add_subplot(grid[row, column])
            seen = images[::-1].reshape(-1, *images.shape[2:])  # [z2, z1, H, W] -> [25, H, W], z2 upwards
            ax.imshow(mosaic(seen, len(SLICES)), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(f"z3 = {z3:g}", fontsize=7)
            ax.axis("off")
    handles = [Line2D([], [], linestyle="none", marker="o", markersize=4, color=color) for color in DIGIT_COLORS]
    notes = [_sentence(space) for space in data.spaces]
    notes.append(
        "Pictures: decoded at z1 (right) and z2 (up) of -2 to 2, two standard deviations of the prior either way. "
        "Dots: encodings, by digit:"
    )
    legend_below(figure, handles, [str(digit) for digit in range(10)], notes)
    return figure


def _sentence(space: Space) -> str:
    spread = ", ".join(f"{sd:.2f}" for sd in space.spread)
    return (
        f"{space.name}: {len(space.encodings):,} validation images; standard deviation along the principal axes "
        f"{spread}; {space.note}."
    )


def _draw_encodings(ax: Any, space: Space) -> None:
    reach = float(np.abs(space.encodings[_DIMENSIONS].to_numpy()).max())
    for digit, color in enumerate(DIGIT_COLORS):
        encodings = space.encodings[space.encodings["digit"] == digit]
        ax.scatter(
            encodings["z1"],
            encodings["z2"],
            encodings["z3"],
            s=1.5,
            color=color,
            alpha=0.6,
            linewidths=0,
            rasterized=True,
        )
    ax.set_title(space.name)
    for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), _DIMENSIONS, strict=True):
        axis.set_label_text(name, fontsize=7)
        axis.labelpad = -9
        axis.set_tick_params(labelsize=6, pad=-4)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach), box_aspect=(1, 1, 1))
