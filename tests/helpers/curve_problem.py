"""A toy problem whose validation loss is given for each size and age."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from searchers.base import ChoiceRule, Controller, SearchSpace, Trial
from searchers.rule import Rule
from searchers.testing import ToyProblem

FLOOR, WITHOUT = 100.0, 200.0  # nats, of a perfect model and without latents
N_IMAGES = 200


class CurveProblem(ToyProblem):
    """loss: of a size that has been trained for so many epochs in all, as parts of what latents are worth at best.

    Every metric follows it; NaN has diverged. noise: sd of an image's own difference, nats.
    """

    def __init__(
        self,
        loss: Callable[[int, int], float],
        sizes: Sequence[int] = (2, 4, 8, 16, 32),
        rule: Rule = "smallest-good",
        noise: float = 0.0,
        epochs: int = 12,
    ) -> None:
        super().__init__(space=SearchSpace(2, sizes[-1], tuple(sizes)), rule=ChoiceRule(rule), epochs=epochs)
        self.loss, self.noise, self.no_latents_nll = loss, noise, WITHOUT

    @property
    def sizes(self) -> list[int]:
        """The sizes of the trainings so far."""
        return [asked.latent_dim for asked in self.asked]

    def train(
        self,
        latent_dim: int,
        controller: Controller | None = None,
        epochs: int | None = None,
        start: tuple[Trial, Sequence[int] | None] | None = None,
    ) -> Trial:
        trial = super().train(latent_dim, controller, epochs, start)
        parts = self.loss(latent_dim, self.trainings[-1].age)
        own = np.random.default_rng(latent_dim).standard_normal(N_IMAGES)
        losses = FLOOR + parts * (WITHOUT - FLOOR) + self.noise * (own - own.mean())
        metrics = {name: parts for name in trial.assessment.metrics} | {"kid_gen": 0.0, "silhouette": -parts}
        if math.isnan(parts):
            metrics["kid_gen"] = math.nan
        self.trials[-1] = replace(trial, assessment=replace(trial.assessment, metrics=metrics, losses=losses))
        return self.trials[-1]
