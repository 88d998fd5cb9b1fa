"""How many directions a set of codes takes, read off their falling variances or singular values."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FLOOR = 1e-8  # of the largest variance: below it is rounding


def variances(codes: Tensor) -> NDArray[np.float64]:
    """The eigenvalues of the covariance of codes [N, n], falling: the variances along its principal axes, [n]."""
    centred = codes.detach().cpu().double().numpy()
    centred = centred - centred.mean(0)
    values: NDArray[np.float64] = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1].clip(min=0)
    return values


def largest_fall(values: NDArray[np.float64]) -> tuple[int, float]:
    """After how many of these falling values the next is smallest against the one before, and the factor between them.

    values: at least two. One below FLOOR times the first counts as that. Of equal falls the first counts; without any
    it is (1, 1).
    """
    floored = values.clip(min=max(FLOOR * values[0], np.finfo(float).tiny))
    falls = floored[:-1] / floored[1:]
    place = int(falls.argmax())
    return place + 1, float(falls[place])


def fewest_with(values: NDArray[np.float64], share: float) -> int:
    """How many of these falling values have this share of their sum: at least 1."""
    return int(np.searchsorted(np.cumsum(values), share * values.sum() * (1 - 1e-12)) + 1)
