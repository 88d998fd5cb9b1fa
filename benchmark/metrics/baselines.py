"""The scores of two baselines on a dataset: a model without latents, and PCA. A useful VAE beats both.

They depend only on the data and the partition, so they are computed once for each partition and cached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.linalg
import torch
from numpy.typing import NDArray

from benchmark.config.protocol import Evaluation
from benchmark.datasets.base import Dataset, Split
from benchmark.datasets.scaling import standardised
from benchmark.errors import Damaged
from benchmark.paths import cache_file
from benchmark.stages import begin_stage
from benchmark.store.atomic_files import read_json, write_json
from benchmark.store.doubts import LEAST_WORTH, MOST_COMPONENTS
from searchers.parts.likelihoods import LIKELIHOODS, Bernoulli, make_likelihood

VERSION = 1  # part of the cache key: raise it when a number or the file format changes
VERSION_OF_OTHERS = 2  # the same, of data that are not images of bytes
FIT_IMAGES, FIT_BYTES = 5_000, 2**28  # PCA is fitted on at most so many images and bytes of pixels
SCORED_IMAGES = Evaluation.max_images  # of a split: by default models are evaluated on the same images
MEAN_MARGIN = 1e-6  # keeps Bernoulli means away from 0 and 1, and those of counts from 0
DISPERSION_IMAGES, DISPERSION_VALUES = 2_000, 2**20  # at most, that a negative binomial's dispersions are fitted to
LEAST_DISPERSION_IMAGES = 200  # where images are large
BATCH_BYTES = 2**23  # bytes of pixels that are summed at once
CHUNK = 2048  # pixels of every image that are in memory as float64 at once

MIN_EPOCHS = 3  # `late_gain` needs so many

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """The baselines' scores on one split; lower is better.

    no_latents_nll: NLL by the dataset's likelihood, nats per sample, of a model whose outputs are constants: those of
    maximum likelihood on the training split; Bernoulli means are clipped to 1e-6 and 1 - 1e-6. pca_sse: squared error,
    summed over the values, per sample, of reconstructions by PCA with 0, 1, ... components, up to 256 or the rank of
    the samples that PCA is fitted on; of counts' logarithms, as `Likelihood.squared_error`.
    """

    no_latents_nll: float
    pca_sse: list[float]

    def pca_sse_of(self, n_components: int) -> float:
        """The squared error with `n_components` components, or with all if there are fewer."""
        return self.pca_sse[min(n_components, len(self.pca_sse) - 1)]


@dataclass(frozen=True)
class Baselines:
    """The baselines on the images that `Evaluator` uses by default: at most 10,000 of the validation and test split."""

    val: Baseline
    test: Baseline


def load_baselines(dataset: Dataset) -> Baselines:
    """Reads the baselines from the cache or computes them.

    Computing takes milliseconds for small images and half a minute for 5,000 images of 64x64x3. dataset: on the CPU.
    """
    file = baselines_file(dataset)
    try:
        content = read_json(file)
    except (OSError, Damaged):
        content = asdict(_compute(dataset))
        write_json(file, content)
    return Baselines(Baseline(**content["val"]), Baseline(**content["test"]))


def baselines_file(dataset: Dataset) -> Path:
    """The cache file of this dataset's baselines, in this partition."""
    sizes = [len(split) for split in (dataset.train, dataset.val, dataset.test)]
    scaling, likelihood = dataset.train.scaling, dataset.likelihood
    as_scaled = "fitted" if scaling.is_fitted else f"{scaling.shift} {scaling.scale}"
    how = [] if dataset.train.is_of_bytes else [VERSION_OF_OTHERS, as_scaled]
    how += [] if likelihood == Bernoulli.name else [likelihood]
    identity = (VERSION, dataset.fingerprint, dataset.image_shape, sizes, dataset.partition, *how)
    return cache_file("baselines", identity, ".json")


