"""Feature extractors for the Frechet distance, by name. Never compare distances of different extractors."""

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
        """The extractor's key in FEATURES; the classifier adds a digest of its weights. Stored with every distance."""

    def __call__(self, images: Tensor) -> Tensor:
        """Maps images [B, C, H, W] or videos [B, C, T, H, W], float in [0, 1], to features, float32 [B, F].

        images: on the extractor's device, any B; the extractor splits them into batches. The features of a video are
        the mean over its frames. NaN pixels give NaN features.
        """


FEATURES: dict[str, Entry] = {
    "classifier": Entry("benchmark.metrics.classifier:load", "a small network trained on the dataset's labels"),
    "data": Entry("benchmark.metrics.by_kind.data_space:load", "the scaled values of the rows of a table"),
    "inception": Entry("benchmark.metrics.inception:load", "the papers' FID; its weights are downloaded once (96 MB)"),
}


def load_features(name: str, dataset: Dataset, device: torch.device) -> Features:
    """Loads the extractor `name` for the dataset's images on `device`; `classifier:DIGEST` demands those weights.

    The first call for a dataset trains its `classifier`; the first call of `inception` downloads its weights. Raises
    InputError for an unknown name, for one of images where the data are rows of a table or the other way round, and for
    weights that are not available or differ from the digest.
    """
    kind = features_kind(name)
    if kind not in FEATURES:
        raise InputError(unknown_name("features", name, FEATURES))
    if not dataset.is_images and kind != "data":
        raise InputError(f"features {kind} are of images, and {dataset.name} has rows; expected data, or auto")
    load: Callable[[Dataset, torch.device], Features] = FEATURES[kind].load()
    features = load(dataset, device)
    if name not in (kind, features.name):
        got = f"features is {name}, but of dataset {dataset.name} this machine has {features.name}"
        raise InputError(f"{got}; expected the same weights: run the suite again, with features {kind}")
    return features


def resolve_features(name: str, dataset: Dataset, device: torch.device) -> str:
    """Resolves `auto`: data for rows; else Inception on a GPU, the classifier on a CPU.

    There Inception takes 0.1 s an image.
    """
    if name != "auto":
        return name
    if not dataset.is_images:
        return "data"
    return "inception" if device.type == "cuda" else "classifier"


def frames_as_batch(images: Tensor) -> Tensor:
    """Reshapes videos [B, C, T, H, W] to frames [B * T, C, H, W]; returns images unchanged."""
    return images.transpose(1, 2).flatten(0, 1) if images.ndim == 5 else images


def mean_over_frames(features: Tensor, batch: int) -> Tensor:
    """Averages frame features [B * T, F] over the frames of each video: [B, F]."""
    return features.reshape(batch, -1, features.shape[-1]).mean(1)  # [B, T, F] -> [B, F]
