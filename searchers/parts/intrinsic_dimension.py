"""The intrinsic dimension of data by distances to nearest neighbours. Points that are equal in float32 count once."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

KEPT = 0.9  # of TwoNN's ratios: the largest are of outliers, and would decide the slope
ROWS = 500  # points whose distances to all others are in memory at once
MORE = 3  # candidates beyond the k nearest, by distances that rounding has spoilt: the point itself is one
HIGHEST = 1e4  # dimensions

Array = NDArray[np.float32]


def two_nn(points: NDArray[np.generic]) -> float:
    """The intrinsic dimension of points [N, D] by TwoNN (Facco et al. 2017, Scientific Reports 7:12140).

    With q the distance to the second neighbour over that to the first, -log(1 - F(q)) = d log q: d is the slope of the
    line through the origin over the smallest 90 % of the ratios. Noise raises it, a border lowers it, and above about
    10 it is too low: with 3,000 images by 6 % at 12 and by 14 % at 20. Raises ValueError for fewer than three different
    points, and where each one's two neighbours are equally far away.
    """
    first, second = nearest_distances(points, 2).T
    n = len(first)
    ratios = np.sort(np.log(second / first))[: max(2, int(KEPT * n))]
    if not ratios.any():
        raise ValueError(f"of {n} points each has two neighbours that are equally far away; expected different ones")
    empirical = np.arange(1, len(ratios) + 1) / n
    return float(-(ratios * np.log1p(-empirical)).sum() / np.square(ratios).sum())


def mle(points: NDArray[np.generic], k: int) -> float:
    """The intrinsic dimension of points [N, D] by maximum likelihood from k >= 2 neighbours (Levina and Bickel 2004).

    (k - 1) over the mean over points of sum_j log(T_k / T_j), T_j the distance to neighbour j: the inverses are
    averaged (MacKay and Ghahramani 2005). Raises ValueError for fewer than k + 1 different points.
    """
    logs = np.log(nearest_distances(points, k))
    sums = (logs[:, -1:] - logs[:, :-1]).sum(1)
    if not sums.any():
        raise ValueError(f"of {len(sums)} points each has {k} neighbours that are equally far away")
    return float((k - 1) / sums.mean())


def gride(points: NDArray[np.generic], n: int) -> float:
    """The intrinsic dimension of points [N, D] on the scale of neighbours n and 2n (Gride, Denti et al. 2022, eq. 9).

    d maximises the likelihood of the ratios mu of their distances, with the density d (mu^d - 1)^(n - 1) /
    (B(n, n) mu^((2n - 1) d + 1)). Raises ValueError for fewer than 2n + 1 different points.
    """
    distances = nearest_distances(points, 2 * n)
    logs = np.log(distances[:, 2 * n - 1] / distances[:, n - 1])
    logs = logs[logs > 0]

    def score(d: float) -> float:  # of the log-likelihood; it falls with d
        return float(len(logs) / d + ((n - 1) * logs / -np.expm1(-d * logs)).sum() - (2 * n - 1) * logs.sum())

    if not len(logs) or score(HIGHEST) > 0:
        raise ValueError(f"{len(distances)} points are too alike in their distances to neighbours {n} and {2 * n}")
    return float(brentq(score, 1e-6, HIGHEST))


def nearest_distances(points: NDArray[np.generic], k: int) -> NDArray[np.float64]:
    """The distances of each different point of [N, D] to its k nearest others, rising: [n, k]. None is 0."""
    centred = (points - points.mean(0)).astype(np.float32) + 0  # no -0, which has other bytes than 0
    different = centred[list({row.tobytes(): place for place, row in enumerate(centred)}.values())]
    n = len(different)
    if n < k + 1:
        raise ValueError(f"got {n} different points of {len(points)}; expected at least {k + 1}")
    squares = np.square(different).sum(1)
    n_candidates = min(k + MORE, n)
    nearest = []
    for start in range(0, n, ROWS):
        rows = different[start : start + ROWS]
        about = squares - 2 * rows @ different.T  # squared distances less the rows' own squares, [ROWS, n]
        places = np.argpartition(about, n_candidates - 1, axis=1)[:, :n_candidates]
        exact = [np.square(rows - different[column]).sum(1, dtype=np.float64) for column in places.T]
        nearest.append(np.sort(np.stack(exact, axis=1), axis=1)[:, 1 : k + 1])
    distances: NDArray[np.float64] = np.sqrt(np.concatenate(nearest))
    return distances
