"""Search methods for the latent size of a variational autoencoder. See `searchers.base` for the interface."""

from searchers.registry import Entry

# The order is the one in every table and figure. The colours are of Okabe and Ito's palette, which the colour-blind can
# tell apart, and three more.
SEARCHERS: dict[str, Entry] = {
    "grid": Entry(
        "searchers.whole_run.grid:Grid", "one full training for each of the protocol's sizes", "Grid", "#000000", "s"
    ),
    "random": Entry(
        "searchers.whole_run.optuna_search:RandomSearch",
        "sizes drawn log-uniformly (Optuna's RandomSampler, 1907.10902)",
        "Random",
        "#56b4e9",
        "v",
    ),
    "tpe": Entry(
        "searchers.whole_run.optuna_search:TPESearch",
        "sizes proposed by Optuna's multi-objective TPESampler (1907.10902)",
        "TPE",
        "#0072b2",
        "^",
    ),
    "tolerance": Entry(
        "searchers.whole_run.tolerance:Tolerance",
        "the largest size, then smaller ones until the smallest that is as good is known",
        "Tolerance",
        "#6b6b6b",
        "<",
    ),
    "halving": Entry(
        "searchers.whole_run.halving:Halving",
        "successive halving: the grid's sizes, of which the promising ones are trained on (1502.07943)",
        "Halving",
        "#8b4513",
        ">",
    ),
    "beta": Entry(
        "searchers.whole_run.beta:Beta",
        "a training for each weight of the KL, with the latents that it leaves in use (beta-VAE)",
        "Beta",
        "#0072b2",
        "d",
    ),
    "fondue": Entry(
        "searchers.whole_run.fondue:Fondue",
        "FONDUE: the largest size without superfluous latents, by short trainings (2209.12806)",
        "FONDUE",
        "#0072b2",
        "h",
    ),
    "ald": Entry(
        "searchers.in_training.ald:ALD",
        "ALD-VAE: latents removed in training until the trends say stop (2312.06280)",
        "ALD",
        "#d55e00",
        "o",
    ),
    "geco-l0arm": Entry(
        "searchers.in_training.geco_l0arm:GecoL0Arm",
        "GECO with L0-ARM gates under an error bound (2003.10901)",
        "GECO/L0-ARM",
        "#009e73",
        "D",
    ),
    "sparsity": Entry(
        "searchers.in_training.sparsity:Sparsity",
        "ELBO training; the latents it leaves unused go (1812.07238)",
        "Sparsity",
        "#cc79a7",
        "P",
    ),
    "ard": Entry(
        "searchers.in_training.ard:ARD",
        "ARD-VAE: learned prior variances; the latents that move the images stay (2501.10901)",
        "ARD",
        "#cc79a7",
        "X",
    ),
    "sigma": Entry(
        "searchers.in_training.sigma:Sigma",
        "a Gaussian decoder's variance at its optimum; as many latents as have a small variance (1903.05789)",
        "Sigma",
        "#cc79a7",
        "v",
    ),
    "nested": Entry(
        "searchers.in_training.nested:Nested",
        "one training of all sizes at once; the size chosen by its curve stays (our own)",
        "Nested",
        "#e69f00",
        "H",
    ),
    "pca": Entry(
        "searchers.from_images.pca:PCA",
        "as many latents as principal components that a rule keeps",
        "PCA",
        "#7a6a00",
        "p",
    ),
    "twonn": Entry(
        "searchers.from_images.two_nn:TwoNN",
        "the images' intrinsic dimension by two nearest neighbours (Scientific Reports 7:12140)",
        "TwoNN",
        "#7a6a00",
        "h",
    ),
    "mle": Entry(
        "searchers.from_images.mle:MLE",
        "the images' intrinsic dimension by k nearest neighbours (Levina and Bickel 2004)",
        "MLE",
        "#7a6a00",
        "d",
    ),
    "gride": Entry(
        "searchers.from_images.gride:Gride",
        "the images' intrinsic dimension on a larger scale than TwoNN's (Scientific Reports 12:20005)",
        "Gride",
        "#7a6a00",
        "X",
    ),
    "irmae": Entry(
        "searchers.from_autoencoder.irmae:IRMAE",
        "IRMAE: an autoencoder with linear layers, whose codes keep few directions (2010.00679, 2305.01090)",
        "IRMAE",
        "#6a3d9a",
        "s",
    ),
    "least-volume": Entry(
        "searchers.from_autoencoder.least_volume:LeastVolume",
        "an autoencoder whose codes' volume is made small under a decoder that cannot stretch (2404.17773)",
        "Least volume",
        "#6a3d9a",
        "o",
    ),
    "rrae": Entry(
        "searchers.from_autoencoder.rrae:RRAE",
        "RRAE: an autoencoder whose codes' rank falls while the error allows it (2405.13980)",
        "RRAE",
        "#6a3d9a",
        "^",
    ),
}

# What lists call them, by the folder that they lie in.
KINDS = {
    "whole_run": "train many sizes",
    "in_training": "shrink or grow one model as it trains",
    "from_images": "estimate the size first, from the images, and train it once",
    "from_autoencoder": "read the size off an autoencoder, and train it once",
}

# Names for several of them. Fast are those that train one model, or two.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(SEARCHERS),
    "fast": tuple(name for name, entry in SEARCHERS.items() if entry.room != "whole_run"),
    "papers": ("grid", "random", "tpe", "ald", "geco-l0arm", "sparsity"),
}
