"""Images without structure, for which no latent size is right: a method that finds one there is not to be trusted."""

import torch

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.datasets.generated.pixels import Images, generated

SIDE = 16
SEED = 17
BATCH = 512


def load_noise(n_images: Images = 7_000) -> Dataset:
    """Generates grey images [N, 1, 16, 16] of independent, uniform pixels; no latent pays.

    The label is whether the first pixel is bright (2 classes).
    """
    generator = torch.Generator().manual_seed(SEED)
    pixels = torch.rand(n_images, SIDE * SIDE, generator=generator, dtype=torch.float64)
    return generated("noise", pixels, SIDE, (pixels[:, 0] > 0.5).long(), 2, noise=0.0, truth=(0, 0))


def load_shuffled(of: str = "digits", n_images: Images = 7_000) -> Dataset:
    """Shuffles the pixels of each image of another dataset by a permutation of its own; labels stay.

    of: the dataset, with its own defaults; up to n_images of its training images are taken. What is left of an image
    is how bright it is, for which one latent may pay.
    """
    source = load_dataset(of)
    split = source.train.sample(n_images)
    generator = torch.Generator().manual_seed(SEED)
    shuffled = []
    for rows in split.rows.split(BATCH):
        values = split.images[rows].flatten(1)
        order = torch.rand(values.shape, generator=generator, dtype=torch.float64).argsort(1)
        shuffled.append(values.gather(1, order).reshape(len(rows), *source.image_shape))
    labels = split.labels[split.rows].clone()
    return split_dataset("shuffled", torch.cat(shuffled), labels, source.n_classes, notes=[f"of {of}"], truth=(0, 1))
