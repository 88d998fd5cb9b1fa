"""All metrics of a model on one split, computed in one pass over its images."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from benchmark.config.protocol import Evaluation
from benchmark.datasets.base import Split
from benchmark.machine import float64_device
from benchmark.metrics.device_silhouettes import silhouettes
from benchmark.metrics.features import Features
from benchmark.metrics.frechet import FeatureStats, feature_stats, frechet_distance
from benchmark.metrics.kid import MOST_REAL
from benchmark.metrics.latents import active_units, kmeans_silhouette, label_silhouette, posterior_stats
from benchmark.metrics.own import MOST_SAMPLES, Batch, load_metrics, measured
from benchmark.stages import begin_stage
from benchmark.text import features_kind
from searchers.base import Posterior
from searchers.parts.likelihoods import GaussianOptimal
from searchers.parts.objectives import VAE, noise_dim, prior_codes, reparameterise

MAX_BATCH, BATCH_BYTES = 500, 2**23  # a batch has at most so many images and so many bytes of uint8 pixels
DEFAULT_CLUSTERS = 10  # for data without classes


class Evaluator:
    """Evaluates models on a fixed part of one split. It computes the statistics of the real images once.

    total_sse: of rows of a table, the squared error that their training mean leaves, for R2.
    """

    def __init__(
        self,
        split: Split,
        n_classes: int,
        features: Features,
        settings: Evaluation,
        device: torch.device,
        total_sse: float | None = None,
    ) -> None:
        self.features, self.total_sse = features, total_sse
        self.own = load_metrics(settings.metrics)
        self.is_images = split.images.ndim > 2
        self.n_silhouette = min(settings.silhouette_images, len(split))
        n_clusters = n_classes if n_classes > 1 else DEFAULT_CLUSTERS
        self.n_clusters = max(2, min(n_clusters, self.n_silhouette // 2))  # a cluster needs two points
        self.split = split.sample(settings.max_images).to(device)
        self.labels = self.split.labels[self.split.rows].cpu().numpy()
        self.device, self.draws, self.iwae_draws = device, settings.draws, settings.iwae_draws
        self.every = settings.every
        self.n_probes = min(settings.probe_images, len(self.split))
        self.batch_size = min(MAX_BATCH, max(1, BATCH_BYTES // self.split.images[0].numel()))
        real = torch.cat(list(self._features_of(self.split)))
        self.real_stats, self.real_features = feature_stats(real), real[:MOST_REAL]

    def shown(self, vae: VAE, outputs: Tensor, generator: Generator | int) -> Tensor:
        """What the decoder's outputs show, in place of data: an image's mean, or a row with the likelihood's noise.

        generator: on the evaluator's device, or the seed of one.
        """
        if self.is_images:
            return vae.likelihood.mean(outputs)
        if isinstance(generator, int):
            generator = Generator(self.device).manual_seed(generator)
        return vae.likelihood.sample(outputs, generator)

    def r2(self, sse: float) -> dict[str, float]:
        """The share of the rows' variance about the training mean that a model explains; empty for images."""
        return {} if self.total_sse is None else {"r2": 1 - sse / self.total_sse if self.total_sse > 0 else math.nan}

    def own_metrics(
        self, reconstructions: list[Tensor], z: list[Tensor], means: list[Tensor], logvars: list[Tensor]
    ) -> dict[str, float]:
        """The user's own metrics, from the batches of one draw; empty where there are none."""
        if not self.own:
            return {}
        n = min(MOST_SAMPLES, len(self.split))
        parts = (list(self.batches(n)), reconstructions, z, means, logvars)
        x, made, codes, mean, logvar = (torch.cat(part)[:n].float().cpu() for part in parts)
        return measured(self.own, Batch(x, made, codes, mean, logvar, torch.from_numpy(self.labels[:n])))

    @property
    def fid_counts(self) -> dict[str, int]:
        """The number of images behind a FID, and the number of features of each image."""
        return {"fid_images": len(self.split), "n_fid_features": len(self.real_stats.mean)}

    def batches(self, n_images: int | None = None, split: Split | None = None) -> Iterator[Tensor]:
        """Yields what a network sees of the first n images, or all: [B, C, H, W]. split: others in place of its own."""
        split = self.split if split is None else split
        for positions in torch.arange(len(split), device=split.rows.device)[:n_images].split(self.batch_size):
            yield split.inputs(positions, self.device)

    def _features_of(self, split: Split) -> Iterator[Tensor]:
        advance = begin_stage(f"computing {features_kind(self.features.name)} features", len(split), "images")
        for x in self.batches(split=split):
            yield self.features(x)
            advance(len(x))

    def stats_of(self, real: Split, n_images: int) -> FeatureStats:
        """The statistics of n other real images, in place of a model's samples."""
        return feature_stats(torch.cat(list(self._features_of(real.sample(n_images)))))

    @torch.no_grad()
    def posterior(self, vae: VAE, n: int) -> Posterior:
        """Encodes the first n images, or all if there are fewer: mean and log-variance [n, latent_dim]."""
        means, logvars = zip(*(vae.encode(x) for x in self.batches(n)), strict=True)
        return Posterior(torch.cat(means), torch.cat(logvars))

    def _silhouettes(self, z: Tensor, is_open: Tensor, labels: np.ndarray, seed: int) -> tuple[float, float]:
        """By K-means and by labels, of z [N, n] with the open latents, where z is."""
        if z.is_cuda:
            return silhouettes(z[:, is_open], labels, self.n_clusters, seed)
        points = z.cpu().numpy()[:, is_open.cpu().numpy()]
        return kmeans_silhouette(points, self.n_clusters, seed), label_silhouette(points, labels)

    @torch.inference_mode()
    def evaluate(
        self, vae: VAE, open_latents: Tensor | None, generator: Generator
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns the metrics of `ResultsStore.epochs()`, and arrays: latents' statistics [n] and probes' posteriors.

        z is sampled from the posterior. The variance of a `GaussianOptimal` is set to what is best here. open_latents:
        bool [n], the latents that the decoder may use; None means all. generator: on the evaluator's device.
        """
        n = vae.latent_dim
        gate = torch.ones(n, device=self.device) if open_latents is None else open_latents.float()
        means, logvars, latents, recon_features, sample_features = [], [], [], [], []
        reconstructions: list[Tensor] = []
        nll, sse = torch.zeros(2, dtype=torch.float64, device=float64_device(self.device))
        for x in self.batches():
            mean, logvar = vae.encode(x)
            z = reparameterise(mean, logvar, generator) * gate
            outputs = vae.decode(z)
            nll += (vae.likelihood.nll(outputs, x) * len(x)).to(nll.device)
            sse += vae.likelihood.squared_error(outputs, x).sum().to(sse.device)
            recon_features.append(self.features(self.shown(vae, outputs, generator)))
            noise = z.new_empty(len(z), noise_dim(vae)).normal_(generator=generator)
            prior_z = prior_codes(vae, noise) * gate
            sample_features.append(self.features(self.shown(vae, vae.decode(prior_z), generator)))
            means.append(mean)
            logvars.append(logvar)
            latents.append(z)
            if self.own:
                reconstructions.append(vae.likelihood.mean(outputs))
        if isinstance(vae.likelihood, GaussianOptimal):
            error, n_values = sse / len(self.split), self.split.images[0].numel()
            vae.likelihood.variance.copy_(error / n_values)
            nll = len(self.split) * vae.likelihood.best_nll(error, n_values)
        stats = posterior_stats(torch.cat(means), torch.cat(logvars))
        is_open = gate.bool().cpu().numpy()
        seed = int(torch.randint(2**31, (), generator=generator, device=self.device))
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.split))[: self.n_silhouette])
        points = torch.cat(latents)[torch.from_numpy(chosen).to(self.device)]
        by_clusters, by_labels = self._silhouettes(points, gate.bool(), self.labels[chosen], seed)
        metrics = {
            "active_units": active_units(stats.mean_variance[is_open]),
            "recon_nll": float(nll) / len(self.split),
            "recon_sse": float(sse) / len(self.split),
            **self.r2(float(sse) / len(self.split)),
            "kl": float(stats.kl[is_open].sum()),
            "elbo": -float(nll) / len(self.split) - float(stats.kl[is_open].sum()),
            "fid_recon": frechet_distance(self.real_stats, feature_stats(torch.cat(recon_features))),
            "fid_gen": frechet_distance(self.real_stats, feature_stats(torch.cat(sample_features))),
            "fid_features": self.features.name,
            "silhouette": by_clusters,
            "silhouette_labels": by_labels,
            **self.own_metrics(reconstructions, latents, means, logvars),
        }
        arrays = {
            "latent_mean_variance": stats.mean_variance,
            "latent_variance_mean": stats.variance_mean,
            "latent_kl": stats.kl,
        }
        if self.n_probes:
            arrays["probe_label"] = self.labels[: self.n_probes]
            arrays["probe_mean"] = torch.cat(means)[: self.n_probes].cpu().numpy()
            arrays["probe_variance"] = torch.cat(logvars)[: self.n_probes].exp().cpu().numpy()
        return metrics, arrays
