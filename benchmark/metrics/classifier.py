"""Features of a small classifier that is trained on the dataset itself. It needs no download and suits small images."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor, nn

from benchmark.datasets.base import Dataset, Split
from benchmark.metrics.features import frames_as_batch, mean_over_frames
from benchmark.paths import cache_file
from benchmark.stages import as_stage, begin_stage
from benchmark.store.tensor_files import read_tensors, write_tensors

VERSION = 2  # part of the cache key: raise it when the network, its training or the file format changes
CHANNELS = (16, 32, 64)
N_FEATURES = 64
STEPS = 1_000
BATCH = 128  # images or frames in a training step
LEARNING_RATE = 1e-3
SEED = 0
N_CLUSTERS = 10
MAX_CLUSTERED = 10_000  # images that K-means is fitted on
EVAL_BATCH = 1_000


class Network(nn.Module):
    """Three 3x3 convolutions of stride 2, a linear layer to 64 features, and a linear layer to the classes."""

    def __init__(self, image_shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape[0], image_shape[-2], image_shape[-1]
        layers: list[nn.Module] = []
        for out in CHANNELS:
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.ReLU()]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, N_FEATURES), nn.ReLU())
        self.head = nn.Linear(N_FEATURES, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Maps [B, C, H, W] or [B, C, T, H, W] in [0, 1] to features [B, 64]."""
        features: Tensor = self.body(frames_as_batch(images))
        return mean_over_frames(features, len(images))

    def forward(self, images: Tensor) -> Tensor:
        """Maps [B, C, H, W] or [B, C, T, H, W] in [0, 1] to logits [B, n_classes]."""
        logits: Tensor = self.head(self.features(images))
        return logits


@dataclass(frozen=True)
class ClassifierFeatures:
    """The penultimate features of the trained network, [B, 64]. name: `classifier:` and a digest of the weights.

    Another machine or another version of torch may train other weights; do not compare their distances.
    """

    network: Network
    name: str

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return torch.cat([self.network.features(batch) for batch in torch.split(images, EVAL_BATCH)])


def load(dataset: Dataset, device: torch.device) -> ClassifierFeatures:
    """Loads the dataset's classifier from the cache, or trains it on the CPU (seconds to a minute).

    It learns the labels of the training split, or K-means clusters if there are fewer than two classes. The result
    depends only on the dataset's content: not on the global random state, the number of threads or the device.
    dataset: in partition 0. FIDs of all seeds are on its one classifier, so that they compare; the images that it has
    learned may be test images of another partition, and are the same for every searcher.
    """
    if dataset.partition:
        raise ValueError(f"got a dataset in partition {dataset.partition}, expected it as it was loaded")
    network = _empty_network(dataset.image_shape, _n_classes(dataset))
    file = classifier_file(dataset)
    if not _load_weights(network, file):
        _train(network, dataset)
        write_tensors(file, network.state_dict())
    name = f"classifier:{_digest(network)}"
    return ClassifierFeatures(network.requires_grad_(False).to(device), name)


def classifier_file(dataset: Dataset) -> Path:
    """The cache file of the weights of this dataset's classifier."""
    identity = (VERSION, dataset.fingerprint, dataset.image_shape, _n_classes(dataset))
    return cache_file("classifiers", identity, ".pt")


def _n_classes(dataset: Dataset) -> int:
    return dataset.n_classes if dataset.n_classes >= 2 else N_CLUSTERS


def _empty_network(image_shape: tuple[int, ...], n_classes: int) -> Network:
    """Builds a network without weights, on the meta device, so that no layer draws from the global generator."""
    with torch.device("meta"):
        network = Network(image_shape, n_classes)
    return network.to_empty(device="cpu")


def _load_weights(network: Network, file: Path) -> bool:
    """Loads the weights; returns False if the file is missing, damaged or of another network."""
    try:
        network.load_state_dict(read_tensors(file))
    except Exception:  # torch raises many kinds of errors for broken files
        return False
    return True


def _digest(network: Network) -> str:
    """A hash of the weights, 8 hexadecimal digits, that does not depend on the version of torch."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


@torch.enable_grad()
def _train(network: Network, dataset: Dataset) -> None:
    with _one_thread():
        generator = torch.Generator().manual_seed(SEED)
        _initialise(network, generator)
        split = dataset.train
        labels = split.labels[split.rows].cpu() if dataset.n_classes >= 2 else _cluster(split, generator)
        frames = dataset.image_shape[1] if len(dataset.image_shape) == 4 else 1
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in as_stage(range(STEPS), "training the classifier", "steps"):
            positions = torch.randint(len(split), (max(1, BATCH // frames),), generator=generator)
            loss = F.cross_entropy(network(_pixels(split, positions)), labels[positions])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()


def _initialise(network: Network, generator: Generator) -> None:
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)


def _pixels(split: Split, positions: Tensor) -> Tensor:
    return split.inputs(positions, torch.device("cpu"))


def _cluster(split: Split, generator: Generator) -> Tensor:
    """Labels the split's images by K-means, int64 [M], after shrinking them to 8x8 (videos to their mean frame)."""
    shrunk = []
    advance = begin_stage("shrinking for K-means", len(split), "images")
    for positions in torch.split(torch.arange(len(split)), EVAL_BATCH):
        pixels = _pixels(split, positions)
        frames = F.adaptive_avg_pool2d(frames_as_batch(pixels), 8).flatten(1)
        shrunk.append(mean_over_frames(frames, len(positions)))  # [B, C * 64]
        advance(len(positions))
    begin_stage("clustering the images by K-means")
    points = torch.cat(shrunk)
    fitted = points[torch.randperm(len(points), generator=generator)[:MAX_CLUSTERED]].numpy()
    n_clusters = min(N_CLUSTERS, len(np.unique(fitted, axis=0)))
    with threadpool_limits(1):
        kmeans = KMeans(n_clusters, n_init=1, random_state=SEED).fit(fitted)
        return torch.from_numpy(kmeans.predict(points.numpy())).long()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Uses one thread in the block, so that sums have the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
