"""What each measured quantity is, for the page's table of definitions."""

from __future__ import annotations

DEFINITIONS = {
    "wall_seconds": "From the start of a search to the finished model of the chosen size, all its trainings and "
    "evaluations in it; time lost to a kill is not. Other jobs on the machine slow it down: compare FLOPs first, and "
    "seconds within one execution (sequential, spread or stacked) alone.",
    "train_seconds": "Time of the training steps of all trainings.",
    "eval_seconds": "Time of the metrics on validation data, of all trainings.",
    "device_seconds": "Training and evaluation time of what the search occupied: each of its threads on a CPU, or one "
    "GPU. Core-seconds and GPU-seconds do not compare.",
    "train_flops": "Floating-point operations of the matrix products and convolutions of all trainings, counted on one "
    "step at each size: no noisy machine can bend them.",
    "images_seen": "Images that passed through the network in all trainings of the search.",
    "elbo": "Lower bound of the log-likelihood: minus the reconstruction NLL minus the KL, mean over the draws of z. "
    "Methods are compared by it: it sees what a method pays in KL for its reconstructions.",
    "iwae": "Importance-weighted bound of 50 draws of z an image, tighter than the ELBO; on the test split only.",
    "recon_nll": "Negative log-likelihood of an image given a sampled z, mean over the draws; by the likelihood of the "
    "protocol, which is a Bernoulli for images where it says nothing else.",
    "recon_sse": "Squared error of the reconstruction from a sampled z.",
    "r2": "Share of the rows’ variance about the training mean that the reconstruction from a sampled z explains.",
    "kl": "Divergence of the posterior of z from the prior, summed over the latents.",
    "fid_recon": "Fréchet distance between the features of real images and of their reconstructions.",
    "fid_gen": "Fréchet distance between the features of real images and of samples from the prior. Few images make "
    "every FID larger: the number stands above the table, and what real images get in place of samples.",
    "kid_gen": "Kernel distance between the same features, without the FID’s bias: 0 on average for perfect samples, "
    "and below 0 by chance.",
    "silhouette_excess": "Silhouette of K-means clusters of sampled latents, as many as there are classes, less that "
    "of normal noise of the same dimension: the silhouette alone falls with the size, whatever the model.",
}

IN_USE = (
    "Latents whose posterior mean varies over the images with a variance above 0.01 (Burda et al. 2016), on the test "
    "split; of running searches on validation data."
)
