"""Statistics of the latents: their posterior over the data, and how well they separate into clusters.

scikit-learn starts one thread per core; the caller limits the threads (threadpoolctl).
"""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from torch import Tensor

from benchmark.machine import float64_device
from searchers.parts.objectives import kl_per_dim
from searchers.quantities import ACTIVE


@dataclass(frozen=True)
class PosteriorStats:
    """Statistics of each latent's posterior N(mean, variance) over the data; float64 [n].

    mean_variance: variance over the data of the posterior mean; 0 for an unused latent.
    variance_mean: mean over the data of the posterior variance; 1 for an unused latent. In a trained VAE the two add
        up to about 1 (1812.07238, equation 13).
    kl: mean over the data of the KL divergence from N(0, 1), in nats.
    """

    mean_variance: NDArray[np.float64]
    variance_mean: NDArray[np.float64]
    kl: NDArray[np.float64]


def posterior_stats(mean: Tensor, logvar: Tensor) -> PosteriorStats:
    """Computes the statistics from posterior means and log-variances, both [N, n]; variances divide by N."""
    device = float64_device(mean.device)
    mean, logvar = mean.detach().to(device).double(), logvar.detach().to(device).double()
    return PosteriorStats(
        mean_variance=mean.var(0, correction=0).cpu().numpy(),
        variance_mean=logvar.exp().mean(0).cpu().numpy(),
        kl=kl_per_dim(mean, logvar).mean(0).cpu().numpy(),
    )


def active_units(mean_variance: NDArray[np.float64]) -> int:
    """Counts the latents whose posterior mean has a variance above 0.01 (Burda et al. 2016, section 5.2)."""
    return int((mean_variance > ACTIVE).sum())


def kmeans_silhouette(latents: NDArray[np.floating], n_clusters: int, seed: int) -> float:
    """Silhouette, -1 to 1, higher is better, of latents [N, n] with K-means labels (2312.06280, equation 1).

    Returns NaN where it is undefined: fewer than 2 clusters, fewer distinct points than clusters, no more points than
    clusters, or a value that is not finite. It costs O(N^2 n), so pass about 500 latents.
    """
    points = np.asarray(latents, np.float64)
    if n_clusters < 2 or not np.isfinite(points).all() or len(np.unique(points, axis=0)) < n_clusters:
        return math.nan
    # One run of k-means++ (scikit-learn's default) is enough: searchers use the trend of this score over epochs.
    kmeans = KMeans(n_clusters, n_init=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # points closer than rounding give fewer clusters
        labels = kmeans.fit_predict(points)
    return label_silhouette(points, labels)


@lru_cache(maxsize=1024)
def noise_silhouette(n_points: int, latent_dim: int, n_clusters: int) -> float:
    """The K-means silhouette of standard normal noise, which falls with its dimension: the mean of three draws."""
    draws = [np.random.default_rng(seed).standard_normal((n_points, latent_dim)) for seed in range(3)]
    return float(np.mean([kmeans_silhouette(points, n_clusters, seed) for seed, points in enumerate(draws)]))


def label_silhouette(latents: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Silhouette, -1 to 1, higher is better, of latents [N, n] with the given labels [N].

    Returns NaN where it is undefined: no latents, one label only, a label for every point, or a value that is not
    finite.
    """
    points = np.asarray(latents, np.float64)
    if not points.size or not 2 <= len(np.unique(labels)) < len(points) or not np.isfinite(points).all():
        return math.nan
    return float(silhouette_score(points, labels))
