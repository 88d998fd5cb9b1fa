"""What a model without latents and PCA reach on a dataset: what a training has to beat before its size means anything.

Both depend on the data alone, so they are computed once a dataset and kept in the cache.
"""

from __future__ import annotations

import hashlib
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
from benchmark.errors import Damaged
from benchmark.paths import cache_folder
from benchmark.stages import begin_stage
from benchmark.store.atomic_files import read_json, write_json
from benchmark.store.doubts import MOST_COMPONENTS

VERSION = 1  # part of the cache's key: raise it when a number or the file's form changes
FIT_IMAGES, FIT_BYTES = 5_000, 2**28  # that PCA is fitted on: so many, and of large images so many bytes of pixels
SCORED_IMAGES = Evaluation.max_images  # of a split: by default the images that models are evaluated on
MEAN_MARGIN = 1e-6  # a Bernoulli mean stays this far from 0 and 1
BATCH_BYTES = 2**23  # of pixels that are summed at once
CHUNK = 2048  # pixels of every image that are float64 at once

FEWEST_EPOCHS = 3  # that show whether a training still learns
LEAST_WORTH = 1e-3  # of the NLL without latents: what latents are taken to be worth at least

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """On the images of one split; lower is better.

    no_latents_nll: nats per image of the training split's mean image, each Bernoulli mean kept within 1e-6 and
    1 - 1e-6. pca_sse: the squared error summed over the pixels, per image, of reconstructions by PCA with 0, 1, ...
    components, up to 256 or the rank of the images that it is fitted on.
    """

    no_latents_nll: float
    pca_sse: list[float]

    def pca_sse_of(self, n_components: int) -> float:
        """The squared error with this many components; that of the last ones where there are no more."""
        return self.pca_sse[min(n_components, len(self.pca_sse) - 1)]


@dataclass(frozen=True)
class Baselines:
    """Of the validation and of the test split, at most 10,000 images each: those that `Evaluator` takes by default."""

    val: Baseline
    test: Baseline


def load_baselines(dataset: Dataset) -> Baselines:
    """From the cache, or computed now: milliseconds for small images, half a minute for 5,000 of 64x64x3.

    dataset: on the CPU.
    """
    file = baselines_file(dataset)
    try:
        content = read_json(file)
    except (OSError, Damaged):
        content = asdict(_compute(dataset))
        write_json(file, content)
    return Baselines(Baseline(**content["val"]), Baseline(**content["test"]))


def baselines_file(dataset: Dataset) -> Path:
    """Where this dataset's baselines are cached."""
    sizes = [len(split) for split in (dataset.train, dataset.val, dataset.test)]
    identity = repr((VERSION, dataset.fingerprint, dataset.image_shape, sizes))
    key = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
    return cache_folder("baselines") / f"{key}.json"


def late_gain(history: pd.DataFrame, no_latents_nll: float) -> tuple[float | None, float | None]:
    """How far the validation ELBO rose in the last tenth of a training, as a share of what latents are worth.

    Returns the share and its standard error.

    The rise is the mean -ELBO (`recon_nll` + `kl`) over the tenth before the last minus that over the last tenth, a
    tenth being at least one epoch. What latents are worth is the gap between `no_latents_nll` (nats per image, of the
    validation split) and the best -ELBO so far, and at least 0.1 % of the former, for a training that has not come
    below it. The standard error comes from the spread of the epochs within each tenth: on few validation images the
    noise of posterior samples is larger than the rise that matters. It is None where a tenth is a single epoch; both
    are None for fewer than three epochs, or where a value is not finite. history: the training's rows of
    `ResultsStore.epochs()`.
    """
    loss = (history["recon_nll"] + history["kl"]).to_numpy(dtype=np.float64)
    if len(loss) < FEWEST_EPOCHS or not np.isfinite(loss).all():
        return None, None
    tenth = max(1, round(len(loss) / 10))
    before, last = loss[-2 * tenth : -tenth], loss[-tenth:]
    worth = max(no_latents_nll - loss.min(), LEAST_WORTH * no_latents_nll)
    error = math.sqrt((before.var(ddof=1) + last.var(ddof=1)) / tenth) if tenth > 1 else None
    return float((before.mean() - last.mean()) / worth), None if error is None else float(error / worth)


