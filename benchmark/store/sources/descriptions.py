"""A line about each column of the store's frames, for documents."""

from benchmark.store.columns import CURVE_COLUMNS, KEYS, SEARCH_COLUMNS, TRIAL_COLUMNS
from benchmark.store.rows import EPOCH_COLUMNS, LATENT_ARRAYS, PROBE_ARRAYS

METRICS = {
    "recon_nll": "negative log-likelihood of a sample's reconstruction from a sampled z, by the protocol's likelihood "
    "(nats per sample, lower is better)",
    "recon_sse": "squared error of that reconstruction, summed over the values (lower is better)",
    "kl": "KL divergence of the posterior from the prior (nats per sample)",
    "elbo": "minus `recon_nll` minus `kl` (nats per sample, higher is better); methods are compared by it",
    "iwae": "importance-weighted bound of 50 draws of z (nats per sample, higher is better); on the test split only",
    "fid_recon": "Frechet distance of the features of real samples and of reconstructions (lower is better)",
    "fid_gen": "Frechet distance of the features of real samples and of samples from the prior (lower is better)",
    "kid_gen": "kernel distance of the same, without the bias of few images (lower is better; may be below 0)",
    "silhouette": "of K-means clusters of 500 sampled latents; falls with the size whatever the model",
    "silhouette_labels": "silhouette of the true labels in the latents",
    "silhouette_excess": "`silhouette` less that of normal noise of as many latents",
    "active_units": "latents whose posterior mean has a variance above 0.01 over the data",
    "r2": "share of the rows' variance about the training mean that the reconstruction explains; rows of tables only",
}
COLUMNS = {
    "search_id": "name of the search's folder; follows from all that its result depends on",
    "dataset": "the data set's name, `folder:PATH` or `array:PATH`",
    "backbone": "the network's name",
    "searcher": "the method's name",
    "seed": "of the initial weights, the order, the noise and the split of the data",
    "status": "`done`, `failed` or `running`",
    "error": "the last line of a failed search's traceback",
    "latent_dim": "latent size: the chosen one of a search, the last one of a training",
    "start_latent_dim": "latent size at the start of the training",
    "n_trials": "trainings of the search",
    "n_epochs": "epochs of all trainings",
    "train_seconds": "seconds of training steps (in `epochs()`: of the epoch)",
    "eval_seconds": "seconds of metrics on validation data (in `epochs()`: of the epoch)",
    "wall_seconds": "seconds from the search's start to the finished model, or to the end of the epoch",
    "images_seen": "samples that passed through the network in training",
    "train_flops": "floating-point operations of matrix products and convolutions in training",
    "peak_memory_bytes": "most memory: of the process, on a GPU of torch's tensors there",
    "reserved_memory_bytes": "most memory of the GPU that torch held; empty on a CPU",
    "test_draws": "draws of z a sample behind the `test_` values",
    "test_fid_samples": "generated samples behind `test_fid_gen`",
    "fid_real": "FID of as many real training samples in place of generated ones, on validation data",
    "test_fid_real": "the same on the test split: below it no FID means anything",
    "test_silhouette_noise": "silhouette of normal noise of the model's dimension",
    "rule": "that chose the size; empty where the method decides by itself",
    "as_good": "sizes that are as good as the chosen one, a list",
    "as_good_shares": "share of the resamplings of the samples that choose each of `as_good`, a list",
    "choice_loss": "how much worse the size is than the rule's reference on validation data, in parts of the gap",
    "choice_limit": "upper limit of `choice_loss`",
    "choice_gap": "what latents are worth there (nats per sample)",
    "choice_shown": "false where no size was shown to lose less than the margin",
    "test_fid_features": "features of the test FIDs, with the digest of their weights",
    "fid_features": "features of the FIDs, with the digest of their weights",
    "protocol": "the protocol's name",
    "protocol_hash": "hash of what comparable searches share: data, network, training, evaluation, space, rule",
    "epochs": "of one full training",
    "scale": "below 1 for a smoke run, whose budget was shrunk",
    "chosen_trial": "number of the training whose model was chosen",
    "pareto": "numbers of the trainings on the Pareto front of the metrics, a list; of methods that compare trainings",
    "settled": "false if the size was still changing at the end",
    "n_diverged": "trainings whose loss was not finite",
    "diverged_sizes": "their sizes",
    "fid_images": "real samples behind the validation FIDs",
    "test_fid_images": "real samples behind the test FIDs",
    "n_fid_features": "number of features of the FIDs",
    "estimate": "dimensions that the method estimated before any training",
    "space": "the sizes to choose from",
    "space_high": "the largest of them; empty where there is one only",
    "execution": "`sequential`, `spread` or `stacked`: compare seconds within one of them only",
    "size_only": "a plain training of the size found: `done`, `failed`, or `native` where the model is that training",
    "data": "a line about the data",
    "data_fingerprint": "hash of their content",
    "late_gain": "rise of the validation ELBO in the last tenth of the training, as a share of what latents are worth",
    "late_gain_error": "its standard error",
    "pca_sse": "squared error of PCA with as many components, on the test split",
    "no_latents_nll": "NLL of a model without latents, on the test split (nats per sample)",
    "val_no_latents_nll": "the same on validation data",
    "true_low": "smallest right size, where the data set knows",
    "true_high": "largest right size, where the data set knows",
    "likelihood": "what the decoder's outputs say of the values",
    "unused_latents": "more than a tenth of the latents are out of use",
    "collapsed": "nine tenths of the latents, or all, are out of use",
    "few_fid_images": "a FID comes from fewer than 10 samples a feature, or fewer than 100",
    "still_learning": "the ELBO rose in the last tenth of the training by more than 1 % of what latents are worth",
    "worse_than_pca": "PCA with as many components has the smaller squared error",
    "worthless": "the test loss is not even 0.1 % below that of a model without latents",
    "trial": "number of the training in its search, from 0",
    "epoch": "of the training, from 1",
    "train_loss": "mean loss of the epoch's steps, whatever the method's objective is",
    "split": "`val` or `test`",
    "size": "number of latents of the assessed model",
    "draws": "draws of z a sample",
    "fid_samples": "generated samples behind `fid_gen` and `kid_gen`",
    "images": "real samples",
    "latent_id": "the latent's index at the training's start",
    "latent_mean_variance": "variance of its posterior mean over the validation data",
    "latent_variance_mean": "mean of its posterior variance",
    "latent_kl": "its mean KL (nats)",
    "probe_label": "label of the probe sample",
    "probe_mean": "its posterior mean, [latent_dim]",
    "probe_variance": "its posterior variance, [latent_dim]",
}
FRAMES = {
    "searches": (*KEYS, *SEARCH_COLUMNS),
    "trials": (*KEYS, *TRIAL_COLUMNS),
    "epochs": (*KEYS, *EPOCH_COLUMNS),
    "curves": (*KEYS, *CURVE_COLUMNS),
    "latents": (*KEYS, "trial", "epoch", *LATENT_ARRAYS),
    "probes": (*KEYS, "trial", "epoch", *PROBE_ARRAYS),
}
MORE = {  # columns that are not the same in all results
    "searches": "`setting_...`: the searcher's settings. `env_...`: versions, commit, device, threads.",
    "epochs": "`ctl_...`: traces of the method's controller.",
}


def describe(column: str) -> str:
    """A line about a column. Raises KeyError where there is none."""
    metric = column.removesuffix("_error")
    for start, text in (("test_", "{} on the test split"), ("size_only_", "{} of a plain training of the size found")):
        own = metric.removeprefix(start)
        if own in METRICS and own != metric:
            of = text.format(f"`{own}`")
            return f"standard error of `{metric}` over the draws" if metric != column else of
    if metric != column and metric in METRICS:
        return f"standard error of `{metric}` over the draws"
    return METRICS[column] if column in METRICS else COLUMNS[column]
