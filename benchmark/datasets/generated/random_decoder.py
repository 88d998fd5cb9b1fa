"""A fixed random smooth decoder, by which points of a known space become images."""

import torch
from torch import Tensor

SIDE = 16
HIDDEN = 64
GAIN = 1.5
N_CLASSES = 8


class RandomDecoder:
    """n_inputs-64-256: tanh, then sigmoid. Inputs are to have about variance 1.

    With up to 64 inputs the first layer loses none of them.
    """

    def __init__(self, n_inputs: int, generator: torch.Generator) -> None:
        self.w1 = (torch.randn(n_inputs, HIDDEN, generator=generator) * GAIN / n_inputs**0.5).double()
        self.w2 = (torch.randn(HIDDEN, SIDE * SIDE, generator=generator) * GAIN / HIDDEN**0.5).double()

    def __call__(self, points: Tensor) -> Tensor:
        """Pixels in [0, 1], float64 [N, 256], of points, float64 [N, n_inputs]."""
        return torch.sigmoid(2 * torch.tanh(points @ self.w1) @ self.w2)


def octants(points: Tensor) -> Tensor:
    """Labels of points [N, n]: in which octant of the first three coordinates each lies, int64 [N], 8 classes."""
    return ((points[:, :3] > 0) * torch.tensor([1, 2, 4])).sum(1)
