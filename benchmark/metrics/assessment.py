"""What a model is worth where it counts: repeated draws, with the same noise for every model of a seed.

The metrics after an epoch come from one draw of z an image. Where a size is chosen or a result is reported, the draw
would decide: there, values are means over many draws. Latent j of image i has the same noise in every model, whatever
its size, so that differences between models are not differences of noise.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.metrics.kid import kernel_distance
from benchmark.metrics.latents import (
    active_units,
    kmeans_silhouette,
    label_silhouette,
    noise_silhouette,
    posterior_stats,
)
from benchmark.metrics.own import higher_is_better
from searchers.parts.likelihoods import GaussianOptimal
from searchers.parts.objectives import VAE, kl_per_dim, noise_dim, prior_codes
from searchers.quantities import DRAWN_METRICS, TEST_METRICS

LEAST_DRAWS, MOST_SAMPLES = 2, 10_000
MOST_PIXELS = 2**27  # that the decoder draws for one purpose: fewer draws where images are many or large
LEAST_IWAE_IMAGES = 100
SILHOUETTE_DRAWS = 5
LEAST_IMAGES = 250  # whose losses are compared
_ALIGNED = 16  # numbers that torch draws together: rows of as many have the same numbers, however many rows there are
_SAMPLES = 2**32  # added to the seed for samples from the prior
_RECONSTRUCTIONS = 2**33  # times the draw, added to the seed for the noise of reconstructed rows


class Amounts(NamedTuple):
    """How much is drawn: `draws` of z an image, `samples` from the prior, and IWAE's images."""

    draws: int
    samples: int
    iwae_images: int


