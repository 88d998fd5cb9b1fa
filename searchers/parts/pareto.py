"""Pareto fronts."""

import numpy as np
from numpy.typing import NDArray


def on_front(losses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of losses [N, M] no other row dominates: none is nowhere worse and somewhere better. Bool [N].

    Equal rows are on the front together; a row with NaN is neither dominated nor dominates.
    """
    no_worse = (losses[:, None] >= losses).all(axis=2)  # [i, j]: j is nowhere worse than i
    better = (losses[:, None] > losses).any(axis=2)
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return ~dominated
