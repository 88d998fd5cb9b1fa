"""Search methods for the latent size of a variational autoencoder. See `searchers.base` for the interface."""

from searchers.registry import Entry

SEARCHERS: dict[str, Entry] = {
    "grid": Entry("searchers.whole_run.grid:Grid", "one full training for each size of a list"),
    "random": Entry(
        "searchers.whole_run.optuna_search:RandomSearch", "sizes drawn log-uniformly (Optuna's RandomSampler)"
    ),
    "tpe": Entry(
        "searchers.whole_run.optuna_search:TPESearch", "sizes proposed by Optuna's multi-objective TPESampler"
    ),
    "ald": Entry(
        "searchers.in_training.ald:ALD", "ALD-VAE: latents removed in training until the trends say stop (2312.06280)"
    ),
    "geco-l0arm": Entry(
        "searchers.in_training.geco_l0arm:GecoL0Arm", "GECO with L0-ARM gates under an error bound (2003.10901)"
    ),
    "sparsity": Entry(
        "searchers.in_training.sparsity:Sparsity", "ELBO training; the latents it leaves unused go (1812.07238)"
    ),
}
