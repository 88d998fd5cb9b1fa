"""Feature extractors for the Frechet distance, by name. Distances of different extractors must never be compared."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from benchmark.datasets.base import Dataset
from benchmark.errors import InputError
from benchmark.text import features_kind
from searchers.registry import Entry, unknown_name


class Features(Protocol):
    """Maps images to feature vectors."""

    @property
    def name(self) -> str:
        """The extractor's key in FEATURES, of the classifier with a digest of its weights; beside every distance."""

    def __call__(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] or video [B, C, T, H, W], float in [0, 1] on the extractor's device -> float32 [B, F].

        A video's features are the mean of its frames'. Any B: batches are cut inside. NaN pixels give NaN features.
        """


FEATURES: dict[str, Entry] = {
    "classifier": Entry("benchmark.metrics.classifier:load", "a small network trained on the dataset's labels"),
    "inception": Entry("benchmark.metrics.inception:load", "the papers' FID; its weights are downloaded once (96 MB)"),
}


def load_features(name: str, dataset: Dataset, device: torch.device) -> Features:
    """The extractor `name` on `device`, ready for `dataset`'s images; `classifier:DIGEST` is the one of these weights.

    The first call of `classifier` for a dataset trains it, that of `inception` downloads its weights. Raises
    InputError for an unknown name, and for weights that cannot be had or are others.
    """
    kind = features_kind(name)
    if kind not in FEATURES:
        raise InputError(unknown_name("features", name, FEATURES))
    load: Callable[[Dataset, torch.device], Features] = FEATURES[kind].load()
    features = load(dataset, device)
    if name not in (kind, features.name):
        got = f"features is {name}, but of dataset {dataset.name} this machine has {features.name}"
        raise InputError(f"{got}; expected the same weights: run the suite again, with features {kind}")
    return features


def frames_as_batch(images: Tensor) -> Tensor:
    """Video [B, C, T, H, W] -> [B * T, C, H, W]; images stay as they are."""
    return images.transpose(1, 2).flatten(0, 1) if images.ndim == 5 else images


def mean_over_frames(features: Tensor, batch: int) -> Tensor:
    """Frame features [B * T, F] -> [B, F]."""
    return features.reshape(batch, -1, features.shape[-1]).mean(1)  # [B, T, F] -> [B, F]
