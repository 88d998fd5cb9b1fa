"""The VAE that every backbone builds: an encoder and a decoder around one latent interface."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from benchmark.datasets.arrays.source import kept_dtype
from benchmark.datasets.scaling import BYTES, Scaling
from benchmark.errors import InputError
from searchers.parts.likelihoods import Bernoulli, Likelihood
from searchers.parts.objectives import noise_dim, prior_codes

EMBEDDED = 1_000  # samples at a time
FRESH_SD = 0.1  # standard deviation of an added latent's posterior mean if the encoder's features have variance 1


class VAE(nn.Module):
    """A VAE in five parts: encoder body, mean head, log-variance head, the decoder's first layer, decoder body.

    encoder: x [B, *image_shape] -> [B, features]. decoder: [B, decoder_in.out_features] -> outputs [B, *image_shape].
    likelihood: p(x | z) given the outputs. scaling: from the data's own units to x. sampler: see
    `searchers.parts.objectives.VAE`; a model that has one keeps all its latents.
    2D convolutions store their weights channels-last, which is faster. Outputs are float32 even under autocast, since
    likelihoods and KL terms need the precision.
    """

    def __init__(
        self, encoder: nn.Module, features: int, latent_dim: int, decoder_features: int, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean_head = nn.Linear(features, latent_dim)
        self.logvar_head = nn.Linear(features, latent_dim)
        self.decoder_in = nn.Linear(latent_dim, decoder_features)
        self.decoder = decoder
        self.likelihood: Likelihood = Bernoulli()
        self.scaling: Scaling = BYTES
        self.sampler: nn.Module | None = None
        self.image_shape: tuple[int, ...] | None = None  # of the samples that it was built for, where that is known
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @property
    def latent_dim(self) -> int:
        """The number of latents n."""
        return self.mean_head.out_features

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps x [B, *image_shape], images in [0, 1], to the posterior's mean and log-variance, [B, n] each."""
        h = self.encoder(self.likelihood.inputs(x))
        return _as_float32(self.mean_head(h)), _as_float32(self.logvar_head(h))

    def decode(self, z: Tensor) -> Tensor:
        """Maps z [B, n] to outputs [B, *image_shape], whose `likelihood.mean` is the image or the row."""
        outputs: Tensor = self.decoder(self.decoder_in(z))
        return _as_float32(outputs)

    @torch.no_grad()
    def sample(self, n: int, generator: Generator) -> Tensor:
        """Generates n images in [0, 1], or rows, without noise: [n, *image_shape]. generator: on the model's device."""
        noise = self.decoder_in.weight.new_empty(n, noise_dim(self)).normal_(generator=generator)
        return self.likelihood.mean(self.decode(prior_codes(self, noise)))

    @torch.no_grad()
    def embed(self, data: Any) -> tuple[Tensor, Tensor]:
        """The posterior of data in their own units: mean and log-variance, [N, n] each, on the CPU.

        data: [N, *image_shape], a tensor, an array or a DataFrame: bytes of images, rows of a table as they were before
        scaling. Raises InputError for samples of another shape.
        """
        device, scaling = self.mean_head.weight.device, self.scaling
        samples = _tensor(data)
        if self.image_shape is not None and samples.shape[1:] != self.image_shape:
            expected = ", ".join(map(str, ("N", *self.image_shape)))
            raise InputError(
                f"got data {list(samples.shape)}; expected [{expected}]: the columns that it was trained on"
            )
        parts = [self.encode(scaling(part).to(device)) for part in samples.split(EMBEDDED)]
        mean, logvar = (torch.cat(values).cpu() for values in zip(*parts, strict=True))
        return mean, logvar

    @torch.no_grad()
    def generate(self, z: Any) -> Tensor:
        """The data in their own units that the decoder expects for codes [N, n]: float64 [N, *image_shape], on the CPU.

        z: a tensor or an array. Without the likelihood's noise.
        """
        weight = self.decoder_in.weight
        parts = _tensor(z).to(weight.device, weight.dtype).split(EMBEDDED)
        return torch.cat([self.scaling.undo(self.likelihood.mean(self.decode(part)).cpu()) for part in parts])

    def keep_latents(self, indices: Sequence[int], optimizer: Optimizer | None = None) -> None:
        """Removes all latents except `indices`, in place, from both heads and the decoder's first layer.

        The parameters stay the same objects, so the optimizer continues to train them. Its per-element state (Adam's
        moments) is sliced too. Raises ValueError unless the indices are ascending, in range and not empty.
        """
        if not indices or list(indices) != sorted(set(indices)) or not 0 <= indices[0] <= indices[-1] < self.latent_dim:
            raise ValueError(
                f"got latents {list(indices)} to keep; expected ascending ones in 0..{self.latent_dim - 1}"
            )
        index = torch.tensor(indices, device=self.mean_head.weight.device)
        for head in (self.mean_head, self.logvar_head):
            _slice(head.weight, 0, index, optimizer)
            _slice(head.bias, 0, index, optimizer)
            head.out_features = len(indices)
        _slice(self.decoder_in.weight, 1, index, optimizer)
        self.decoder_in.in_features = len(indices)

    def add_latents(self, n: int, generator: Generator, optimizer: Optimizer | None = None) -> None:
        """Appends n fresh latents, in place, to both heads and the decoder's first layer.

        The decoder's weights for them start at 0, so reconstructions do not change. Their posterior means vary a little
        over the images, so that the decoder can learn from them. Their optimizer state starts at 0. generator: on the
        CPU. Raises ValueError if n is negative.
        """
        if n < 0:
            raise ValueError(f"got {n} latents to add; expected at least 0")
        features = self.mean_head.in_features
        mean_weight = torch.randn(n, features, generator=generator) * (FRESH_SD / features**0.5)
        for head, weight in ((self.mean_head, mean_weight), (self.logvar_head, torch.zeros(n, features))):
            _extend(head.weight, 0, weight, optimizer)
            _extend(head.bias, 0, torch.zeros(n), optimizer)
            head.out_features += n
        _extend(self.decoder_in.weight, 1, torch.zeros(self.decoder_in.out_features, n), optimizer)
        self.decoder_in.in_features += n

    @torch.no_grad()
    def fold_prior(self, variance: Tensor) -> None:
        """Rescales each latent j so that its prior N(0, variance_j), variance [n], becomes N(0, 1).

        Works in place. Posterior and prior stay the same distributions over images.
        """
        sd = variance.sqrt()
        for tensor in (self.mean_head.weight, self.mean_head.bias):
            tensor.div_(sd[:, None] if tensor.ndim == 2 else sd)
        self.logvar_head.bias.sub_(variance.log())
        self.decoder_in.weight.mul_(sd)


