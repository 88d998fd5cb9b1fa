"""A linear layer that uses the fastest matrix product of the CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def _onednn_is_faster() -> bool:
    """True on AMD CPUs with AVX-512: there MKL, torch's choice for float32, uses only AVX2; oneDNN is twice as fast."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            amd = b"AuthenticAMD" in file.read(4096)
    except OSError:
        return False
    return amd and torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


ONEDNN = _onednn_is_faster()
MIN_PRODUCTS = 2**22  # with fewer multiplications, calling oneDNN costs more than it saves


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes a b' + bias, [M, N], with oneDNN, from a [M, K] and b [N, K]."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return out


def product_flops(a_shape: torch.Size, b_shape: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """The FLOPs of `_product` for `FlopCounterMode`: as many as torch counts for its own matrix product."""
    return 2 * int(a_shape[0]) * int(a_shape[1]) * int(b_shape[0])


FLOP_FORMULAS = {torch.ops.mkldnn._linear_pointwise: product_flops} if ONEDNN else {}


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        x_gradient = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        return x_gradient, _product(gradient.t(), x.t()), gradient.sum(0)


def use_torch_products(model: nn.Module) -> None:
    """Makes all linear layers use torch's own product, the only one that `torch.func` can transform."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.torch_only = True


class Linear(nn.Linear):
    """`nn.Linear` with a bias that runs large float32 batches [B, n] with oneDNN where that is faster.

    Its results differ from torch's only by rounding. torch_only: see `use_torch_products`.
    """

    torch_only = False

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B, in_features] to [B, out_features]."""
        on_cpu = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        plain = on_cpu and not self.torch_only and not torch.is_autocast_enabled("cpu")
        if not (ONEDNN and plain and x.ndim == 2 and len(x) * self.weight.numel() >= MIN_PRODUCTS):
            return super().forward(x)
        out: Tensor = _OneDNNLinear.apply(x, self.weight, self.bias)
        return out
