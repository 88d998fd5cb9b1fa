"""Gride: TwoNN on a larger scale, by the distances to neighbours n and 2n."""

from dataclasses import dataclass

from searchers.from_images.estimate import FromImages, Points
from searchers.parts.intrinsic_dimension import gride
from searchers.parts.ranges import Count


@dataclass(frozen=True)
class Gride(FromImages):
    """Denti et al. 2022 (Scientific Reports 12:20005). nearer: n; noise below that neighbour's distance is not seen."""

    nearer: Count = 4

    def estimate(self, points: Points) -> float:
        return gride(points, self.nearer)
