"""The kernel distance of two sets of features (KID, Binkowski et al. 2018): unbiased, whatever the number of images."""

import math

import torch
from torch import Tensor

from benchmark.machine import float64_device

BLOCKS = 20  # of the generated features, for the standard error
MOST_REAL = 2_000  # real features that it takes


def kernel_distance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """The squared maximum mean discrepancy with the kernel (a.b / F + 1)^3, and its standard error.

    real: features [N, F]; generated: [M, F] with M >= 40, in 20 blocks whose values are averaged. Lower is better; it
    may be below 0 where the two hardly differ. The error is that of other generated images, from the blocks, and of
    other real ones, from the first-order projection of the U-statistic (Serfling 1980, section 5.3). NaN for features
    that are not finite.
    """
    device = float64_device(real.device)
    real, generated = real.to(device).double(), generated.to(device).double()
    n = len(real)
    kernel = _kernel(real, real)
    to_real = (kernel.sum(1) - kernel.diagonal()) / (n - 1)  # [N], of each real image its mean to the others
    blocks = generated.tensor_split(BLOCKS)
    to_generated = torch.stack([_kernel(real, block).mean(1) for block in blocks])  # [blocks, N]
    within = torch.stack([_mean_off_diagonal(_kernel(block, block)) for block in blocks])
    values = to_real.mean() + within - 2 * to_generated.mean(1)
    if not torch.isfinite(values).all():
        return math.nan, math.nan
    of_real = 2 * (to_real - to_generated.mean(0)).std() / math.sqrt(n)
    of_generated = values.std() / math.sqrt(BLOCKS)
    return float(values.mean()), math.hypot(float(of_real), float(of_generated))


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    base = (a @ b.T).div_(a.shape[1]).add_(1)
    return base * base * base


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
