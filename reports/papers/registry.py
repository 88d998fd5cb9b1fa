"""The papers' figures and tables, one name each."""

from __future__ import annotations

from functools import partial

from reports.papers import ald, geco
from reports.papers.asperti.base import MNIST_CONV, MNIST_DENSE, TILES_CONV, TILES_DENSE
from reports.papers.asperti.cube import SAMPLED, UNSAMPLED, cube_data, draw_cube
from reports.papers.asperti.curves import draw_ratio, draw_variances, ratio_data, variances_data
from reports.papers.asperti.images import (
    draw_pictures,
    reconstructions_data,
    samples_data,
    tile_samples_data,
    zeroed_data,
)
from reports.papers.asperti.noise import NOISE, draw_noise, noise_data
from reports.papers.asperti.plane import MNIST_2D, draw_positions, draw_trajectories, positions_data, trajectories_data
from reports.papers.asperti.tables import table_1_data, table_2_data
from reports.papers.base import PaperItem

ASPERTI, ALD, GECO = "Sparsity in VAEs (1812.07238)", "ALD-VAE (2312.06280)", "GECO/L0-ARM (2003.10901)"

PAPER_ITEMS: dict[str, PaperItem] = {
    "asperti-table1": PaperItem(
        f"{ASPERTI}, table I",
        "latents of the dense VAE on mnist, the paper's and ours (over the validation images), by rising variance",
        (MNIST_DENSE, MNIST_CONV),
        table_1_data,
    ),
    "asperti-table2": PaperItem(
        f"{ASPERTI}, table II",
        "latents of the dense VAE on tiles, the paper's and ours (over the validation images), by rising variance",
        (TILES_DENSE, TILES_CONV),
        table_2_data,
    ),
    "asperti-figure1": PaperItem(
        f"{ASPERTI}, figure 1",
        "ten digits in a plane of latents during the first epoch",
        (MNIST_2D,),
        trajectories_data,
        draw_trajectories,
    ),
    "asperti-figure2": PaperItem(
        f"{ASPERTI}, figure 2",
        "position and variance of 60 digits after 10 epochs",
        (MNIST_2D,),
        positions_data,
        draw_positions,
    ),
    "asperti-figure3": PaperItem(
        f"{ASPERTI}, figure 3",
        "encodings in three dimensions and decoded slices, with and without sampling in training",
        (SAMPLED, UNSAMPLED),
        cube_data,
        draw_cube,
    ),
    "asperti-figure4": PaperItem(
        f"{ASPERTI}, figure 4",
        "digits sampled from 16 latents",
        (MNIST_DENSE.with_files(),),
        partial(samples_data, MNIST_DENSE, "Figure 4 of 1812.07238: digits sampled from a space of 16 latents"),
        draw_pictures,
    ),
    "asperti-figure5": PaperItem(
        f"{ASPERTI}, figure 5",
        "variance of each latent's mean along training",
        (MNIST_DENSE.with_files(),),
        variances_data,
        draw_variances,
    ),
    "asperti-figure6": PaperItem(
        f"{ASPERTI}, figure 6",
        "digits sampled, and again with the inactive latents zeroed",
        (MNIST_DENSE.with_files(),),
        zeroed_data,
        draw_pictures,
    ),
    "asperti-figure8": PaperItem(
        f"{ASPERTI}, figure 8",
        "digits sampled, convolutional network",
        (MNIST_CONV.with_files(),),
        partial(samples_data, MNIST_CONV, "Figure 8 of 1812.07238: digits sampled, convolutional network"),
        draw_pictures,
    ),
    "asperti-figure9": PaperItem(
        f"{ASPERTI}, figure 9",
        "tiles and their reconstructions, dense network",
        (TILES_DENSE.with_files(),),
        partial(reconstructions_data, TILES_DENSE, "Figure 9 of 1812.07238: tiles, dense network"),
        draw_pictures,
    ),
    "asperti-figure10": PaperItem(
        f"{ASPERTI}, figure 10",
        "tiles sampled, dense network",
        (TILES_DENSE.with_files(),),
        partial(tile_samples_data, TILES_DENSE, "Figure 10 of 1812.07238: tiles sampled, dense network"),
        draw_pictures,
    ),
    "asperti-figure11": PaperItem(
        f"{ASPERTI}, figure 11",
        "tiles and their reconstructions, convolutional network",
        (TILES_CONV.with_files(),),
        partial(reconstructions_data, TILES_CONV, "Figure 11 of 1812.07238: tiles, convolutional network"),
        draw_pictures,
    ),
    "asperti-figure12": PaperItem(
        f"{ASPERTI}, figure 12",
        "tiles sampled, convolutional network",
        (TILES_CONV.with_files(),),
        partial(tile_samples_data, TILES_CONV, "Figure 12 of 1812.07238: tiles sampled, convolutional network"),
        draw_pictures,
    ),
    "asperti-figure13": PaperItem(
        f"{ASPERTI}, figure 13", "KL by the variance at a fixed ratio to the mean", (), ratio_data, draw_ratio
    ),
    "asperti-figure14": PaperItem(
        f"{ASPERTI}, figure 14",
        "gain, KL and variance of a latent under rising noise",
        (NOISE,),
        noise_data,
        draw_noise,
    ),
    "ald-figure2": PaperItem(
        f"{ALD}, figure 2",
        "four metrics while the latent size shrinks to 2, and where the stop rule would stop",
        ald.needs(ald.FULL),
        ald.figure_2_data,
        ald.draw_figure_2,
    ),
    "ald-figure3": PaperItem(
        f"{ALD}, figure 3",
        "four metrics of ALD and of a training that had its final size from the start",
        ald.needs(ald.RETRAINED),
        ald.figure_3_data,
        ald.draw_figure_3,
    ),
    "ald-figure4": PaperItem(
        f"{ALD}, figure 4",
        "four metrics of ALD from three start sizes",
        ald.needs(*ald.STARTS)[:2],  # the paper shows MNIST and FashionMNIST
        ald.figure_4_data,
        ald.draw_figure_4,
    ),
    "ald-seeds": PaperItem(
        f"{ALD}, section 5.2",
        "mean and standard deviation over seeds of the latent size that ALD chose, beside the paper's",
        ald.needs(*ald.STARTS),
        ald.seeds_data,
    ),
    "geco-figure1": PaperItem(
        f"{GECO}, figure 1",
        "error, open gates, multiplier and images within the bound along one training on dsprites",
        (geco.FIGURE_1,),
        geco.figure_1_data,
        geco.draw_figure_1,
    ),
    "geco-figure2": PaperItem(
        f"{GECO}, figure 2",
        "dsprites reconstructed by the models of two bounds",
        (geco.FIGURE_2,),
        geco.figure_2_data,
        geco.draw_figure_2,
    ),
    "geco-figure3": PaperItem(
        f"{GECO}, figure 3",
        "retained dimensions against the bound on mnist",
        (geco.FIGURE_3,),
        geco.figure_3_data,
        geco.draw_figure_3,
    ),
    "geco-table1": PaperItem(
        f"{GECO}, table I",
        "error of a VAE of n latents, and the size that pruning from 2n reaches within it, the paper's and ours",
        tuple(geco.TABLE_1_NEEDS.values()),
        geco.table_1_data,
    ),
}
