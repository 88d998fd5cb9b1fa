"""Images of a linear Gaussian model with a decaying spectrum, whose PCA is known, and so how many latents pay."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from scipy.linalg import hadamard

from benchmark.datasets.base import Dataset
from benchmark.datasets.generated.pixels import Images, generated
from benchmark.datasets.generated.random_decoder import N_CLASSES, octants
from benchmark.datasets.generated.truth import fewest
from searchers.parts.ranges import Share

SIDE = 32
SEED = 13
RANK = 24  # directions that vary
MOST_VARIANCE = 0.25  # of a Bernoulli pixel, where its mean is 1/2
# With more of either too many pixels would leave [0, 1] and be cut off.
Contrast = Annotated[float, Ge(0.01), Le(0.18)]
Noise = Annotated[float, Ge(0), Le(0.1)]


def load(n_images: Images = 7_000, contrast: Contrast = 0.16, decay: Share = 0.7, noise: Noise = 0.0) -> Dataset:
    """Generates grey images [N, 1, 32, 32]: 1/2 plus 24 fixed Walsh patterns with independent normal weights.

    contrast: the standard deviation of a pixel, the same for all, before noise. decay: of a pattern's variance over
    that of the one before. The patterns are orthogonal, so they are the principal components. The label is the octant
    of the first three weights (8 classes).

    The accepted sizes follow from the variances (see `truth`): from those that are enough where a pixel's Bernoulli
    variance is 1/4, to all that pay where it is as low as the mean over the pixels' range, 1/4 - contrast^2. A smaller
    contrast, or more noise beside the same signal, changes the answer as the noise level of a Gaussian decoder does.
    """
    variances = spectrum(contrast, decay)
    patterns = torch.from_numpy(hadamard(SIDE * SIDE)[1 : RANK + 1]).double() / SIDE  # rows of length 1
    generator = torch.Generator().manual_seed(SEED)
    weights = torch.randn(n_images, RANK, generator=generator, dtype=torch.float64)
    pixels = 0.5 + (weights * torch.from_numpy(variances).sqrt()) @ patterns
    truth = accepted(variances + noise**2, contrast)
    return generated("linear", pixels, SIDE, octants(weights), N_CLASSES, noise, truth)


def spectrum(contrast: float, decay: float) -> np.ndarray:
    """The variances of the images along the patterns, falling, [24]; their sum is that of all pixels."""
    falling = decay ** np.arange(RANK, dtype=np.float64)
    return np.asarray(SIDE**2 * contrast**2 * falling / falling.sum())


def accepted(variances: np.ndarray, contrast: float) -> tuple[int, int]:
    """The fewest and the most latents for these variances along the patterns."""
    return fewest(variances / MOST_VARIANCE), int((variances > MOST_VARIANCE - contrast**2).sum())
