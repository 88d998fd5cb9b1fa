"""MLE: the images' intrinsic dimension by maximum likelihood from the distances to k neighbours."""

from dataclasses import dataclass

from searchers.from_images.estimate import FromImages, Points
from searchers.parts.intrinsic_dimension import mle
from searchers.parts.ranges import Size


@dataclass(frozen=True)
class MLE(FromImages):
    """Levina and Bickel 2004, with the correction of MacKay and Ghahramani 2005: averaged are the inverses.

    n_neighbours: k. Above about 10 dimensions it is too low, the more so with a larger k.
    """

    n_neighbours: Size = 20

    def estimate(self, points: Points) -> float:
        return mle(points, self.n_neighbours)
