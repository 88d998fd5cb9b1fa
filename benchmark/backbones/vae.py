"""The VAE that every backbone builds: an encoder and a decoder around one latent interface."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


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


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _slice(parameter: Tensor, dim: int, index: Tensor, optimizer: Optimizer | None) -> None:
    shape = parameter.shape
    parameter.grad = None
    parameter.data = parameter.data.index_select(dim, index).contiguous()
    state = optimizer.state.get(parameter, {}) if optimizer else {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == shape:
            state[name] = value.index_select(dim, index).contiguous()
