"""Successive halving over latent sizes (Jamieson & Talwalkar, 1502.07943), and its asynchronous form (1810.05934)."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from searchers.base import Choice, Expected, Problem, Searcher, SearchSpace, Trial
from searchers.selection import choose


@dataclass(frozen=True)
class Halving(Searcher):
    """Trains the grid's sizes a little, then only the promising ones on, rung by rung; the rule chooses at the end.

    A rung keeps one size in `reduction_factor`, rounded up, and ends at `reduction_factor` times the epochs of the one
    before; the last has at most `reduction_factor` sizes and ends at a full training's epochs, among which the rule in
    force chooses. So survivors are trained as long as the grid's sizes, and the grid's five in two rungs cost 0.6 of
    the grid. Where epochs are too few for a rung it is left out.

    Which are promising is asked of the validation loss, whatever the rule. The size with the lowest loss stays, since
    the others must stand beside it at the end. Then come the sizes within the rule's margin of it, the smallest first,
    then the others by their loss. Ranks alone keep what learns fastest: 6 to 12 latents on `manifold`, where 4 are
    enough and tie after a ninth of the epochs. Much earlier no order can be trusted: on `digits` 32 are then far behind
    2. A size whose loss is not finite is dropped.

    A survivor goes on with its weights and its optimizer's state as a training of its own, so a cosine schedule of the
    learning rate runs anew in each rung; and only a rung's own epochs are charged.

    reduction_factor: as in scikit-learn's and Optuna's successive halving; what they call min_resource follows from it.
    asynchronous: ASHA (Li et al. 2020): a size goes on as soon as it is among the best 1 / `reduction_factor`, rounded
    down, of those that have reached its rung, higher rungs first. Results count in an order drawn with the seed, not in
    that in which workers happen to finish, so that a search repeats itself on any number of workers. Spread over
    workers (`--execution spread`), a promising size goes on while others are at the first rung. An early one may go on
    that later ones beat, and where none does, a single one is trained in full.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    asynchronous: bool = False

    @property
    def continues(self) -> bool:
        return True

    @property
    def reads_epochs(self) -> bool:
        return False

    def search(self, problem: Problem) -> Choice:
        trials = self._asynchronous(problem) if self.asynchronous else self._synchronous(problem)
        found = choose(problem, trials)
        return Choice(found.trial, as_good=found.as_good, evidence=found.evidence)

    def _synchronous(self, problem: Problem) -> list[Trial]:
        """The trainings of the last rung."""
        (_, epochs), *rungs = self._rungs(len(problem.space.sizes), problem.epochs)
        trials = [problem.train(size, epochs=epochs) for size in problem.space.sizes]
        for n_sizes, epochs in rungs:
            if not (survivors := _promising(problem, trials)[:n_sizes]):
                break
            trials = [problem.train(trial.latent_dim, epochs=epochs, start=(trial, None)) for trial in survivors]
        return trials

    def _asynchronous(self, problem: Problem) -> list[Trial]:
        """The trainings of the highest rung that one has reached."""
        budgets = [epochs for _, epochs in self._rungs(len(problem.space.sizes), problem.epochs)]
        rungs: list[list[Trial]] = [[] for _ in budgets]
        for size in _drawn(problem.space, problem.seed):
            rungs[0].append(problem.train(size, epochs=budgets[0]))
            while (found := self._promotable(problem, rungs)) is not None:
                rung, trial = found
                further = problem.train(trial.latent_dim, epochs=budgets[rung + 1], start=(trial, None))
                rungs[rung + 1].append(further)
        return next(trials for trials in reversed(rungs) if trials)

    def _promotable(self, problem: Problem, rungs: Sequence[Sequence[Trial]]) -> tuple[int, Trial] | None:
        """The rung and the training that go on next."""
        for rung in reversed(range(len(rungs) - 1)):
            gone = {trial.latent_dim for trial in rungs[rung + 1]}
            n_best = len(rungs[rung]) // self.reduction_factor
            best = _promising(problem, rungs[rung])[:n_best] if n_best else []
            for trial in best:
                if trial.latent_dim not in gone:
                    return rung, trial
        return None

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        if self.asynchronous:
            return self._expected_asynchronous(space, epochs, seed)
        rungs = enumerate(self._rungs(len(space.sizes), epochs))
        return [Expected(size, own, certain=place == 0) for place, (n, own) in rungs for size in space.sizes[:n]]

    def _expected_asynchronous(self, space: SearchSpace, epochs: int, seed: int) -> list[Expected]:
        """As if no size went on that a later one beats."""
        budgets = [own for _, own in self._rungs(len(space.sizes), epochs)]
        reached, expected = [0] * len(budgets), list[Expected]()
        for size in _drawn(space, seed):
            for rung, own in enumerate(budgets):
                reached[rung] += 1
                expected.append(Expected(size, own, certain=rung == 0))
                if reached[rung] % self.reduction_factor:
                    break
        return expected

    def _rungs(self, n_sizes: int, epochs: int) -> list[tuple[int, int]]:
        """How many sizes each rung trains, and its own epochs."""
        counts = [n_sizes]
        while counts[-1] > self.reduction_factor:
            counts.append(math.ceil(counts[-1] / self.reduction_factor))
        ends = [max(1, round(epochs / self.reduction_factor**k)) for k in reversed(range(len(counts)))]
        return [(n, end - start) for n, start, end in zip(counts, [0, *ends], ends, strict=False) if end > start]


def _drawn(space: SearchSpace, seed: int) -> list[int]:
    """The sizes in the order in which their results count."""
    return random.Random(seed).sample(space.sizes, len(space.sizes))


def _promising(problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
    """The trials of finite loss: the lowest, those within the margin by rising size, the others by rising loss."""
    best = min(trials, key=lambda trial: trial.assessment.loss)
    tie = problem.rule.margin * max(problem.no_latents_nll - best.assessment.loss, 0)

    def order(trial: Trial) -> tuple[bool, float, int]:
        distance = trial.assessment.loss - best.assessment.loss
        return trial is not best, distance if distance > tie else 0.0, trial.latent_dim

    return sorted((trial for trial in trials if trial.assessment.loss < math.inf), key=order)
