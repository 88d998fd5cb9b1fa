"""Images on a manifold of known dimension, so that the right latent size is known."""

from typing import Annotated

import torch
from annotated_types import Ge, Le

from benchmark.datasets.base import Dataset, split_dataset

SIDE = 16
HIDDEN = 64
GAIN = 1.5
N_TRAIN, N_TEST = 6_000, 1_000
SEED = 7
LatentDim = Annotated[int, Ge(3), Le(HIDDEN)]  # the hidden layer limits the dimension


def load(latent_dim: LatentDim = 5) -> Dataset:
    """Generates 7,000 grey images [N, 1, 16, 16] with a fixed random decoder latent_dim-64-256 (tanh, then sigmoid).

    The true latent dimension is `latent_dim`. The label is the octant of the first three coordinates (8 classes).
    """
    generator = torch.Generator().manual_seed(SEED)
    w1 = torch.randn(latent_dim, HIDDEN, generator=generator) * GAIN / latent_dim**0.5
    w2 = torch.randn(HIDDEN, SIDE * SIDE, generator=generator) * GAIN / HIDDEN**0.5
    z = torch.cat([torch.randn(n, latent_dim, generator=generator) for n in (N_TRAIN, N_TEST)])
    # Double precision: the rounded bytes then do not depend on the order in which a machine sums.
    pixels = torch.sigmoid(2 * torch.tanh(z.double() @ w1.double()) @ w2.double())
    images = (pixels * 255).round().to(torch.uint8).reshape(-1, 1, SIDE, SIDE)
    labels = ((z[:, :3] > 0) * torch.tensor([1, 2, 4])).sum(1)
    rest, test = torch.arange(len(images)).split([N_TRAIN, N_TEST])
    return split_dataset("manifold", images, labels, n_classes=8, train_test=(rest, test))
