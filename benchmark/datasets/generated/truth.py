"""How many latents pay under the bench's likelihood, by the theory of probabilistic PCA.

Near pixels p the Bernoulli likelihood is a Gaussian of variance p (1 - p), at most 1/4. A linear VAE with a Gaussian
decoder of variance g uses a direction iff the images' variance v along it is above g, and gains (v / g - 1 - log(v /
g)) / 2 nats an image by it: less error, paid in KL (Tipping and Bishop 1999; Lucas et al. 2019, 1911.02469). The size
that is asked for is the smallest one that loses at most MARGIN of all that latents are worth, as the rule
`smallest-good` asks.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from searchers.rule import ChoiceRule

MARGIN = ChoiceRule.margin
SAMPLE = 500  # images on which the worth of a factor is measured
LEAST_VARIANCE = 1e-6  # of a pixel, so that none divides by 0


def fewest(ratios: ArrayLike) -> int:
    """How many directions are enough: without the others at most MARGIN of all that they gain together is lost.

    ratios: of each direction its variance over the likelihood's, [n]; one of 1 or less gains nothing.
    """
    paying = np.maximum(ratios, 1.0)
    gains = np.sort((paying - 1 - np.log(paying)) / 2)  # nats an image
    return int((gains.cumsum() > MARGIN * gains.sum()).sum())


def factor_ratios(render: Callable[[Tensor], Tensor], factors: Tensor) -> list[float]:
    """For each factor of images, the variance of the pixels that it causes alone over the likelihood's.

    render: from factors [N, n] to pixels in [0, 1], float64 [N, D]. Each factor in turn is drawn anew, from another
    image; half the mean squared change of a pixel is the variance. Exact for linear images, else a measure of size.
    """
    sample = factors[:SAMPLE]
    pixels, ratios = render(sample), []
    for number in range(sample.shape[1]):
        other = sample.clone()
        other[:, number] = other[:, number].roll(1)
        changed = render(other)
        middle = (pixels + changed) / 2
        likelihood = (middle * (1 - middle)).clamp(min=LEAST_VARIANCE)
        ratios.append(float(((pixels - changed).square() / (2 * likelihood)).sum(1).mean()))
    return ratios


def make_rare(factors: Tensor, column: int, share: float, generator: torch.Generator) -> None:
    """Sets a factor of [N, n] to 0 in all but this share of the images, in place."""
    varies = torch.rand(len(factors), generator=generator, dtype=torch.float64) < share
    factors[:, column] *= varies.to(factors.dtype)
