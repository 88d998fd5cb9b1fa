"""The comparison's figures: those of one group of comparable searches, and those over all groups."""

from __future__ import annotations

from reports.drawing.base import FigureKind
from reports.drawing.strips import draw_strips
from reports.figures.anytime import anytime_data, draw_anytime, interactive_anytime
from reports.figures.cost import cost_data
from reports.figures.images import draw_images, images_data
from reports.figures.latent_dim import latent_dim_data
from reports.figures.learning import draw_learning, interactive_learning, learning_data
from reports.figures.quality import draw_quality, interactive_quality, quality_data
from reports.figures.ranks import draw_ranks, ranks_data
from reports.figures.regret import draw_regret, interactive_regret, regret_data
from reports.figures.rows.codes import codes_data, draw_codes
from reports.figures.rows.values import draw_values, values_data
from reports.figures.tradeoff import draw_tradeoff, interactive_tradeoff, tradeoff_data
from reports.figures.trainings import draw_trainings, trainings_data

QUALITY = "quality"  # the figure that the page shows first

GROUP_FIGURES = {
    QUALITY: FigureKind(
        "Quality of finished models on the test split against their latent size. A mark is a training, filled (on the "
        "page: large) where it is the one that its search chose; a line is the mean over seeds, its band the range of "
        "the seeds, from 6 seeds on the 95 % t-interval. A method that trains one model only has no line. Dashed: the "
        "mean loss of the best size and 5 % of the gap, which is all that latents are worth; below it a size is as "
        "good as the best. Yellow area: the sizes that the grid, or else another method, calls as good in most "
        "seeds. Rate against distortion: what the KL buys.",
        quality_data,
        draw_quality,
        interactive_quality,
    ),
    "cost": FigureKind(
        "What each search cost until the finished model of the chosen size existed: all its trainings and evaluations, "
        "a baseline that set a bound for another included; loading the data and scoring on the test split are not. CPU "
        "time is the seconds of training and evaluation times the search's threads, GPU time those on its one GPU.",
        cost_data,
        draw_strips,
    ),
    "latent_dim": FigureKind(
        "The latent size that each searcher chose, a dot a seed; the bar is the median.",
        latent_dim_data,
        draw_strips,
    ),
    "tradeoff": FigureKind(
        "Test metrics against training FLOPs of the whole search: all its trainings, a baseline that set a bound for "
        "another included. Dashed: the Pareto front of the searchers' means, which no other mean beats in cost or "
        "quality without being worse in the other.",
        tradeoff_data,
        draw_tradeoff,
        interactive_tradeoff,
    ),
    "anytime": FigureKind(
        "What a search would deliver if it were stopped, against its cost so far: the finished training with the best "
        "validation ELBO, drawn at its loss on the test split. Losses are above the best size of the grid, without "
        "the level of their seed, in parts of what latents are worth. A search ends at the model that it did deliver; "
        "one that watches a single training has just that. Trainings that are not chosen from, such as a baseline "
        "that sets a bound, add their cost alone. Mean over seeds from where each has a model, with its 95 % "
        "t-interval from 6 seeds on; below that every seed is drawn.",
        anytime_data,
        draw_anytime,
        interactive_anytime,
    ),
    "regret": FigureKind(
        "Test metrics of each search less those of the grid's training, in its seed, of the size that has the best "
        "mean over the other seeds: what one would have had who knew the best size. Right of 0 is worse. The grey "
        "band is what retraining alone gives: one standard deviation of the difference of two trainings of one size in "
        "one seed. Bars: "
        "means, with the range of the seeds, from 6 seeds on with 95 % t-intervals.",
        regret_data,
        draw_regret,
        interactive_regret,
    ),
    "learning": FigureKind(
        "Validation metrics and latent size of the trainings that the finished searches chose, by epoch: mean over "
        "seeds, band from the smallest to the largest seed. Where trainings end at different epochs, the mean is over "
        "those still running.",
        learning_data,
        draw_learning,
        interactive_learning,
    ),
    "trainings": FigureKind(
        "Every training of each searcher's first finished seed and the chosen ones of its other seeds, on validation "
        "data, with the latent size above the epochs. The silhouette falls with the size, whatever the model.",
        trainings_data,
        draw_trainings,
    ),
    "images": FigureKind(
        "Test images, their reconstructions and samples from the prior, by the chosen model of each searcher's first "
        "finished seed; of a video the middle frame.",
        images_data,
        draw_images,
        of_rows=False,
    ),
    "codes": FigureKind(
        "Rows of the test split by the two latents of the highest KL (posterior means) of the chosen model of each "
        "searcher's first finished seed; a colour a label.",
        codes_data,
        draw_codes,
        of_rows=True,
    ),
    "values": FigureKind(
        "Some columns of rows of the test split, in the data's own units, and what the first searcher's chosen model "
        "makes of them from the posterior mean; on the line the two are equal.",
        values_data,
        draw_values,
        of_rows=True,
    ),
}

OVERALL_FIGURES = {
    "ranks": FigureKind(
        "Mean rank of each searcher over the blocks, a block being one seed of one data set and network, by the test "
        "ELBO and the four metrics of the papers; 1 is best. A description: a rank depends on who else is compared, "
        "and seeds of one data set are not independent data, so no claim rests on it. Bars join searchers that the "
        "ranks do not tell apart: all where Friedman's p (of shuffled ranks) is 0.05 or more, else those whose mean "
        "ranks are closer than Nemenyi's critical difference (CD).",
        ranks_data,
        draw_ranks,
    ),
}
