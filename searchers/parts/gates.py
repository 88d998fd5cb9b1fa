"""Stochastic binary gates and the ARM gradient of their logits. Pure functions of tensors.

Gates are Bernoulli(sigma(logits)), sampled through u ~ U(0, 1)^n (Yin & Zhou 2019; Li & Ji 2019; 2003.10901, eq. 12).
"""

import torch
from torch import Tensor


def antithetic_gates(logits: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """v1 = 1[u > sigma(-logits)] and v2 = 1[u < sigma(logits)], both [n] in {0, 1}; v2 is the sample in use."""
    return (u > torch.sigmoid(-logits)).to(logits.dtype), (u < torch.sigmoid(logits)).to(logits.dtype)


def arm_gradient(error_1: Tensor, error_2: Tensor, u: Tensor) -> Tensor:
    """An unbiased estimate [n] of d E[f(v)] / d logits from f(v1) and f(v2), both scalars (2003.10901, eq. 12)."""
    return (error_1 - error_2) * (u - 0.5)
