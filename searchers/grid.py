"""Grid search: one full training for each of a list of sizes."""

from dataclasses import dataclass

from searchers.base import Choice, Problem, Searcher
from searchers.selection import Weights, choose


@dataclass(frozen=True)
class Grid(Searcher):
    """latent_dims: the sizes to train, each >= 2. weights: of the metrics in the choice."""

    latent_dims: tuple[int, ...] = (4, 8, 16, 32, 64)
    weights: Weights = Weights()

    def __post_init__(self) -> None:
        if not self.latent_dims or min(self.latent_dims) < 2 or len(set(self.latent_dims)) < len(self.latent_dims):
            raise ValueError(f"latent_dims is {list(self.latent_dims)}; expected different sizes, each at least 2")

    @property
    def n_trainings(self) -> int:
        return len(self.latent_dims)

    def search(self, problem: Problem) -> Choice:
        return choose([problem.train(latent_dim) for latent_dim in self.latent_dims], self.weights)
