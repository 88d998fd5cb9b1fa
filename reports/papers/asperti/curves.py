"""Variances along training, and the KL by the variance: figures 5 and 13 of 1812.07238."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter
from matplotlib.typing import LineStyleType

from benchmark.config.protocol import load_protocol
from reports.drawing.layout import legend_below, log_scale, wrapped_title
from reports.drawing.style import COLUMN_WIDTH
from reports.papers.asperti.base import MNIST_DENSE, final_latents, find_run, rows_of
from reports.papers.base import StoreFrames

RHOS = (0.1, 0.25, 0.5, 1.0, 2.0)  # the paper does not say which it plots
_COLORS = ("#000000", "#0072b2", "#009e73", "#d55e00", "#cc79a7")
_STYLES: tuple[LineStyleType, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Lines:
    """Lines in one axes, with a sentence on the run that they are from."""

    title: str
    note: str
    points: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row a point of a line."""
        return self.points


def variances_data(runs: StoreFrames) -> Lines | None:
    """Figure 5: no. (the latent's), minibatches, variance (of its mean, over the validation images), inactive (at the
    end).
    """
    run = find_run(runs, MNIST_DENSE.with_files())
    if run is None:
        return None
    batch = load_protocol(MNIST_DENSE.protocol).training.batch_size
    batches = runs.training(run.search_id, run.trial).set_index("epoch")["images_seen"] / batch
    last = final_latents(runs, run).set_index("no.")["inactive"]
    rows = rows_of(runs.latents, run)
    points = pd.DataFrame(
        {
            "no.": rows["latent_id"].astype(int),
            "minibatches": rows["epoch"].map(batches).astype(int),
            "variance": rows["latent_mean_variance"].astype(float),
            "inactive": rows["latent_id"].astype(int).map(last),
        }
    )
    points = points.sort_values(["no.", "minibatches"], ignore_index=True)
    note = f"MNIST, dense, {len(last)} latents; variance over the validation images; {run.note}."
    return Lines("Figure 5 of 1812.07238: variance of the latents' means", note, points)


def draw_variances(data: Lines) -> Figure:
    """A line a latent: those that end active full, the others dashed."""
    figure = Figure(figsize=(COLUMN_WIDTH, 3.1), layout="constrained")
    wrapped_title(figure, data.title)
    ax = figure.subplots()
    looks: dict[bool, tuple[str, LineStyleType, str]] = {
        False: ("#0072b2", "-", "active"),
        True: ("#d55e00", "--", "inactive"),
    }
    handles, names = [], []
    for inactive, (color, line, name) in looks.items():
        latents = data.points[data.points["inactive"] == inactive]
        for number in latents["no."].unique():
            latent = latents[latents["no."] == number]
            ax.plot(latent["minibatches"], latent["variance"], color=color, linestyle=line, linewidth=0.9, alpha=0.8)
        handles.append(Line2D([], [], color=color, linestyle=line))
        names.append(f"{name} at the end ({latents['no.'].nunique()})")
    batch = load_protocol(MNIST_DENSE.protocol).training.batch_size
    ax.set_xlabel(f"minibatches of {batch} images")
    ax.set_ylabel("variance of the posterior mean")
    ax.set_ylim(bottom=-0.02)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    legend_below(figure, handles, names, [data.note])
    return figure


def ratio_data(runs: StoreFrames) -> Lines:
    """Figure 13: rho, variance, kl (nats) by equation 7, is_minimum for the point of equation 8. Needs no run."""
    parts = []
    for rho in RHOS:
        least = rho**2 / (1 + rho**2)
        variance = np.append(np.geomspace(1e-3, 2, 300), least)
        points = pd.DataFrame({"rho": rho, "variance": variance, "kl": kl_at_ratio(variance, rho)})
        parts.append(points.assign(is_minimum=variance == least).sort_values("variance"))
    note = "Equation 7; the marks are its minima, at a variance of ρ²/(1+ρ²) (equation 8)."
    title = "Figure 13 of 1812.07238: KL where σ/μ keeps the ratio ρ"
    return Lines(title, note, pd.concat(parts, ignore_index=True))


def kl_at_ratio(variance: np.ndarray, rho: float) -> np.ndarray:
    """KL from N(0, 1), nats, of a posterior whose variance is rho^2 times its squared mean (equation 7)."""
    kl: np.ndarray = 0.5 * (variance * (1 + rho**2) / rho**2 - np.log(variance) - 1)
    return kl


def draw_ratio(data: Lines) -> Figure:
    """A line for each rho, its minimum marked."""
    figure = Figure(figsize=(COLUMN_WIDTH, 3.1), layout="constrained")
    wrapped_title(figure, data.title)
    ax = figure.subplots()
    log_scale(ax, "x", data.points["variance"].tolist())
    handles = []
    for rho, color, line in zip(RHOS, _COLORS, _STYLES, strict=True):
        line_points = data.points[data.points["rho"] == rho]
        ax.plot(line_points["variance"], line_points["kl"], color=color, linestyle=line)
        least = line_points[line_points["is_minimum"]]
        ax.plot(least["variance"], least["kl"], color=color, linestyle="none", marker="o", markersize=4)
        handles.append(Line2D([], [], color=color, linestyle=line, marker="o", markersize=4))
    ax.set_ylim(0, 4)
    ax.set_xlabel("posterior variance σ²")
    ax.set_ylabel("KL (nats)")
    legend_below(figure, handles, [f"ρ = {rho:g}" for rho in RHOS], [data.note])
    return figure
