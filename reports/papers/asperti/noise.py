"""A latent made noisy until it collapses: figure 14 of 1812.07238."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter
from matplotlib.typing import LineStyleType

from reports.drawing.layout import legend_below, wrapped_title
from reports.drawing.style import COLUMN_WIDTH
from reports.papers.asperti.base import find_run
from reports.papers.asperti.curves import Lines
from reports.papers.base import RequiredRuns, StoreFrames

NOISE = RequiredRuns("asperti-mnist-noise", ("searchers.experiments.latent_noise:LatentNoise",))

_PHASES = (
    "plain training",
    "noise raised",
    "noise held",
    "noise removed",
)  # by `searchers.experiments.latent_noise.Phase`
_LINES: tuple[tuple[str, str, str, LineStyleType, int], ...] = (  # column, name, colour, line, axis
    ("recon_gain", "reconstruction gain (left)", "#0072b2", "-", 0),
    ("kl", "KL (left)", "#d55e00", "--", 0),
    ("mean_variance", "mean of the posterior variance (right)", "#009e73", "-.", 1),
    ("variance", "variance of the posterior mean (right)", "#cc79a7", ":", 1),
    ("noise_sd", "noise, sd (right)", "#777777", "-", 1),
)


def noise_data(runs: StoreFrames) -> Lines | None:
    """Figure 14: by epoch after the plain training, phase, noise_sd, of the noisy latent recon_gain and kl (nats/image,
    over the training batches), mean_variance (of its posterior) and variance (of its mean), over the validation images.
    """
    run = find_run(runs, NOISE)
    if run is None:
        return None
    rows = runs.training(run.search_id, run.trial)
    rows = rows[rows["ctl_phase"] > 0]
    names = {"ctl_recon_gain": "recon_gain", "ctl_noisy_kl": "kl", "ctl_noise_sd": "noise_sd"}
    names |= {"ctl_noisy_variance": "variance", "ctl_noisy_variance_mean": "mean_variance"}
    points = rows.reindex(columns=["epoch", "ctl_phase", *names]).rename(columns=names)
    points["phase"] = [_PHASES[int(phase)] for phase in points.pop("ctl_phase")]
    note = f"{_story(rows)} Gain: error with the latent zeroed less error with it, noise included; {run.note}."
    title = "Figure 14 of 1812.07238: a latent made noisy until it collapses"
    return Lines(title, note, points.reset_index(drop=True))


def _story(rows: pd.DataFrame) -> str:
    """Which latent, and where the raise of the noise ended."""
    if rows.empty:
        return "The budget ended before any noise was added."
    latent, first = f"Latent {rows['ctl_noisy_latent'].iloc[0]:.0f}", f"noise from epoch {rows['epoch'].iloc[0]}"
    held = rows[rows["ctl_phase"] > 1]
    if held.empty:
        return f"{latent}, {first}; the gain stayed above the KL to the end of the budget."
    return f"{latent}, {first}, raised until the gain was below the KL, in epoch {held['epoch'].iloc[0] - 1}."


def draw_noise(data: Lines) -> Figure:
    """Gain and KL on the left axis, variances and the noise on the right; the phases between vertical lines."""
    figure = Figure(figsize=(COLUMN_WIDTH, 3.9), layout="constrained")
    wrapped_title(figure, data.title)
    left = figure.subplots()
    right = left.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    handles = []
    for column, _, color, line, side in _LINES:
        ax = (left, right)[side]
        width = 0.8 if column == "noise_sd" else 1.4
        (drawn,) = ax.plot(data.points["epoch"], data.points[column].astype(float), color=color, linestyle=line)
        drawn.set(linewidth=width, drawstyle="steps-mid" if column == "noise_sd" else "default")
        handles.append(Line2D([], [], color=color, linestyle=line, linewidth=width))
    for phase in data.points["phase"].unique():
        epochs = data.points.loc[data.points["phase"] == phase, "epoch"]
        left.axvline(epochs.iloc[0] - 0.5, color="#aaaaaa", linewidth=0.6)
        name = phase.replace(" ", "\n")
        left.annotate(
            name, (epochs.mean(), 1), (0, 2), ("data", "axes fraction"), "offset points", ha="center", fontsize=7
        )
    left.set_yscale("symlog", linthresh=0.1, linscale=0.5)  # the crossing is at a twentieth of the first gains
    left.set_ylim(bottom=min(-0.1, data.points["recon_gain"].astype(float).min()))
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.set_xlabel("epoch")
    left.set_ylabel("nats per image")
    right.set_ylabel("variance; sd of the noise")
    right.set_ylim(bottom=0)
    legend_below(figure, handles, [name for _, name, *_ in _LINES], [data.note])
    return figure
