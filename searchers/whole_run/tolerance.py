"""The smallest size that is as good as the largest, in few trainings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from searchers.base import Choice, Expected, Problem, Searcher, SearchSpace, Trial
from searchers.selection import Pick, choose, pick


@dataclass(frozen=True)
class Tolerance(Searcher):
    """Trains the space's largest size, the anchor, then smaller ones until it knows the smallest that is good.

    What practitioners do by hand: take the smallest size whose validation error is hardly above the largest one's. Here
    a size is good where the rule in force takes it against the best larger size so far, at first the anchor, and where
    the better of the two is better than no latents:

    - `smallest-good`: its loss is lower or shown to be less than the margin above, and its samples are not much worse;
    - `tolerance`: its mean loss is at most the margin above;
    - `knee`: its mean loss is no higher, since two sizes have no knee;
    - `mean-rank`: its mean rank in the weighed metrics is no higher.

    Then the rule chooses among all sizes trained. With the first two that is the smallest good one; where none is shown
    to be good, the smallest by its mean loss.

    order: `ascending` trains the grid's sizes from the smallest and stops at the first good one. If that has a lower
    loss than the anchor, which then has learned badly and is a low bar, it trains one size more, and goes on if that is
    better. At worst it trains what the grid does, and the anchor. `bisection` halves the range of all sizes below the
    anchor: 1 + log2(range) trainings, right if all sizes above a good one are good too. Where neither of two sizes is
    better than no latents it follows the lower loss.

    If the anchor's loss is not finite, the next smaller size of the grid is the anchor.
    """

    order: Literal["ascending", "bisection"] = "ascending"

    @property
    def reads_epochs(self) -> bool:
        return False

    def search(self, problem: Problem) -> Choice:
        trials: list[Trial] = []
        for size in sorted({*problem.space.sizes, problem.space.high}, reverse=True):
            trials.append(problem.train(size))
            if trials[-1].assessment.loss < math.inf:
                look = _ascend if self.order == "ascending" else _bisect
                look(problem, trials, self._candidates(problem.space, size))
                break
        return choose(problem, trials)

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        sizes = self._candidates(space, space.high)
        n = len(sizes)
        if self.order == "bisection":  # as if each were good
            sizes = [sizes[n >> step] for step in range(1, n.bit_length() + 1)]
        else:
            sizes = sizes[: (n + 1) // 2]
        return [Expected(space.high, epochs, certain=True), *(Expected(size, epochs) for size in sizes)]

    def _candidates(self, space: SearchSpace, anchor: int) -> list[int]:
        sizes = range(space.low, anchor) if self.order == "bisection" else space.sizes
        return [size for size in sizes if size < anchor]


def _ascend(problem: Problem, trials: list[Trial], sizes: Sequence[int]) -> None:
    """Adds trainings of rising sizes until one is good and no better one is next to it."""
    before: Trial | None = None
    for size in sizes:
        trials.append(problem.train(size))
        if before is not None and _is_good(_against_larger(problem, before, trials)):
            return
        before = trials[-1]
        if _is_good(_against_larger(problem, before, trials)) and before is not min(trials, key=_loss):
            return


def _bisect(problem: Problem, trials: list[Trial], sizes: Sequence[int]) -> None:
    """Adds trainings that halve the range in which the smallest good size lies."""
    while sizes:
        place = len(sizes) // 2
        trials.append(problem.train(sizes[place]))
        found = _against_larger(problem, trials[-1], trials)
        goes_down = _is_good(found) or (found.place == 0 and found.evidence.gap <= 0)
        sizes = sizes[:place] if goes_down else sizes[place + 1 :]


def _against_larger(problem: Problem, trial: Trial, trials: Sequence[Trial]) -> Pick:
    larger = min((one for one in trials if one.latent_dim > trial.latent_dim), key=_loss)
    return pick([trial.assessment, larger.assessment], problem.rule, problem.no_latents_nll)


def _is_good(found: Pick) -> bool:
    return found.place == 0 and found.evidence.is_shown and found.evidence.gap > 0


def _loss(trial: Trial) -> float:
    return trial.assessment.loss