def _compute(dataset: Dataset) -> Baselines:
    scored = [split.sample(SCORED_IMAGES) for split in (dataset.val, dataset.test)]
    model = mean_image(dataset.train)
    errors = pca_sse(dataset.train, scored)
    val, test = (Baseline(nll(model, split), sse) for split, sse in zip(scored, errors, strict=True))
    return Baselines(val, test)


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
    """Bernoulli NLL in nats per image when every image of the split is given this mean, [pixels] in [0, 1]."""
    p = mean.clip(MEAN_MARGIN, 1 - MEAN_MARGIN)
    x = mean_image(split)  # the NLL is linear in the pixels
    return float(-(x * np.log(p) + (1 - x) * np.log1p(-p)).sum())


def pca_sse(fitted: Split, scored: Sequence[Split], most: int = MOST_COMPONENTS) -> list[list[float]]:
    """Of each scored split the squared error per image with 0, 1, ... components of PCA, fitted on `fitted`.

    Exact, by the eigenvectors of the smaller Gram matrix in float64. A part of the pixels is looked at at a time, so
    that long videos and large images fit in memory too.
    """
    n_pixels = fitted.images[0].numel()
    sample = fitted.sample(min(FIT_IMAGES, max(2, FIT_BYTES // n_pixels)))
    by_pixels = n_pixels <= len(sample)
    gram = _gram(sample, by_pixels)
    begin_stage("decomposing the images by PCA")
    values, vectors = _largest(gram, most, max(n_pixels, len(sample)))
    scores = [np.zeros((len(split), len(values))) for split in scored]
    squares = [0.0 for _ in scored]
    for columns in _chunks(n_pixels, "reconstructing by PCA"):
        pixels = _pixels(sample, columns)
        mean = pixels.mean(0)
        basis = vectors[columns] if by_pixels else (pixels - mean).T @ (vectors / np.sqrt(values))  # [pixels, K]
        for number, split in enumerate(scored):
            deviations = _pixels(split, columns) - mean
            squares[number] += float(np.vdot(deviations, deviations))
            scores[number] += deviations @ basis
    parts = zip(squares, scores, strict=True)
    errors = [np.append(square, square - np.square(score).sum(0).cumsum()) / len(score) for square, score in parts]
    return [error.clip(min=0).tolist() for error in errors]


def _gram(sample: Split, by_pixels: bool) -> Array:
    """Inner products of the centred pixels, [pixels, pixels], or of the centred images, [images, images]."""
    if by_pixels:
        pixels = _pixels(sample, slice(None))
        pixels -= pixels.mean(0)
        return pixels.T @ pixels
    gram = np.zeros((len(sample), len(sample)))
    for columns in _chunks(sample.images[0].numel(), "comparing the images for PCA"):
        pixels = _pixels(sample, columns)
        pixels -= pixels.mean(0)
        gram += pixels @ pixels.T
    return gram


def _largest(gram: Array, most: int, longest: int) -> tuple[Array, Array]:
    """The largest eigenvalues [K], falling, and their eigenvectors [n, K]; none that are 0 but for rounding."""
    n = len(gram)
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=[max(0, n - most), n - 1], overwrite_a=True)
    rank = int((values > values[-1] * longest * np.finfo(np.float64).eps).sum())
    return values[::-1][:rank], vectors[:, ::-1][:, :rank]


def _chunks(n_pixels: int, what: str) -> Iterator[slice]:
    advance = begin_stage(what, n_pixels, "pixels")
    for start in range(0, n_pixels, CHUNK):
        yield slice(start, start + CHUNK)
        advance(min(CHUNK, n_pixels - start))


def _pixels(split: Split, columns: slice) -> Array:
    """These pixels of the split's images in [0, 1], [M, pixels]."""
    pixels = split.images.flatten(1)[:, columns][split.rows].numpy().astype(np.float64)
    pixels /= 255
    return pixels