def late_gain(history: pd.DataFrame, no_latents_nll: float) -> tuple[float | None, float | None]:
    """The rise of the validation ELBO in the last tenth of a training, as a share of what latents are worth.

    Returns the share and its standard error. history: the training's rows of `ResultsStore.epochs()`.

    The rise is the mean of -ELBO (`recon_nll` + `kl`) over the second-last tenth minus its mean over the last tenth. A
    tenth is at least one epoch. Latents are worth the gap between `no_latents_nll` (nats per image of the validation
    split) and the lowest -ELBO, but at least 0.1 % of |`no_latents_nll`|, since a training may not get below it. The
    standard error comes from the spread of the epochs within each tenth: with few validation images the noise of
    posterior samples exceeds the rise that matters. The error is None if a tenth is one epoch. Both are None for fewer
    than three epochs, or if a value is not finite.
    """
    loss = (history["recon_nll"] + history["kl"]).to_numpy(dtype=np.float64)
    if len(loss) < MIN_EPOCHS or not np.isfinite(loss).all():
        return None, None
    tenth = max(1, round(len(loss) / 10))
    second_last, last = loss[-2 * tenth : -tenth], loss[-tenth:]
    worth = max(no_latents_nll - loss.min(), LEAST_WORTH * abs(no_latents_nll))
    error = math.sqrt((second_last.var(ddof=1) + last.var(ddof=1)) / tenth) if tenth > 1 else None
    return float((second_last.mean() - last.mean()) / worth), None if error is None else float(error / worth)


def _compute(dataset: Dataset) -> Baselines:
    scored = [split.sample(SCORED_IMAGES) for split in (dataset.val, dataset.test)]
    if dataset.likelihood == Bernoulli.name and dataset.train.is_of_bytes:
        mean = mean_image(dataset.train)
        nlls = [nll(mean, split) for split in scored]
    else:
        nlls = constant_nll(dataset.likelihood, dataset.train, scored)
    errors = pca_sse(dataset.train, scored, are_counts=LIKELIHOODS[dataset.likelihood].is_count)
    val, test = (Baseline(own, sse) for own, sse in zip(nlls, errors, strict=True))
    return Baselines(val, test)


