"""Images on a manifold of known dimension, so that the right latent size is known."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from benchmark.datasets.base import Dataset
from benchmark.datasets.generated.pixels import TEST_SHARE, Images, Noise, generated
from benchmark.datasets.generated.random_decoder import HIDDEN, N_CLASSES, SIDE, RandomDecoder, octants
from benchmark.datasets.generated.truth import factor_ratios, fewest, make_rare
from searchers.parts.ranges import Share

SEED = 7
LatentDim = Annotated[int, Ge(3), Le(HIDDEN)]  # the hidden layer limits the dimension


def load(
    latent_dim: LatentDim = 5, n_images: Images = 7_000, noise: Noise = 0.0, decay: Share = 1.0, rare: Share = 1.0
) -> Dataset:
    """Generates grey images [N, 1, 16, 16] with a fixed random decoder latent_dim-64-256 (tanh, then sigmoid).

    The true latent dimension is `latent_dim`; as few are accepted as lose at most 5 % of what all factors are worth
    (see `truth`), which matters where they are many or unequal. The label is the octant of the first three coordinates
    (8 classes). decay: of the factors' strengths, each one's over the one's before. rare: the share of the images in
    which the last factor varies.
    """
    generator = torch.Generator().manual_seed(SEED)
    decoder = RandomDecoder(latent_dim, generator)
    n_test = n_images // TEST_SHARE
    z = torch.cat([torch.randn(n, latent_dim, generator=generator) for n in (n_images - n_test, n_test)])
    make_rare(z, latent_dim - 1, rare, generator)
    factors = z.double()

    def render(factors: Tensor) -> Tensor:
        return decoder(factors * decay ** torch.arange(latent_dim, dtype=torch.float64))

    truth = (fewest(factor_ratios(render, factors)), latent_dim)
    return generated("manifold", render(factors), SIDE, octants(z), N_CLASSES, noise, truth)