def amounts(evaluator: Evaluator) -> Amounts:
    """As many draws as 134 million pixels allow, at least 2; 10,000 samples where features and pixels cost little."""
    n, affordable = len(evaluator.split), MOST_PIXELS // evaluator.split.images[0].numel()
    is_slow = evaluator.device.type == "cpu" and evaluator.features.name == "inception"
    return Amounts(
        draws=max(LEAST_DRAWS, min(evaluator.draws, affordable // n)),
        samples=n if is_slow else max(n, min(MOST_SAMPLES, affordable)),
        iwae_images=min(n, max(LEAST_IWAE_IMAGES, affordable // evaluator.iwae_draws)),
    )


@torch.inference_mode()
def assess(
    evaluator: Evaluator, vae: VAE, open_latents: Tensor | None, seed: int, with_iwae: bool = False
) -> dict[str, Any]:
    """Assesses a model on the evaluator's images: a row of `ResultsStore.curves()`, without its keys.

    open_latents: bool [n], the latents that the decoder may use; None means all. seed: of the noise. with_iwae: adds
    the importance-weighted bound. `losses` holds -ELBO of each image, nats, [N].
    """
    n_draws, n_samples, n_iwae = amounts(evaluator)
    ones = torch.ones(vae.latent_dim, device=evaluator.device)
    gate = ones if open_latents is None else open_latents.float()
    is_open = gate.bool().cpu().numpy()
    posteriors = [vae.encode(x) for x in evaluator.batches()]
    mean, logvar = (torch.cat(values).cpu() for values in zip(*posteriors, strict=True))
    kl = (kl_per_dim(mean.double(), logvar.double()) * gate.cpu()).sum(1).numpy()  # [N]

    draws = [_draw(evaluator, vae, posteriors, gate, seed, number) for number in range(n_draws)]
    nll = np.stack([draw.nll for draw in draws])  # [draws, N]
    nll = _own_nll(vae, evaluator, is_open, nll, np.stack([draw.sse for draw in draws]))
    silhouettes = [
        _silhouettes(evaluator, draw.z[:, is_open], seed + number)
        for number, draw in enumerate(draws[:SILHOUETTE_DRAWS])
    ]
    sse = np.array([draw.sse.mean() for draw in draws])
    values = {
        "fid_recon": np.array([draw.fid for draw in draws]),
        "silhouette": np.array([clusters for clusters, _ in silhouettes]),
        "silhouette_labels": np.array([labels for _, labels in silhouettes]),
    }
    samples = _sample_features(evaluator, vae, gate, seed, n_samples)
    kid, kid_error = kernel_distance(evaluator.real_features, samples)
    noise = noise_silhouette(min(evaluator.n_silhouette, len(mean)), int(is_open.sum()), evaluator.n_clusters)
    metrics = {
        "fid_gen": frechet_distance(evaluator.real_stats, feature_stats(samples)),
        "kid_gen": kid,
        "kid_gen_error": kid_error,
        "active_units": active_units(posterior_stats(mean, logvar).mean_variance[is_open]),
        "silhouette_excess": float(values["silhouette"].mean()) - noise,
        **evaluator.own_metrics(*_first_draw(evaluator, vae, posteriors, gate, seed)),
        "iwae": _iwae(evaluator, vae, gate, seed, n_iwae) if with_iwae else math.nan,
    }
    return _row(evaluator, nll, sse, kl, values, metrics, size=int(is_open.sum()), fid_samples=n_samples)


@torch.inference_mode()
def assess_losses(
    evaluator: Evaluator, vae: VAE, open_latents: Sequence[Tensor], seed: int, decodes: int
) -> list[dict[str, Any]]:
    """Assesses a model with each of K sets of latents, bool [n], as `assess` does with its noise, by losses alone.

    decodes: about how many images are decoded for each set: some of them once, or all of them again and again. All that
    is not of the loss is NaN.
    """
    some = evaluator.split.sample(max(LEAST_IMAGES, decodes))
    n_images, likelihood = len(some), vae.likelihood
    n_draws = max(1, min(evaluator.draws, decodes // n_images))
    gates = [is_open.float() for is_open in open_latents]
    kl: list[list[Tensor]] = [[] for _ in gates]  # for each batch [B]
    nll: list[list[Tensor]] = [[] for _ in gates]  # for each batch [draws, B]
    sse: list[list[Tensor]] = [[] for _ in gates]
    for number, x in enumerate(evaluator.batches(split=some)):
        mean, logvar = vae.encode(x)
        kl_of_each = kl_per_dim(mean.cpu().double(), logvar.cpu().double())
        noise = [(0.5 * logvar).exp() * common_noise(mean, seed, draw, number) for draw in range(n_draws)]
        for i, gate in enumerate(gates):
            outputs = [vae.decode((mean + epsilon) * gate) for epsilon in noise]
            kl[i].append((kl_of_each * gate.cpu()).sum(1))
            nll[i].append(torch.stack([likelihood.nll_of_each(of_draw, x) for of_draw in outputs]).cpu().double())
            sse[i].append(torch.stack([likelihood.squared_error(of_draw, x) for of_draw in outputs]).cpu().double())
    rows = []
    for i, is_open in enumerate(open_latents):
        errors, are_open = torch.cat(sse[i], 1), is_open.cpu().numpy()  # [draws, N], [n]
        of_each = _own_nll(vae, evaluator, are_open, torch.cat(nll[i], 1).numpy(), errors.numpy())
        of_draws = errors.mean(1).numpy()
        size = int(is_open.sum())
        rows.append(_row(evaluator, of_each, of_draws, torch.cat(kl[i]).numpy(), {}, {}, size=size, fid_samples=0))
    return rows


def _row(
    evaluator: Evaluator,
    nll: np.ndarray,
    sse: np.ndarray,
    kl: np.ndarray,
    of_draws: dict[str, np.ndarray],
    others: dict[str, float],
    size: int,
    fid_samples: int,
) -> dict[str, Any]:
    """A row of `ResultsStore.curves()`, NaN in what is unknown.

    nll: [draws, N], sse: [draws], kl: [N]; of_draws: other metrics, [draws] each; others: single values.
    """
    drawn = {"recon_nll": nll.mean(1), "elbo": -(nll.mean(1) + kl.mean()), "recon_sse": sse, **of_draws}
    known = {name: float(values.mean()) for name, values in drawn.items()} | {"kl": float(kl.mean())} | others
    known |= {f"{name}_error": _standard_error(values) for name, values in drawn.items()}
    names = (*TEST_METRICS, *(f"{name}_error" for name in DRAWN_METRICS))
    return {
        **{name: known.get(name, math.nan) for name in names},
        **evaluator.r2(known["recon_sse"]),
        **{name: known[name] for name in evaluator.own if name in known},
        **({"higher_is_better": higher} if (higher := higher_is_better(evaluator.own)) else {}),
        "size": size,
        "draws": len(nll),
        "fid_samples": fid_samples,
        "images": len(kl),
        "fid_features": evaluator.features.name,
        "losses": (nll.mean(0) + kl).tolist(),
    }


class _Draw(NamedTuple):
    """One draw of z for every image: NLLs and squared errors [N], FID of the reconstructions, z [N, n]."""

    nll: np.ndarray
    sse: np.ndarray
    fid: float
    z: np.ndarray


def _draw(
    evaluator: Evaluator, vae: VAE, posteriors: list[tuple[Tensor, Tensor]], gate: Tensor, seed: int, draw: int
) -> _Draw:
    nll, sse, features, latents = [], [], [], []
    for number, (x, (mean, logvar)) in enumerate(zip(evaluator.batches(), posteriors, strict=True)):
        z = (mean + (0.5 * logvar).exp() * common_noise(mean, seed, draw, number)) * gate
        outputs = vae.decode(z)
        nll.append(vae.likelihood.nll_of_each(outputs, x).cpu())
        sse.append(vae.likelihood.squared_error(outputs, x).cpu())
        noise = seed + _RECONSTRUCTIONS * (draw + 1) + number
        features.append(evaluator.features(evaluator.shown(vae, outputs, noise)))
        latents.append(z.cpu())
    fid = frechet_distance(evaluator.real_stats, feature_stats(torch.cat(features)))
    of_each = torch.cat(nll).double().numpy()
    return _Draw(of_each, torch.cat(sse).double().numpy(), fid, torch.cat(latents).numpy())


def _own_nll(vae: VAE, evaluator: Evaluator, is_open: np.ndarray, nll: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The NLLs [draws, N]; an optimal variance is of a model with these latents, where some are closed: its errors'."""
    if not isinstance(vae.likelihood, GaussianOptimal) or is_open.all():
        return nll
    return vae.likelihood.best_nll(torch.from_numpy(errors), evaluator.split.images[0].numel()).numpy()


def _first_draw(
    evaluator: Evaluator, vae: VAE, posteriors: list[tuple[Tensor, Tensor]], gate: Tensor, seed: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """The reconstructions and z of the first draw, and the posteriors, in batches, for the user's own metrics."""
    if not evaluator.own:
        return [], [], [], []
    noise = [(0.5 * logvar).exp() * common_noise(mean, seed, 0, i) for i, (mean, logvar) in enumerate(posteriors)]
    z = [(mean + epsilon) * gate for (mean, _), epsilon in zip(posteriors, noise, strict=True)]
    means, logvars = (list(values) for values in zip(*posteriors, strict=True))
    return [vae.likelihood.mean(vae.decode(one)) for one in z], z, means, logvars


def common_noise(like: Tensor, seed: int, draw: int, batch: int) -> Tensor:
    """Standard normal noise [B, n] like a batch of latents: column j is the same for every n.

    Drawn on the CPU, so that it is the same on every device.
    """
    n_images, n = like.shape
    columns = _ALIGNED * math.ceil(n_images / _ALIGNED)
    generator = Generator().manual_seed((seed + 1_000_003 * draw + batch) % 2**63)
    return torch.empty(n, columns).normal_(generator=generator)[:, :n_images].T.to(like)


def _sample_features(evaluator: Evaluator, vae: VAE, gate: Tensor, seed: int, n_samples: int) -> Tensor:
    features = []
    for number, positions in enumerate(torch.arange(n_samples).split(evaluator.batch_size)):
        like = gate.new_empty(len(positions), noise_dim(vae))
        z = prior_codes(vae, common_noise(like, seed + _SAMPLES, 0, number)) * gate
        features.append(evaluator.features(evaluator.shown(vae, vae.decode(z), seed + _SAMPLES + number)))
    return torch.cat(features)


def _iwae(evaluator: Evaluator, vae: VAE, gate: Tensor, seed: int, n_images: int) -> float:
    """The importance-weighted bound (Burda et al. 2016, equation 8) on the first images: nats per image."""
    bounds = []
    for number, x in enumerate(evaluator.batches(n_images)):
        mean, logvar = vae.encode(x)
        log_weights = []
        for draw in range(evaluator.iwae_draws):
            noise = common_noise(mean, seed, draw, number)
            z = mean + (0.5 * logvar).exp() * noise
            log_ratio = 0.5 * (noise.square() + logvar - z.square())  # log p(z) - log q(z | x), of each latent
            log_weights.append((log_ratio * gate).sum(1) - vae.likelihood.nll_of_each(vae.decode(z * gate), x))
        bounds.append(torch.logsumexp(torch.stack(log_weights).cpu().double(), 0) - math.log(evaluator.iwae_draws))
    return float(torch.cat(bounds).mean())


def _silhouettes(evaluator: Evaluator, z: np.ndarray, seed: int) -> tuple[float, float]:
    """By K-means and by labels, on a part of the images that the seed draws."""
    seed %= 2**31
    chosen = np.sort(np.random.default_rng(seed).permutation(len(z))[: evaluator.n_silhouette])
    by_clusters = kmeans_silhouette(z[chosen], evaluator.n_clusters, seed)
    return by_clusters, label_silhouette(z[chosen], evaluator.labels[chosen])


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
