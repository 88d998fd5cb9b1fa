"""One white shape on black: its place, size, rotation and kind vary."""

import math

import torch
from torch import Tensor

from benchmark.datasets.base import Dataset
from benchmark.datasets.generated.pixels import Images, Noise, generated
from benchmark.datasets.generated.truth import factor_ratios, fewest, make_rare
from searchers.parts.ranges import Share

SIDE = 64
SEED = 19
BATCH = 256
LONGEST = (7.0, 13.0)  # pixels, half the length of the smallest and the largest shape
SHORT = 0.5  # of the width over the length
LARGEST_ANGLE = math.pi / 4  # to both sides: no shape looks the same at two angles
N_SHAPES = 3
N_FACTORS = 5


def load(n_images: Images = 3_500, noise: Noise = 0.0, rare: Share = 1.0) -> Dataset:
    """Generates grey images [N, 1, 64, 64] of an ellipse, a rectangle or a triangle, with smooth edges.

    Five factors, drawn evenly and independently: x, y, size, rotation (45 degrees to both sides) and the shape, which
    is the label (3 classes). Accepted are 4 or 5 latents: the shape is a choice among three, which may share a latent
    with another factor; fewer where factors are worth so little (see `truth`). rare: the share of the images that are
    rotated.
    """
    generator = torch.Generator().manual_seed(SEED)
    factors = 2 * torch.rand(n_images, N_FACTORS, generator=generator, dtype=torch.float64) - 1
    make_rare(factors, 3, rare, generator)
    factors[:, 4] = torch.randint(N_SHAPES, (n_images,), generator=generator).double()
    truth = (min(N_FACTORS - 1, fewest(factor_ratios(render, factors))), N_FACTORS)
    return generated("shapes2d", render(factors), SIDE, factors[:, 4].long(), N_SHAPES, noise, truth)


def render(factors: Tensor) -> Tensor:
    """Pixels in [0, 1], float64 [N, 4096]. factors: x, y, size and rotation in [-1, 1] and the shape, [N, 5]."""
    return torch.cat([_rendered(batch) for batch in factors.split(BATCH)])


def _rendered(factors: Tensor) -> Tensor:
    x, y, size, rotation, shape = (column[:, None] for column in factors.T)  # [N, 1] each
    smallest, largest = LONGEST
    room = SIDE / 2 - largest - 1  # how far the centre goes from the middle
    length = smallest + (largest - smallest) * (size + 1) / 2
    width = SHORT * length
    places = torch.arange(SIDE, dtype=torch.float64) + 0.5 - SIDE / 2
    down, right = (grid.flatten() for grid in torch.meshgrid(places, places, indexing="ij"))  # [4096]
    right, down = right - room * x, down - room * y  # [N, 4096]
    cos, sin = (LARGEST_ANGLE * rotation).cos(), (LARGEST_ANGLE * rotation).sin()
    along, across = cos * right + sin * down, cos * down - sin * right
    distances = torch.empty_like(along)  # of each pixel from the edge, negative inside
    for number, edge in enumerate((_ellipse, _rectangle, _triangle)):
        rows = shape[:, 0] == number
        distances[rows] = edge(along[rows], across[rows], length[rows], width[rows])
    return (0.5 - distances).clamp(0, 1)


def _ellipse(along: Tensor, across: Tensor, length: Tensor, width: Tensor) -> Tensor:
    """To first order: (r - 1) over the length of r's gradient, r the distance from the centre in half axes."""
    r = ((along / length).square() + (across / width).square()).sqrt()
    slope = ((along / length.square()).square() + (across / width.square()).square()).sqrt() / r
    return ((r - 1) / slope).nan_to_num(nan=-SIDE)  # in the centre itself


def _rectangle(along: Tensor, across: Tensor, length: Tensor, width: Tensor) -> Tensor:
    return torch.maximum(along.abs() - length, across.abs() - width)


def _triangle(along: Tensor, across: Tensor, length: Tensor, width: Tensor) -> Tensor:
    """With its tip at `length` and its base, twice `width` across, at -length."""
    side = torch.sqrt((2 * length).square() + width.square())
    return torch.maximum(-along - length, (2 * length * across.abs() + width * (along - length)) / side)
