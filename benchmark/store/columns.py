"""The columns of the store's frames."""

from benchmark.store.doubts import flags, search_flags
from benchmark.store.rows import ARRAYS
from searchers.quantities import DRAWN_METRICS, METRICS, ROW_METRICS, TEST_METRICS

NATIVE = "native"  # in the column `size_only`: the search's own model is that plain training

KEYS = ("search_id", "dataset", "backbone", "searcher", "seed")
COSTS = ("n_epochs", "train_seconds", "eval_seconds", "images_seen", "train_flops")
TRIAL_COLUMNS = (
    *("trial", "status", "start_latent_dim", "latent_dim", *COSTS, "wall_seconds"),
    *("peak_memory_bytes", "reserved_memory_bytes"),
    *(*METRICS, *ROW_METRICS, "fid_features", "fid_images", "n_fid_features", *flags({})),
)
SEARCH_COLUMNS = (
    *("status", "error", "latent_dim", "n_trials", *COSTS, "wall_seconds"),
    *("peak_memory_bytes", "reserved_memory_bytes"),
    *(f"test_{metric}" for metric in TEST_METRICS),
    *(f"test_{metric}_error" for metric in DRAWN_METRICS),
    *(f"{split}_{metric}" for split in ("test", "size_only") for metric in ROW_METRICS),
    *("test_draws", "test_fid_samples", "fid_real", "test_fid_real", "test_silhouette_noise"),
    *("rule", "as_good_shares", "choice_loss", "choice_limit", "choice_gap", "choice_shown"),
    *("test_fid_features", "protocol", "protocol_hash", "epochs", "scale", "chosen_trial", "pareto"),
    *("settled", "n_diverged", "diverged_sizes", "fid_images", "test_fid_images", "n_fid_features"),
    *("estimate", "space", "space_high", "execution", "as_good"),
    *("size_only", *(f"size_only_{metric}" for metric in TEST_METRICS)),
    *("data", "data_fingerprint", "late_gain", "late_gain_error", "pca_sse", "no_latents_nll", "val_no_latents_nll"),
    *("true_low", "true_high", "likelihood"),
    *search_flags({}),
)
TEXTS = frozenset(
    {
        *(*KEYS[:-1], "status", "error", "protocol", "protocol_hash", "fid_features", "test_fid_features"),
        *("diverged_sizes", "data", "data_fingerprint", "space", "execution", "rule", "likelihood"),
        "size_only",
    }
)
FLAGS = frozenset({"settled", "choice_shown"})
LISTS = frozenset({"pareto", "as_good", "as_good_shares"})
FINAL_FILES = ("model.pt", "images.npz", "rows.npz", "curves.arrow")
TRIAL_FILES = ("epochs.arrow", "model.pt", "curves.arrow")
DIGESTED = (*TRIAL_FILES, *FINAL_FILES, "study.journal")  # the last one in results of 0.2
ARRAY_TYPES = dict(zip(ARRAYS, ("int64", *3 * ["float64"], "int64", "object", "object"), strict=True))  # of one element
CURVE_EXTRAS = ("losses", "keep", "wall_seconds", "higher_is_better")  # of the files of those rows
CURVE_COLUMNS = (
    *("trial", "epoch", "split", "size", *TEST_METRICS, *(f"{metric}_error" for metric in DRAWN_METRICS)),
    *("draws", "fid_samples", "images", "fid_features", "eval_seconds"),
)
