"""The comparison's figures: those of one group of comparable searches, and those over all groups."""

from __future__ import annotations

from reports.curves import curves_data
from reports.curves_plot import draw_curves
from reports.figure import FigureKind
from reports.images import draw_images, images_data
from reports.strips import cost_data, draw_cost, draw_latent_dim, latent_dim_data

# data(group, store)
GROUP_FIGURES = {
    "cost": FigureKind(
        "What each search cost until the finished model of the chosen size existed, baselines included.",
        cost_data,
        draw_cost,
    ),
    "latent_dim": FigureKind(
        "The latent size that each searcher chose, a dot a seed.", latent_dim_data, draw_latent_dim
    ),
    "trainings": FigureKind(
        "Each searcher's trainings, with the latent size above the epochs.", curves_data, draw_curves
    ),
    "images": FigureKind(
        "Test images, their reconstructions and samples from the prior, by each searcher's chosen model.",
        images_data,
        draw_images,
    ),
}

# data(groups)
OVERALL_FIGURES: dict[str, FigureKind] = {}