def _tensor(data: Any) -> Tensor:
    """A tensor as it is; a copy of anything else, which may be read-only, or of a type that torch lacks."""
    if isinstance(data, Tensor):
        return data
    values = np.array(data)
    return torch.from_numpy(values.astype(np.float64 if values.dtype == object else kept_dtype("data", values.dtype)))


def _as_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _slice(parameter: Tensor, dim: int, index: Tensor, optimizer: Optimizer | None) -> None:
    def select(values: Tensor) -> Tensor:
        return values.index_select(dim, index)

    _replace(parameter, select(parameter.data), optimizer, select)


def _extend(parameter: Tensor, dim: int, fresh: Tensor, optimizer: Optimizer | None) -> None:
    values = torch.cat([parameter.data, fresh.to(parameter)], dim)
    _replace(parameter, values, optimizer, lambda v: torch.cat([v, torch.zeros_like(fresh).to(v)], dim))


def _replace(
    parameter: Tensor, values: Tensor, optimizer: Optimizer | None, new_state: Callable[[Tensor], Tensor]
) -> None:
    """Gives the parameter new values and maps its per-element optimizer state by `new_state`."""
    shape = parameter.shape
    parameter.grad = None
    parameter.data = values.contiguous()
    state = optimizer.state.get(parameter, {}) if optimizer else {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == shape:
            state[name] = new_state(value).contiguous()
