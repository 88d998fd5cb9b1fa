"""The VAE that every backbone builds: an encoder and a decoder around one latent interface."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

FRESH_SD = 0.1  # of an added latent's posterior mean, where the encoder's features have variance 1


class VAE(nn.Module):
    """Encoder body, mean head, log-variance head, the decoder's first layer, decoder body.

    encoder: x [B, *image_shape] -> [B, features]. decoder: [B, decoder_in.out_features] -> logits [B, *image_shape].
    Convolutions keep their weights with the channels last, which is faster. What comes out under autocast is float32
    all the same: likelihoods and KL terms need its precision.
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
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @property
    def latent_dim(self) -> int:
        """Number of latents n."""
        return self.mean_head.out_features

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, *image_shape] in [0, 1] -> posterior mean and log-variance, [B, n] each."""
        h = self.encoder(x)
        return _full(self.mean_head(h)), _full(self.logvar_head(h))

    def decode(self, z: Tensor) -> Tensor:
        """z [B, n] -> logits [B, *image_shape]; their sigmoid is the image."""
        logits: Tensor = self.decoder(self.decoder_in(z))
        return _full(logits)

    def keep_latents(self, indices: Sequence[int], optimizer: Optimizer | None = None) -> None:
        """Removes all latents but `indices`, in place, from both heads and the decoder's first layer.

        The parameters stay the same objects, so the optimizer goes on training them; its per-element state (Adam's
        moments) is sliced with them. Raises ValueError where the indices are not ascending, in range and at least one.
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
        """Adds n fresh latents after the others, in place, in both heads and the decoder's first layer.

        The decoder does not use them at first, so reconstructions stay as they are; their means vary a little over the
        images, so that the decoder has something to learn from. generator: on the CPU. The optimizer's state for them
        is 0. Raises ValueError for a number below 0.
        """
        if n < 0:
            raise ValueError(f"got {n} latents to add; expected at least 0")
        features = self.mean_head.in_features
        means = torch.randn(n, features, generator=generator) * (FRESH_SD / features**0.5)
        for head, weight in ((self.mean_head, means), (self.logvar_head, torch.zeros(n, features))):
            _extend(head.weight, 0, weight, optimizer)
            _extend(head.bias, 0, torch.zeros(n), optimizer)
            head.out_features += n
        _extend(self.decoder_in.weight, 1, torch.zeros(self.decoder_in.out_features, n), optimizer)
        self.decoder_in.in_features += n

    @torch.no_grad()
    def fold_prior(self, variance: Tensor) -> None:
        """Divides each latent by the standard deviation of its prior N(0, variance_j), variance [n]: N(0, 1) from then.

        In place; posterior and prior stay the same distributions over images.
        """
        sd = variance.sqrt()
        for tensor in (self.mean_head.weight, self.mean_head.bias):
            tensor.div_(sd[:, None] if tensor.ndim == 2 else sd)
        self.logvar_head.bias.sub_(variance.log())
        self.decoder_in.weight.mul_(sd)


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _slice(parameter: Tensor, dim: int, index: Tensor, optimizer: Optimizer | None) -> None:
    _replace(parameter, parameter.data.index_select(dim, index), optimizer, lambda v: v.index_select(dim, index))


def _extend(parameter: Tensor, dim: int, fresh: Tensor, optimizer: Optimizer | None) -> None:
    values = torch.cat([parameter.data, fresh.to(parameter)], dim)
    _replace(parameter, values, optimizer, lambda v: torch.cat([v, torch.zeros_like(fresh).to(v)], dim))


def _replace(
    parameter: Tensor, values: Tensor, optimizer: Optimizer | None, moments: Callable[[Tensor], Tensor]
) -> None:
    """Gives a parameter other values, and its state in the optimizer by `moments`; it stays the same object."""
    shape = parameter.shape
    parameter.grad = None
    parameter.data = values.contiguous()
    state = optimizer.state.get(parameter, {}) if optimizer else {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == shape:
            state[name] = moments(value).contiguous()