def constant_nll(name: str, train: Split, scored: Sequence[Split]) -> list[float]:
    """The NLL of each scored split, nats per sample, of a likelihood whose outputs are constants fitted to `train`.

    A negative binomial's dispersions are fitted to 2,000 samples, or fewer of more than 524 values.
    """
    likelihood = make_likelihood(name, tuple(train.images.shape[1:])).double().eval()
    found = standardised(_inputs(train))
    mean, sd = torch.as_tensor(found.shift), torch.as_tensor(found.scale)
    few = train.sample(
        min(DISPERSION_IMAGES, max(LEAST_DISPERSION_IMAGES, DISPERSION_VALUES // train.images[0].numel()))
    )
    begin_stage("fitting a model without latents")
    with torch.no_grad():
        likelihood.fit(sd.square(), torch.cat(list(_inputs(few))))
        outputs = likelihood.initial_outputs(mean, MEAN_MARGIN)[None]
        advance = begin_stage("scoring a model without latents", sum(map(len, scored)), "samples")
        nlls: list[list[torch.Tensor]] = [[] for _ in scored]
        for own, split in zip(nlls, scored, strict=True):
            for x in _inputs(split):
                own.append(likelihood.nll_of_each(outputs.expand_as(x), x.double()))
                advance(len(x))
        return [float(torch.cat(own).mean()) for own in nlls]


def _inputs(split: Split) -> Iterator[torch.Tensor]:
    """What a network sees of the split, in parts."""
    for positions in torch.arange(len(split)).split(max(1, BATCH_BYTES // split.images[0].numel())):
        yield split.inputs(positions)


def mean_image(split: Split) -> Array:
    """The mean of the split's images in [0, 1], [C * H * W] or [C * T * H * W]."""
    n_pixels = split.images[0].numel()
    total = torch.zeros(n_pixels, dtype=torch.int64)
    advance = begin_stage("computing the mean image", len(split), "images")
    for positions in torch.arange(len(split)).split(max(1, BATCH_BYTES // n_pixels)):
        total += split.take(positions).flatten(1).sum(0)
        advance(len(positions))
    return total.numpy() / (255 * len(split))


def nll(mean: Array, split: Split) -> float:
    """Bernoulli NLL, nats per image, of the split's images if each has the means `mean`, [pixels] in [0, 1]."""
    p = mean.clip(MEAN_MARGIN, 1 - MEAN_MARGIN)
    x = mean_image(split)  # the NLL is linear in the pixels
    return float(-(x * np.log(p) + (1 - x) * np.log1p(-p)).sum())


def pca_sse(
    fitted: Split, scored: Sequence[Split], max_components: int = MOST_COMPONENTS, are_counts: bool = False
) -> list[list[float]]:
    """Fits PCA on `fitted`; returns, for each scored split, the squared error per image with 0, 1, ... components.

    The result is exact: it comes from the eigenvectors of the smaller Gram matrix, in float64. Pixels are processed in
    chunks, so that long videos and large images fit in memory.
    """
    n_pixels = fitted.images[0].numel()
    sample = fitted.sample(min(FIT_IMAGES, max(2, FIT_BYTES // n_pixels)))
    by_pixels = n_pixels <= len(sample)
    gram = _gram(sample, by_pixels, are_counts)
    begin_stage("decomposing the images by PCA")
    values, vectors = _largest(gram, max_components, max(n_pixels, len(sample)))
    scores = [np.zeros((len(split), len(values))) for split in scored]
    squares = [0.0 for _ in scored]
    for columns in _chunks(n_pixels, "reconstructing by PCA"):
        pixels = _pixels(sample, columns, are_counts)
        mean = pixels.mean(0)
        basis = vectors[columns] if by_pixels else (pixels - mean).T @ (vectors / np.sqrt(values))  # [pixels, K]
        for number, split in enumerate(scored):
            deviations = _pixels(split, columns, are_counts) - mean
            squares[number] += float(np.vdot(deviations, deviations))
            scores[number] += deviations @ basis
    errors = [
        np.append(total, total - np.square(score).sum(0).cumsum()) / len(score)
        for total, score in zip(squares, scores, strict=True)
    ]
    return [error.clip(min=0).tolist() for error in errors]


def _gram(sample: Split, by_pixels: bool, are_counts: bool) -> Array:
    """Inner products of the centred pixels, [pixels, pixels], or of the centred images, [images, images]."""
    if by_pixels:
        pixels = _pixels(sample, slice(None), are_counts)
        pixels -= pixels.mean(0)
        return pixels.T @ pixels
    gram = np.zeros((len(sample), len(sample)))
    for columns in _chunks(sample.images[0].numel(), "comparing the images for PCA"):
        pixels = _pixels(sample, columns, are_counts)
        pixels -= pixels.mean(0)
        gram += pixels @ pixels.T
    return gram


def _largest(gram: Array, max_count: int, longest_side: int) -> tuple[Array, Array]:
    """The largest eigenvalues [K], descending, and their eigenvectors [n, K], without those that round to 0."""
    n = len(gram)
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=[max(0, n - max_count), n - 1], overwrite_a=True)
    rank = int((values > values[-1] * longest_side * np.finfo(np.float64).eps).sum())
    return values[::-1][:rank], vectors[:, ::-1][:, :rank]


def _chunks(n_pixels: int, what: str) -> Iterator[slice]:
    advance = begin_stage(what, n_pixels, "pixels")
    for start in range(0, n_pixels, CHUNK):
        yield slice(start, start + CHUNK)
        advance(min(CHUNK, n_pixels - start))


def _pixels(split: Split, columns: slice, are_counts: bool) -> Array:
    """The pixels or values `columns` of the split, float64 and scaled, [M, pixels]; of counts log(1 + x)."""
    stored = split.images.flatten(1)[:, columns][split.rows]
    pixels: Array = split.scaling.exact(stored, columns).numpy()
    return np.log1p(pixels) if are_counts else pixels
