"""The Frechet distance between two sets of features (FID, Heusel et al. 2017, equation 6), in double precision."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.machine import float64_device

SMALL = 256  # sides of a matrix that a CPU decomposes in less time than a GPU, which does so in many small steps


@dataclass(frozen=True)
class FeatureStats:
    """Mean and covariance of N feature vectors of length F, in float64 on `float64_device(features.device)`.

    mean: [F].
    factor: [R, F] with R = min(N, F); factor' factor is the covariance (divisor N - 1).
    trace: the covariance's trace.
    """

    mean: Tensor
    factor: Tensor
    trace: float


def feature_stats(features: Tensor) -> FeatureStats:
    """Computes the statistics of features [N, F]. Raises ValueError if N < 2."""
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"got features of shape {tuple(features.shape)}, expected [N, F] with at least 2 rows")
    n, f = features.shape
    features = features.to(float64_device(features.device)).double()
    mean = features.mean(0)
    factor = (features - mean) / math.sqrt(n - 1)
    if n > f:
        factor = torch.linalg.qr(factor, mode="r").R  # R'R = (QR)'(QR): the same covariance in F rows
    return FeatureStats(mean, factor, float(factor.square().sum()))


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """|mean_a - mean_b|^2 + tr S_a + tr S_b - 2 tr((S_a S_b)^(1/2)): squared feature units, lower is better, >= 0.

    Returns NaN if a feature was NaN or infinite, as those of a diverged model are.
    """
    # With A = a.factor and B = b.factor, S_a S_b = A'A B'B has the non-zero eigenvalues of (A B')(A B')'. They are the
    # squared singular values of A B', so the trace of the root is the sum of the singular values. The usual formula,
    # eigvals of an F x F product, loses half of the digits and takes 50 to several hundred times longer if N < F.
    # eigvalsh of the Gram matrix loses as many digits and is at most 3 times faster than this.
    cross = a.factor @ b.factor.T  # [R_a, R_b]
    decomposed = cross.cpu() if max(cross.shape) <= SMALL else cross
    distance = (a.mean - b.mean).square().sum() + a.trace + b.trace
    if not bool(torch.isfinite(distance) & torch.isfinite(cross).all()):
        return math.nan
    return max(float(distance - 2 * torch.linalg.svdvals(decomposed).sum().to(distance.device)), 0.0)
