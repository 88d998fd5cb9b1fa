"""A linear layer that uses the CPU's fastest matrix product."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def _onednn_is_faster() -> bool:
    """On AMD's CPUs with AVX-512, MKL (torch's choice for float32) stays at AVX2; oneDNN takes half the time."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            amd = b"AuthenticAMD" in file.read(4096)
    except OSError:
        return False
    return amd and torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


ONEDNN = _onednn_is_faster()
MIN_PRODUCTS = 2**22  # multiplications below which a call of oneDNN costs more than it saves


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a [M, K] b' + bias for b [N, K]: [M, N], by oneDNN."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return out


def product_flops(a_shape: torch.Size, b_shape: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """What `FlopCounterMode` counts for `_product`: the same as for torch's own matrix product."""
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
        of_x = _product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        return of_x, _product(gradient.t(), x.t()), gradient.sum(0)


class Linear(nn.Linear):
    """`nn.Linear` with a bias; large float32 batches [B, n] on such a CPU go through oneDNN, equal to rounding.

    stacked: its weights are several layers' at once (`torch.func.vmap`), which only torch's own product can take.
    """

    stacked = False

    def forward(self, x: Tensor) -> Tensor:
        """x [B, in_features] -> [B, out_features]."""
        on_cpu = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        plain = on_cpu and not self.stacked and not torch.is_autocast_enabled("cpu")
        if not (ONEDNN and plain and x.ndim == 2 and len(x) * self.weight.numel() >= MIN_PRODUCTS):
            return super().forward(x)
        out: Tensor = _OneDNNLinear.apply(x, self.weight, self.bias)
        return out
