"""Grid search: one full training for each of a list of sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from annotated_types import MinLen
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.objectives import VAE, Loss, unsampled_loss
from searchers.parts.ranges import Size
from searchers.quantities import Weights
from searchers.selection import choose


@dataclass(frozen=True)
class Grid(Searcher):
    """latent_dims: the sizes to train, each >= 2. weights: of the metrics in the choice.

    sampling: False trains without it (see `unsampled_loss`), to compare the latent spaces; evaluation samples all the
    same, with variances that nothing has trained, so only the posterior means and the decoder say something.
    """

    latent_dims: Annotated[tuple[Size, ...], MinLen(1)] = (4, 8, 16, 32, 64)
    weights: Weights = Weights()
    sampling: bool = True

    def __post_init__(self) -> None:
        if len(set(self.latent_dims)) < len(self.latent_dims):
            raise ValueError(f"latent_dims is {list(self.latent_dims)}; expected different sizes")

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(size, epochs, certain=self.sampling) for size in self.latent_dims]

    def search(self, problem: Problem) -> Choice:
        trials = [problem.train(size, None if self.sampling else Unsampled()) for size in self.latent_dims]
        return choose(trials, self.weights)


class Unsampled(Controller):
    """Training at one size without sampling."""

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        return unsampled_loss(vae, x)

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL
