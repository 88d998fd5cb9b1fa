"""Least volume: the codes' volume is made small under a decoder that cannot stretch them (2404.17773)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from searchers.base import Problem
from searchers.from_autoencoder.autoencoder import AutoencoderController, FromAutoencoder, remove_noise
from searchers.parts.objectives import VAE, Loss
from searchers.parts.ranges import Positive, Share

ETA = 1.0  # added to each standard deviation, so that one of 0 does not make the volume 0 (section 3)
SQUARINGS = 4
Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d


@dataclass(frozen=True)
class LeastVolume(FromAutoencoder):
    """As many latents as have a standard deviation that has not collapsed (Chen and Fuge 2024).

    weight: of the geometric mean over latents of (standard deviation + 1), against the Bernoulli NLL per pixel (the
    authors' code: 3e-4 to 3e-2, mostly 3e-3). least_fall: of the standard deviation from one latent to the next (their
    dynamic pruning removes those below 2 % of the one before, hence 50). share: of the variance, where none falls so.
    """

    weight: Positive = 3e-4
    least_fall: Positive = 50.0
    share: Share = 0.999

    def controller(self, latent_dim: int, problem: Problem) -> "LeastVolumeController":
        return LeastVolumeController(self)


class LeastVolumeController(AutoencoderController):
    """Keeps every layer of the decoder from stretching: its largest singular value stays at most 1."""

    def __init__(self, settings: LeastVolume) -> None:
        super().__init__(settings.least_fall**2, settings.share)
        self.weight = settings.weight

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        z = vae.encode(x)[0]
        sd = (z.var(0, correction=0) + 1e-12).sqrt()
        volume = (sd + ETA).log().mean().exp()
        return Loss(vae.likelihood.nll(vae.decode(z), x) + self.weight * x[0].numel() * volume)

    def after_step(self, vae: VAE) -> None:
        for module in (vae.decoder_in, *vae.decoder.modules()):
            if isinstance(module, nn.Linear | Convolution):
                module.weight.div_(stretch(module).clamp(min=1))
            elif next(module.parameters(recurse=False), None) is not None:
                got = f"a decoder with {type(module).__name__}"
                raise ValueError(f"least-volume got {got}; expected linear layers and convolutions: use mlp or conv")

    @property
    def capturable(self) -> bool:
        return True

    def fold(self, vae: VAE) -> None:
        remove_noise(vae)

    def variances(self, codes: Tensor) -> NDArray[np.float64]:
        return np.sort(codes.double().var(0, correction=0).cpu().numpy())[::-1]


def stretch(layer: nn.Linear | Convolution) -> Tensor:
    """An upper bound of a linear layer's or a convolution's largest singular value, at most 9 % above for 128 rows.

    From lambda^16 <= |G^16| of the weights' Gram matrix G. A convolution is at most its weights as a matrix times the
    square root of the number of patches that an input or output pixel lies in.
    """
    weight = layer.weight.detach().flatten(1)
    gram = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    log_scale = torch.zeros((), device=gram.device)
    for _ in range(SQUARINGS):
        scale = gram.norm().clamp(min=1e-30)  # of a layer without weights too
        gram, log_scale = (gram / scale) @ (gram / scale), 2 * (log_scale + scale.log())
    largest = ((gram.norm().log() + log_scale) / 2**SQUARINGS).exp()
    patches = 1
    if isinstance(layer, Convolution):
        patches = math.prod(-(-k // s) for k, s in zip(layer.kernel_size, layer.stride, strict=True))
    bound: Tensor = (largest * patches).sqrt()
    return bound
