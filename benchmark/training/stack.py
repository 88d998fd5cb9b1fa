"""Stacks VAEs of one architecture and different latent sizes into one batched model."""

import copy
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmark.backbones.linear import use_torch_products
from benchmark.backbones.vae import VAE
from searchers.parts.objectives import kl_per_dim


class _MethodCall(nn.Module):
    """Calls a VAE's method in its forward pass, because `functional_call` replaces the weights of forward passes."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, method: str, *inputs: Tensor) -> Any:
        return attrgetter(method)(self.vae)(*inputs)


class Stack:
    """M VAEs with stacked weights and buffers, [M, ...] each, padded with zeros to the N latents of the widest.

    A padded latent has mean 0, variance 1 and noise 0. It adds no KL, adds nothing to the decoder and gets no gradient,
    so its zeros stay zero under Adam, and each member trains as it would alone. The weights of linear layers are kept
    transposed, [M, in, out], like their gradients, which avoids copies.
    """

    def __init__(self, vaes: Sequence[VAE]) -> None:
        self.latent_dims = [vae.latent_dim for vae in vaes]
        widest = vaes[self.latent_dims.index(max(self.latent_dims))]
        stacked, self.buffers = stack_module_state([_MethodCall(_padded(vae, widest)) for vae in vaes])
        transposed = {name: _transpose_linear(value.detach()).contiguous() for name, value in stacked.items()}
        self.parameters = {name: nn.Parameter(value) for name, value in transposed.items()}
        self._module = _MethodCall(copy.deepcopy(widest).to("meta").train())
        use_torch_products(self._module)

    def draw(self, batch_size: int, generators: Sequence[Generator]) -> Tensor:
        """Draws each member's noise from its own generator, as it would alone: [M, B, N], 0 in padded latents."""
        device = generators[0].device
        noise = torch.zeros(len(self.latent_dims), batch_size, max(self.latent_dims), device=device)
        for member_noise, n, generator in zip(noise, self.latent_dims, generators, strict=True):
            member_noise[:, :n] = torch.empty(batch_size, n, device=device).normal_(generator=generator)
        return noise

    def losses(self, x: Tensor, noise: Tensor) -> Tensor:
        """The negative ELBO of each member [M], nats per sample, for x [M, B, *image_shape], noise [M, B, N]."""
        mean, logvar = self._call("encode", x)  # [M, B, N] each
        outputs = self._call("decode", torch.addcmul(mean, torch.exp(0.5 * logvar), noise))
        nll: Tensor = self._call("likelihood.nll", outputs, x)  # [M]
        return nll + kl_per_dim(mean, logvar).sum((1, 2)) / x.shape[1]

    def _call(self, method: str, *inputs: Tensor) -> Any:
        def call_member(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *inputs: Tensor) -> Any:
            return functional_call(self._module, (parameters, buffers), (method, *inputs))

        return vmap(call_member)(self._weights(), self.buffers, *inputs)

    def _weights(self) -> dict[str, Tensor]:
        return {name: _transpose_linear(value) for name, value in self.parameters.items()}

    @torch.no_grad()
    def unstack(self, vaes: Sequence[VAE]) -> None:
        """Copies each member's weights and buffers back into its VAE, in place."""
        stacked = {**self._weights(), **self.buffers}
        for i, vae in enumerate(vaes):
            for name, value in _MethodCall(vae).state_dict().items():
                value.copy_(stacked[name][i][_corner(value)])


@torch.no_grad()
def _padded(vae: VAE, widest: VAE) -> VAE:
    """A copy of the VAE, padded with zeros to the shapes of the widest."""
    wide = copy.deepcopy(widest)
    for padded, value in zip(wide.state_dict().values(), vae.state_dict().values(), strict=True):
        padded.zero_()[_corner(value)] = value
    return wide


def _transpose_linear(stacked: Tensor) -> Tensor:
    """Swaps the last two dimensions of the stacked weights of linear layers [M, out, in]; keeps all others."""
    return stacked.transpose(1, 2) if stacked.ndim == 3 else stacked


def _corner(tensor: Tensor) -> tuple[slice, ...]:
    """The index of the tensor's own values in its padded form."""
    return tuple(slice(size) for size in tensor.shape)
