"""Silhouettes on a GPU: the points stay there, and the host waits for their two values only.

On a CPU `benchmark.metrics.latents` has scikit-learn's. With given labels it is the same number; K-means starts
from other centres, so its clusters may differ.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

ITERATIONS, AT_ONCE = 300, 20  # of K-means at most, as scikit-learn's; between two looks whether it still moves


def silhouettes(points: Tensor, labels: NDArray[np.integer], n_clusters: int, seed: int) -> tuple[float, float]:
    """The silhouettes of latents [N, n] with K-means labels and with the given ones [N].

    NaN where `kmeans_silhouette` and `label_silhouette` have it. Uses no operation that a GPU repeats inexactly.
    """
    points = points.double()
    if not points.numel() or not bool(points.isfinite().all()):
        return math.nan, math.nan
    names, given = np.unique(labels, return_inverse=True)
    apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    values = [_silhouette(apart, torch.from_numpy(given).to(apart.device), len(names))]
    if n_clusters >= 2:
        n_distinct = len(points) - ((apart == 0).tril(-1)).any(1).sum()
        clustered = _silhouette(apart, kmeans(points, n_clusters, seed), n_clusters)
        values.append(torch.where(n_distinct >= n_clusters, clustered, torch.nan))
    of_labels, *of_clusters = torch.stack(values).tolist()
    return (of_clusters or [math.nan])[0], of_labels


def kmeans(points: Tensor, n_clusters: int, seed: int) -> Tensor:
    """Labels [N] of points [N, n] by Lloyd's algorithm from k-means++ centres; a cluster may end up empty."""
    generator = Generator(points.device).manual_seed(seed)
    centres = _first_centres(points, n_clusters, generator)
    labels = _nearest(points, centres)
    for _ in range(ITERATIONS // AT_ONCE):
        before = labels
        for _ in range(AT_ONCE):
            member = _members(labels, n_clusters)  # [N, K]
            counts = member.sum(0)[:, None]
            centres = torch.where(counts > 0, member.T @ points / counts.clamp(min=1), centres)
            before, labels = labels, _nearest(points, centres)
        if torch.equal(before, labels):
            break
    return labels


def _first_centres(points: Tensor, n_clusters: int, generator: Generator) -> Tensor:
    """[K, n]: each the best of a few points drawn in proportion to their squared distances from the centres before.

    The best leaves the smallest sum of squared distances. So does scikit-learn (greedy k-means++), with as many draws.
    """
    weights, nearest = points.new_ones(len(points)), points.new_full((len(points),), torch.inf)  # [N]
    centres: list[Tensor] = []
    for place in range(n_clusters):
        draws = 2 + int(math.log(n_clusters)) if place else 1  # T
        waiting = weights.new_empty(draws, len(points)).exponential_(generator=generator) / weights
        candidates = points.index_select(0, waiting.argmin(1))  # [T, n]: the first of N clocks to ring
        squared = torch.minimum((points - candidates[:, None]).square().sum(2), nearest)  # [T, N]
        best = squared.sum(1).argmin().reshape(1)
        centres.append(candidates.index_select(0, best))
        weights = nearest = squared.index_select(0, best)[0]
    return torch.cat(centres)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def _members(labels: Tensor, n_labels: int) -> Tensor:
    """Which points have which label, float64 [N, K]."""
    return (labels[:, None] == torch.arange(n_labels, device=labels.device)).double()


def _silhouette(apart: Tensor, labels: Tensor, n_labels: int) -> Tensor:
    """The mean silhouette from all distances [N, N]; NaN for one label and for a label for every point."""
    member = _members(labels, n_labels)
    counts = member.sum(0)  # [K]
    sums = apart @ member  # [N, K]: of each point's distances to each label's points
    n_own, of_own = member @ counts, (sums * member).sum(1)  # [N]
    inside = of_own / (n_own - 1).clamp(min=1)
    others = torch.where(member.bool() | (counts == 0), torch.inf, sums / counts.clamp(min=1))
    outside = others.amin(1)
    values = torch.where(n_own > 1, (outside - inside) / torch.maximum(inside, outside), 0.0).nan_to_num(nan=0.0)
    n_used = (counts > 0).sum()
    return torch.where((n_used >= 2) & (n_used < len(apart)), values.mean(), torch.nan)
