"""VAEs of one architecture and different latent sizes as one batched model."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE
from searchers.parts.objectives import bernoulli_nll, kl_per_dim


class _Methods(nn.Module):
    """A VAE's methods as one forward pass, which is what `functional_call` gives other weights to."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, method: str, x: Tensor) -> Any:
        return getattr(self.vae, method)(x)


class Stack:
    """M VAEs whose weights and buffers are stacked, [M, ...] each, narrower ones padded with zeros to the widest's N.

    A padded latent has mean 0, variance 1 and noise 0: it adds no KL, decodes to nothing and gets no gradient, so its
    zeros stay zeros under Adam, and each member trains as it would alone. The weights of linear layers are kept
    transposed, [M, in, out]: as their gradients come, which spares copies.
    """

    def __init__(self, vaes: Sequence[VAE]) -> None:
        self.latent_dims = [vae.latent_dim for vae in vaes]
        widest = vaes[self.latent_dims.index(max(self.latent_dims))]
        stacked, self.buffers = stack_module_state([_Methods(_widened(vae, widest)) for vae in vaes])
        self.parameters = {name: nn.Parameter(_turned(value.detach()).contiguous()) for name, value in stacked.items()}
        self._methods = _Methods(copy.deepcopy(widest).to("meta").train())
        for module in self._methods.modules():
            if isinstance(module, Linear):
                module.stacked = True

    def draw(self, batch_size: int, generators: Sequence[Generator]) -> Tensor:
        """Each member's noise from its own generator, as it would draw it alone: [M, B, N], 0 where it is padded."""
        device = generators[0].device
        noise = torch.zeros(len(self.latent_dims), batch_size, max(self.latent_dims), device=device)
        for own, n, generator in zip(noise, self.latent_dims, generators, strict=True):
            own[:, :n] = torch.empty(batch_size, n, device=device).normal_(generator=generator)
        return noise

    def losses(self, x: Tensor, noise: Tensor) -> Tensor:
        """Each member's negative ELBO on its images x [M, B, *image_shape], noise [M, B, N]: [M], nats per image."""
        mean, logvar = self._call("encode", x)  # [M, B, N] each
        logits = self._call("decode", torch.addcmul(mean, torch.exp(0.5 * logvar), noise))
        return vmap(bernoulli_nll)(logits, x) + kl_per_dim(mean, logvar).sum((1, 2)) / x.shape[1]

    def _call(self, method: str, x: Tensor) -> Any:
        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Any:
            return functional_call(self._methods, (parameters, buffers), (method, x))

        return vmap(one)(self._weights(), self.buffers, x)

    def _weights(self) -> dict[str, Tensor]:
        return {name: _turned(value) for name, value in self.parameters.items()}

    @torch.no_grad()
    def unstack(self, vaes: Sequence[VAE]) -> None:
        """Writes each member's weights and buffers back, in place."""
        stacked = {**self._weights(), **self.buffers}
        for i, vae in enumerate(vaes):
            for name, own in _Methods(vae).state_dict().items():
                own.copy_(stacked[name][i][_part(own)])


@torch.no_grad()
def _widened(vae: VAE, widest: VAE) -> VAE:
    wide = copy.deepcopy(widest)
    for padded, own in zip(wide.state_dict().values(), vae.state_dict().values(), strict=True):
        padded.zero_()[_part(own)] = own
    return wide


def _turned(stacked: Tensor) -> Tensor:
    """The stacked weights of linear layers with their last dimensions swapped; all others as they are."""
    return stacked.transpose(1, 2) if stacked.ndim == 3 else stacked


def _part(tensor: Tensor) -> tuple[slice, ...]:
    return tuple(slice(size) for size in tensor.shape)
