"""The papers' FID features: Inception v3 converted from TensorFlow, as torch-fidelity computes them."""

import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.base import Dataset
from benchmark.errors import InputError
from benchmark.metrics.features import frames_as_batch, mean_over_frames

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_PATH = f"inception/{WEIGHTS_FILE}"  # below data_root()
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_FILE}"
WEIGHTS_BYTES = 95_628_359
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LAYER = "2048"
EVAL_BATCH = 50  # images; enlarged to 299x299, each takes about 4 MB in the first layers
GPU_BATCH = 250  # images, with which a GPU is busy


@dataclass(frozen=True)
class InceptionFeatures:
    """The 2,048 features of the last pooling layer, [B, 2048].

    Pixels are rounded to bytes, since the papers compute FID from saved images. Grey images are repeated to 3 channels.
    A GPU computes in float16, whose products are as exact as TF32's, its default for convolutions in float32.
    """

    network: Any  # torch-fidelity has no types
    name: str = "inception"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        frames = frames_as_batch(images)  # [B * T, C, H, W]
        features = torch.cat(
            [self._features(part) for part in torch.split(frames, GPU_BATCH if frames.is_cuda else EVAL_BATCH)]
        )
        return mean_over_frames(features, len(images))

    def _features(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise ValueError(f"got images of shape {tuple(images.shape)}, expected 1 or 3 channels")
        pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
        with torch.autocast(images.device.type, torch.float16, enabled=images.is_cuda):
            (features,) = self.network(pixels)
        # A byte cannot be NaN. Without this line a diverged model would get a finite distance.
        is_finite = images.isfinite().flatten(1).all(1, keepdim=True)  # [B, 1]
        return torch.where(is_finite, features, torch.nan)


def load(dataset: Dataset, device: torch.device) -> InceptionFeatures:
    """Loads Inception from data_root()/inception/ and downloads it if it is missing; it is the same for every dataset.

    Raises InputError if the weights are not available or their SHA-256 is wrong.
    """
    remote = RemoteFile(WEIGHTS_PATH, WEIGHTS_URL, WEIGHTS_SHA256, WEIGHTS_BYTES)
    try:
        weights = fetch("inception", remote)
    except (InputError, OSError) as error:
        raise InputError(f'{error}; or choose features = "classifier"') from error
    # torch-fidelity unpickles any code in its file, so we give it a copy that contains only tensors.
    tensors_only = io.BytesIO()
    torch.save(torch.load(weights, weights_only=True), tensors_only)
    tensors_only.seek(0)
    network = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=tensors_only)
    return InceptionFeatures(network.to(device))
