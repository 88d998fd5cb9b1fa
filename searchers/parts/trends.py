"""Slopes of metric curves and ALD-VAE's rules on them. Pure functions (2312.06280, section 3.3.2)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def slope(values: ArrayLike, window: int) -> float:
    """Least-squares slope per epoch of the last `window` values, of all where there are fewer (equation 5).

    NaN with fewer than two values or where one of them is not finite.
    """
    y = np.asarray(values, dtype=np.float64)[-window:]
    if len(y) < 2 or not np.isfinite(y).all():
        return float("nan")
    x = np.arange(len(y)) - (len(y) - 1) / 2
    return float(x @ y / (x @ x))


def all_rising(curves: Sequence[ArrayLike], window: int) -> bool:
    """True where every curve has a full window and its slope over it is > 0 (equation 4)."""
    return all(len(np.asarray(curve)) >= window and slope(curve, window) > 0 for curve in curves)
