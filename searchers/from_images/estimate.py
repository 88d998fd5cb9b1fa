"""What the methods share that estimate the size from the images: they train one model, of the size estimated."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from searchers.base import Choice, Problem, Searcher
from searchers.parts.ranges import Positive

Points = NDArray[np.float64]
"""Images as points [N, D], D the number of values of an image, each in [0, 1]."""


@dataclass(frozen=True)
class FromImages(Searcher):
    """Trains one model, of the size that `estimate` gives for the training images, rounded and inside the space.

    n_images: drawn for the estimate. factor: of the estimate. A space of d dimensions may need more numbers to embed
    it: a periodic factor takes 2, a sphere d + 1, and at most 2 d are needed (Whitney).
    """

    n_images: Annotated[int, Ge(10)] = 3_000
    factor: Positive = 1.0

    @property
    def reads_epochs(self) -> bool:
        return False

    def search(self, problem: Problem) -> Choice:
        points = problem.images(self.n_images).flatten(1).cpu().double().numpy()
        dimension = self.estimate(points)
        trial = problem.train(problem.space.clip(round(self.factor * dimension)))
        return Choice(trial, estimate=dimension)

    @abstractmethod
    def estimate(self, points: Points) -> float:
        """The number of dimensions. Raises ValueError where the images do not tell."""
