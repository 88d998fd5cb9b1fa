"""TwoNN: the images' intrinsic dimension by the distances to two nearest neighbours."""

from dataclasses import dataclass

from searchers.from_images.estimate import FromImages, Points
from searchers.parts.intrinsic_dimension import two_nn


@dataclass(frozen=True)
class TwoNN(FromImages):
    """Facco et al. 2017 (Scientific Reports 7:12140). Above about 10 too low; noise raises it."""

    def estimate(self, points: Points) -> float:
        return two_nn(points)
