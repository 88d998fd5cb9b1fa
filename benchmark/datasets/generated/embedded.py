"""Images on spheres and tori, which need more numbers than they have dimensions."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from benchmark.datasets.base import Dataset
from benchmark.datasets.generated.pixels import Images, Noise, generated
from benchmark.datasets.generated.random_decoder import N_CLASSES, SIDE, RandomDecoder, octants
from benchmark.datasets.generated.truth import factor_ratios, fewest, make_rare
from searchers.parts.ranges import Share

SEED = 11
SphereDim = Annotated[int, Ge(2), Le(16)]
TorusDim = Annotated[int, Ge(2), Le(16)]


def load_sphere(dim: SphereDim = 4, n_images: Images = 7_000, noise: Noise = 0.0) -> Dataset:
    """Generates grey images [N, 1, 16, 16] of points drawn evenly on a sphere of `dim` dimensions in dim + 1.

    The images are made by a random decoder of the point's coordinates; the label is the octant of the first three (8
    classes). Accepted are dim latents, which cover a sphere with a tear, to the dim + 1 that hold it whole.
    """
    generator = torch.Generator().manual_seed(SEED)
    decoder = RandomDecoder(dim + 1, generator)
    points = torch.randn(n_images, dim + 1, generator=generator, dtype=torch.float64)
    points *= math.sqrt(dim + 1) / points.norm(dim=1, keepdim=True)  # coordinates of variance 1
    return generated("sphere", decoder(points), SIDE, octants(points), N_CLASSES, noise, (dim, dim + 1))


def load_torus(
    dim: TorusDim = 3, n_images: Images = 7_000, noise: Noise = 0.0, decay: Share = 1.0, rare: Share = 1.0
) -> Dataset:
    """Generates grey images [N, 1, 16, 16] of `dim` angles, drawn evenly, by a random decoder of their 2 dim cosines
    and sines.

    The label is the octant of the first three of these (8 classes). Accepted are dim latents, which tear each circle,
    to the 2 dim that hold all whole; fewer where some angles are worth so little (see `truth`). decay: of the circles'
    radii, each one's over the one's before. rare: the share of the images in which the last angle is not 0.
    """
    generator = torch.Generator().manual_seed(SEED)
    decoder = RandomDecoder(2 * dim, generator)
    angles = 2 * math.pi * torch.rand(n_images, dim, generator=generator, dtype=torch.float64)
    make_rare(angles, dim - 1, rare, generator)
    radii = math.sqrt(2) * decay ** torch.arange(dim, dtype=torch.float64)  # coordinates of variance 1 at first

    def embed(angles: Tensor) -> Tensor:
        return torch.stack([radii * angles.cos(), radii * angles.sin()], dim=2).flatten(1)  # [N, dim, 2] to [N, 2 dim]

    truth = (fewest(factor_ratios(lambda some: decoder(embed(some)), angles)), 2 * dim)
    points = embed(angles)
    return generated("torus", decoder(points), SIDE, octants(points), N_CLASSES, noise, truth)
