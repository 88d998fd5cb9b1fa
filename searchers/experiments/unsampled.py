"""Trainings without sampling, to compare the latent spaces with a VAE's (1812.07238, figure 3 B).

This is no search for a size; run it by its name, `searchers.experiments.unsampled:UnsampledGrid`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.objectives import VAE, Loss
from searchers.selection import choose


@dataclass(frozen=True)
class UnsampledGrid(Searcher):
    """One training without sampling for each of the space's sizes; the choice is grid search's.

    Evaluation still samples, with untrained variances, so only the posterior means and the decoder carry information.
    """

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(size, epochs) for size in space.sizes]

    def search(self, problem: Problem) -> Choice:
        return choose(problem, [problem.train(size, Unsampled()) for size in problem.space.sizes])


class Unsampled(Controller):
    """Training at one size without sampling."""

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        """-log p(x | z = mean) + sum_j mean_j^2 / 2: no sampling, the penalty on the means kept; nats per image.

        Without sampling the KL's variance terms have no meaning either, so nothing trains the variances.
        """
        mean, _ = vae.encode(x)
        return Loss(vae.likelihood.nll(vae.decode(mean), x) + 0.5 * mean.square().sum() / len(x))

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL
