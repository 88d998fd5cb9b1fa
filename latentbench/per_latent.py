"""The figure of an inspection: what each latent carries."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.drawing.style import GREY, PAGE_WIDTH, paper_style
from searchers.quantities import ACTIVE

COLORS = ("#0072B2", "#E69F00")  # safe for the colour-blind
MOST_NAMED = 40  # latents whose numbers fit below their bars


def by_falling_kl(latents: pd.DataFrame) -> pd.DataFrame:
    """The latents in the order of the figure."""
    return latents.sort_values("kl", ascending=False, kind="stable")


def draw_latents(latents: pd.DataFrame) -> Figure:
    """KL of each latent in nats above; below, the variance of its mean and the mean of its variance.

    latents: see `latentbench.inspection.Inspection`.
    """
    rows = by_falling_kl(latents)
    at = np.arange(len(rows))
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 4.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.bar(at, rows["kl"], color=COLORS[0])
        above.set_ylabel("KL (nats/sample)")
        below.bar(at - 0.2, rows["mean_variance"], 0.4, color=COLORS[0], label="variance of the mean")
        below.bar(at + 0.2, rows["variance_mean"], 0.4, color=COLORS[1], label="mean of the variance")
        below.axhline(ACTIVE, color=GREY, linewidth=0.8, linestyle="--", label=f"active above {ACTIVE}")
        below.set_ylabel("variance")
        below.set_xlabel("latent, by falling KL")
        below.set_xticks(at, rows.index if len(rows) <= MOST_NAMED else [""] * len(rows))
        figure.legend(loc="outside lower center", ncols=3, fontsize=7)
    return figure
