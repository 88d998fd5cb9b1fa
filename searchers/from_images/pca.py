"""PCA: as many latents as principal components of the pixels that a rule keeps."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from searchers.from_images.estimate import FromImages, Points
from searchers.parts.ranges import Share
from searchers.parts.spectrum import fewest_with

PERMUTATIONS, QUANTILE, SEED = 5, 0.95, 0  # of parallel analysis


@dataclass(frozen=True)
class PCA(FromImages):
    """A rule on the eigenvalues of the pixels' covariance, all of them linear: a curved surface takes more.

    rule: `variance`, the fewest components with `share` of the variance; `kaiser`, those above the mean eigenvalue
    (Kaiser 1960, for pixels that are not standardised); `participation-ratio`, (sum of eigenvalues)^2 / sum of their
    squares; `parallel`, those above the 95 % quantile of images whose pixels are shuffled, each pixel over the images
    (Horn 1965).
    """

    rule: Literal["variance", "kaiser", "participation-ratio", "parallel"] = "participation-ratio"
    share: Share = 0.95

    def estimate(self, points: Points) -> float:
        values = eigenvalues(points)
        if not values.any():
            raise ValueError(f"{len(points)} images are all the same; expected different ones")
        if self.rule == "variance":
            return float(fewest_with(values, self.share))
        if self.rule == "kaiser":
            return float((values > values.sum() / points.shape[1]).sum())
        if self.rule == "participation-ratio":
            return float(values.sum() ** 2 / np.square(values).sum())
        rng = np.random.default_rng(SEED)
        shuffled = [eigenvalues(rng.permuted(points, axis=0)) for _ in range(PERMUTATIONS)]
        above = values > np.quantile(shuffled, QUANTILE, axis=0)
        return float(len(above) if above.all() else above.argmin())


def eigenvalues(points: Points) -> Points:
    """Of the covariance of points [N, D], falling, min(N, D) of them."""
    centred = points - points.mean(0)
    wide = centred.shape[1] > len(centred)
    gram = centred @ centred.T if wide else centred.T @ centred  # both have the eigenvalues above 0
    values: Points = np.linalg.eigvalsh(gram)[::-1].clip(min=0) / max(1, len(points) - 1)
    return values
