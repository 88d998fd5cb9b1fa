"""Grid search: one full training for each of the space's sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from searchers.base import Choice, Expected, Problem, Searcher, SearchSpace
from searchers.parts.ranges import Size
from searchers.selection import choose


@dataclass(frozen=True)
class Grid(Searcher):
    """sizes: the sizes to train; None: the space's."""

    sizes: Annotated[tuple[Size, ...], MinLen(1)] | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"sizes is {list(self.sizes)}; expected different sizes")

    @property
    def reads_epochs(self) -> bool:
        return False

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(size, epochs, certain=True) for size in self.sizes or space.sizes]

    def search(self, problem: Problem) -> Choice:
        return choose(problem, [problem.train(size) for size in self.sizes or problem.space.sizes])
