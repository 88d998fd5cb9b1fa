"""Where a two-dimensional latent space puts digits: figures 1 and 2 of 1812.07238."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from reports.drawing.layout import legend_below, wrapped_title
from reports.drawing.style import COLUMN_WIDTH
from reports.papers.asperti.base import Run, find_run, rows_of
from reports.papers.base import RequiredRuns, StoreFrames

MNIST_2D = RequiredRuns("asperti-mnist-2d", ("grid",), files=True)

# One a digit; Tol's muted palette. The digit is written beside it wherever it is used.
DIGIT_COLORS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)

_EPOCH_IMAGES = 54_000  # MNIST's training images without the validation tenth
_PER_CLASS = 6


@dataclass(frozen=True)
class Plane:
    """Digits in the plane. `points`: images_seen, image (its number among the probes), digit, z1, z2, and variance: the
    mean of the posterior's two.

    radius: of the circle of variance 1, in the latents' unit. circle: what one is, for the legend.
    """

    title: str
    note: str
    points: pd.DataFrame
    radius: float
    circle: str

    def frame(self) -> pd.DataFrame:
        """One row a circle: its centre, and the variance that its area is proportional to."""
        return self.points


def trajectories_data(runs: StoreFrames) -> Plane | None:
    """Figure 1: the first probe image of each digit, in every row of the first epoch."""
    run = find_run(runs, MNIST_2D)
    if run is None:
        return None
    points = _points(runs, run, per_class=1)
    points = points[points["images_seen"] <= _EPOCH_IMAGES]
    means = points.groupby("images_seen")["variance"].mean()
    note = (
        f"{len(means)} moments, faint to full, from {means.index[0]:,} to {means.index[-1]:,} training images seen; "
        f"the mean variance goes from {means.iloc[0]:.3g} to {means.iloc[-1]:.2g}. {_digits(points)}; {run.note}."
    )
    circle = "area proportional to the posterior variance; radius 0.3 at variance 1"
    return Plane("Figure 1 of 1812.07238: digits in the first epoch of training", note, points, 0.3, circle)


def positions_data(runs: StoreFrames) -> Plane | None:
    """Figure 2: six probe images of each digit after the last epoch."""
    run = find_run(runs, MNIST_2D)
    if run is None:
        return None
    points = _points(runs, run, per_class=_PER_CLASS)
    points = points[points["images_seen"] == points["images_seen"].max()]
    passes = points["images_seen"].iloc[0] / _EPOCH_IMAGES
    note = (
        f"After {passes:.3g} epochs; the median variance is {points['variance'].median():.2g}. {_digits(points)}; "
        f"{run.note}."
    )
    circle = "radius: the posterior's standard deviation"
    return Plane("Figure 2 of 1812.07238: position and variance of digits", note, points, 1.0, circle)


def _points(runs: StoreFrames, run: Run, per_class: int) -> pd.DataFrame:
    """The first images of each digit among the probes, in every row."""
    rows = rows_of(runs.probes, run)
    seen = runs.training(run.search_id, run.trial).set_index("epoch")["images_seen"]
    z = np.stack(rows["probe_mean"].to_list())  # [rows, 2]
    variance = np.stack(rows["probe_variance"].to_list()).mean(1)
    points = pd.DataFrame(
        {
            "images_seen": rows["epoch"].map(seen).astype(int),
            "image": rows.groupby("epoch").cumcount(),
            "digit": rows["probe_label"].astype(int),
            **{"z1": z[:, 0], "z2": z[:, 1], "variance": variance},
        }
    )
    place = points.groupby(["images_seen", "digit"]).cumcount()
    return points[place < per_class].reset_index(drop=True)


def _digits(points: pd.DataFrame) -> str:
    """How many of each digit there are, as the probes may have fewer than asked for."""
    counts = points.drop_duplicates("image")["digit"].value_counts()
    few = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else f"{counts.max()}"
    return f"Images of {len(counts)} digits, {few} each"


def draw_trajectories(data: Plane) -> Figure:
    """A circle a moment, joined by a line; the digit is written at the end of its path."""
    figure, ax = _axes(data)
    order = {seen: place for place, seen in enumerate(sorted(data.points["images_seen"].unique()))}
    for digit in data.points["digit"].unique():
        path = data.points[data.points["digit"] == digit]
        ax.plot(path["z1"], path["z2"], color=DIGIT_COLORS[digit], linewidth=0.7, alpha=0.6)
        for _, point in path.iterrows():
            _circle(ax, point, data.radius, 0.15 + 0.85 * (order[point["images_seen"]] / max(len(order) - 1, 1)) ** 2)
    _finish(figure, ax, data, [])
    return figure


def draw_positions(data: Plane) -> Figure:
    """A circle an image, its digit beside it, and the circle of the prior's two standard deviations."""
    figure, ax = _axes(data)
    ax.add_patch(Circle((0, 0), 2, fill=False, color="#999999", linestyle="--", linewidth=0.8))
    for _, point in data.points.iterrows():
        _circle(ax, point, data.radius, 1.0)
    prior = Line2D([], [], color="#999999", linestyle="--", linewidth=0.8)
    _finish(figure, ax, data, [(prior, "2 sd of the prior")])
    return figure


def _axes(data: Plane) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN_WIDTH, COLUMN_WIDTH + 1), layout="constrained")
    wrapped_title(figure, data.title)
    return figure, figure.subplots()


def _circle(ax: Axes, point: pd.Series, radius: float, alpha: float) -> None:
    color = DIGIT_COLORS[int(point["digit"])]
    face, edge = to_rgba(color, 0.25 * alpha), to_rgba(color, alpha)
    centre = (point["z1"], point["z2"])
    ax.add_patch(Circle(centre, radius * np.sqrt(point["variance"]), facecolor=face, edgecolor=edge, linewidth=0.7))


def _finish(figure: Figure, ax: Axes, data: Plane, entries: list[tuple[Artist, str]]) -> None:
    ax.set_aspect("equal")
    ax.autoscale_view()
    _name_digits(ax, data.points[data.points["images_seen"] == data.points["images_seen"].max()])
    ax.set_xlabel("latent 1 (posterior mean)")
    ax.set_ylabel("latent 2 (posterior mean)")
    circle = Line2D([], [], linestyle="none", marker="o", markerfacecolor="#dddddd", markeredgecolor="#555555")
    handles, names = zip(*[(circle, data.circle), *entries], strict=True)
    legend_below(figure, handles, names, [data.note])


def _name_digits(ax: Axes, points: pd.DataFrame) -> None:
    """Each point's digit in whichever of eight places around it is farthest from the other points and digits."""
    unit = 0.028 * (ax.get_xlim()[1] - ax.get_xlim()[0])  # about a digit's width
    angles = np.arange(8) * np.pi / 4 + np.pi / 4
    around = 1.3 * unit * np.stack([np.cos(angles), np.sin(angles)], 1)  # [8, 2]
    taken = points[["z1", "z2"]].to_numpy()  # [points and digits placed, 2]
    for (_, point), position in zip(points.iterrows(), taken.copy(), strict=True):
        others = taken[(taken != position).any(1)]
        room = np.linalg.norm(position + around[:, None] - others, axis=2).min(1, initial=2 * unit)  # [8]
        place = position + around[room.argmax()]
        taken = np.vstack([taken, place])
        text = ax.text(
            place[0], place[1], f"{point['digit']:.0f}", ha="center", va="center", fontsize=6.5, fontweight="bold"
        )
        text.set_color(DIGIT_COLORS[int(point["digit"])])
        text.set_path_effects([withStroke(linewidth=1, foreground="white")])
