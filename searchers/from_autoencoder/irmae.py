"""IRMAE: linear layers between encoder and decoder, with which codes get low-rank (2010.00679, 2305.01090)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from searchers.base import Problem
from searchers.from_autoencoder.autoencoder import AutoencoderController, FromAutoencoder, map_codes, remove_noise
from searchers.parts.objectives import VAE, Loss
from searchers.parts.ranges import Count, NotNegative, Positive, Share
from searchers.parts.spectrum import variances


@dataclass(frozen=True)
class IRMAE(FromAutoencoder):
    """Trains by squared error; as many latents as principal axes of the codes stand out (Jing et al. 2020).

    layers: square linear ones without bias; gradient descent on their product favours few directions. weight_decay:
    times half the sum of their squared weights, in units of the squared error of an image; it empties the directions
    that the error does not need (IRMAE-WD, Zeng et al. 2023, 4 layers). least_fall: of the variance from one
    principal axis to the next, for a gap; the papers show the spectrum and give no threshold, so it is ours, as is
    `share`: of the variance, where there is no gap.
    """

    layers: Count = 4
    weight_decay: NotNegative = 0.0
    least_fall: Positive = 10.0
    share: Share = 0.999

    def controller(self, latent_dim: int, problem: Problem) -> "IRMAEController":
        return IRMAEController(self, latent_dim, problem.seed)


class IRMAEController(AutoencoderController):
    """maps: the linear layers, [layers, n, n]; drawn as PyTorch draws such layers."""

    def __init__(self, settings: IRMAE, latent_dim: int, seed: int) -> None:
        super().__init__(settings.least_fall, settings.share)
        self.weight_decay = settings.weight_decay
        maps = torch.empty(settings.layers, latent_dim, latent_dim)
        bound = latent_dim**-0.5
        self.maps = nn.Parameter(maps.uniform_(-bound, bound, generator=Generator().manual_seed(seed)))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        error = vae.likelihood.squared_error(vae.decode(vae.encode(x)[0] @ self._product()), x).mean()
        return Loss(error + 0.5 * self.weight_decay * self.maps.square().sum())

    @property
    def capturable(self) -> bool:
        return True

    def variances(self, codes: Tensor) -> NDArray[np.float64]:
        return variances(codes)

    def fold(self, vae: VAE) -> None:
        map_codes(vae, self._product())
        remove_noise(vae)

    def _product(self) -> Tensor:
        product = self.maps[0]
        for matrix in self.maps[1:]:
            product = product @ matrix
        return product
