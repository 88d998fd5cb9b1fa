"""The kernel distance of two sets of features (KID, Binkowski et al. 2018): unbiased, whatever the number of images."""

import math

import torch
from torch import Tensor

from benchmark.machine import float64_device

BLOCKS = 20  # of the generated features, for the standard error
MOST_REAL = 2_000  # real features that it takes


def kernel_distance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """The squared maximum mean discrepancy with the kernel (a.b / F + 1)^3, and its standard error over `generated`.

    real: features [N, F]; generated: [M, F] with M >= 40, in 20 blocks whose values are averaged. Lower is better; it
    may be below 0 where the two hardly differ. NaN for features that are not finite.
    """
    device = float64_device(real.device)
    real, generated = real.to(device).double(), generated.to(device).double()
    within_real = _mean_off_diagonal(_kernel(real, real))
    values = torch.stack(
        [
            within_real + _mean_off_diagonal(_kernel(block, block)) - 2 * _kernel(real, block).mean()
            for block in generated.tensor_split(BLOCKS)
        ]
    )
    if not torch.isfinite(values).all():
        return math.nan, math.nan
    return float(values.mean()), float(values.std() / math.sqrt(BLOCKS))


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    base = (a @ b.T).div_(a.shape[1]).add_(1)
    return base * base * base


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
