"""The contract suite finds each way of breaking the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import benchmark
from torch import Generator, Tensor

from benchmark.store.rows import ARRAYS, EPOCH_COLUMNS
from searchers.base import (
    KEEP_ALL,
    Choice,
    Controller,
    Decision,
    Expected,
    Model,
    Problem,
    Searcher,
    SearchSpace,
    resize,
)
from searchers.parts.objectives import VAE, Loss
from searchers.testing import SearcherContract, ToyProblem
from searchers.testing.contract import run_checks
from searchers.testing.problem import OPTIMUM

OWN = """
from dataclasses import dataclass

from searchers.base import Choice, Expected, Searcher


@dataclass(frozen=True)
class Good(Searcher):
    def search(self, problem):
        return Choice(problem.train(problem.space.high))


class Bad(Good):
    def expected(self, space, epochs, seed):
        return [Expected(4, epochs, certain=True)]
"""
CHOICE, ASKS, EXPECTS = "it chooses a training", "it asks for sizes", "it expects what"
REPEATS, GLOBAL, VALIDATION = "it repeats itself", "it leaves the global", "validation alone"
SETTINGS, KILLED, REPLAY = "its settings survive", "a killed search", "what a gpu may replay"


@dataclass(frozen=True)
class Fixed(Searcher):
    """Keeps the contract."""

    size: int = 8

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(self.size))


class ForeignTrial(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(replace(problem.train(8)))


class TooLarge(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(problem.space.high + 1))


class AsGoodOutside(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(8), as_good=(8, 64))


class ExpectsTenfold(Fixed):
    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return 10 * [Expected(8, epochs)]


class GoesOnUnsaid(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(8, start=(problem.train(8), None)))


class CertainOfAnother(Fixed):
    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(4, epochs, certain=True)]


class DrawsGlobally(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(int(np.random.randint(2, 32))))


class Peeks(Fixed):
    def search(self, problem: Problem) -> Choice:
        return Choice(min(map(problem.train, (2, 32)), key=lambda trial: trial.history["test_fid_gen"].iloc[-1]))


class NoDataclass(Searcher):
    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(8))


@dataclass(frozen=True)
class Doubles(Fixed):
    def __post_init__(self) -> None:
        object.__setattr__(self, "size", min(16, 2 * self.size))

    size: int = 2


@dataclass(frozen=True)
class Controlled(Searcher):
    """A training with a controller of this class."""

    controller: str = "Plain"

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(16, globals()[self.controller]()))


class Plain(Controller):
    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL


class CountsInPython(Controller):
    """Removes a latent after its sixth epoch, which it counts itself."""

    count = 0

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self.count += 1
        return Decision(keep=tuple(range(15))) if self.count == 6 else KEEP_ALL


class PerLatent(Controller):
    """Has state for each latent, which follows when half of them go and, later, two come."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(16))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        penalty = (self.scale * vae.encode(x)[0].square().mean(0)).sum()
        return Loss(super().loss(vae, x, generator).total + penalty)

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return {3: Decision(keep=tuple(range(8))), 6: Decision(add=2)}.get(len(history), KEEP_ALL)

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        resize(self.scale, indices, torch.ones(n_added))


class PerLatentReplaced(PerLatent):
    """Its new parameter is none that the optimizer knows."""

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        self.scale = torch.nn.Parameter(torch.ones(len(indices) + n_added))


class Waits(Plain):
    capturable = True

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        loss = super().loss(vae, x, generator)
        return Loss(loss.total * (1.0 if loss.total.item() > 0 else 2.0))


class ReplacesABuffer(Plain):
    capturable = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def after_step(self, vae: VAE) -> None:
        self.steps = self.steps + 1


class Raises(Fixed):
    def search(self, problem: Problem) -> Choice:
        raise RuntimeError("no\n idea")


@pytest.mark.parametrize(
    ("searcher", "broken"),
    [
        (Fixed(), set()),
        (ForeignTrial(), {CHOICE}),
        (TooLarge(), {CHOICE, ASKS}),
        (AsGoodOutside(), {CHOICE}),
        (ExpectsTenfold(), {EXPECTS}),
        (CertainOfAnother(), {EXPECTS}),
        (GoesOnUnsaid(), {"it says where"}),
        (DrawsGlobally(), {REPEATS, GLOBAL, VALIDATION, KILLED}),
        (Peeks(), {VALIDATION}),
        (NoDataclass(), {SETTINGS}),
        (Doubles(), {SETTINGS}),
        (Controlled("Plain"), set()),
        (Controlled("CountsInPython"), {KILLED}),
        (Controlled("PerLatent"), set()),
        (Controlled("PerLatentReplaced"), {KILLED}),
        (Controlled("Waits"), {REPLAY}),
        (Controlled("ReplacesABuffer"), {REPLAY}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Searcher) else str(len(value)),
)
def test_each_check_finds_what_it_is_for(searcher: Searcher, broken: set[str]) -> None:
    np.random.seed(0)  # for the searcher that draws from the global generator
    found = {what: error for what, error in run_checks(searcher) if error is not None}
    assert len(found) == len(broken) and all(what.startswith(tuple(broken)) for what in found), found
    assert all("\n" not in error for error in found.values())


def test_a_searcher_that_raises_fails_its_checks_in_one_line() -> None:
    errors = [error for _, error in run_checks(Raises())]
    assert errors.count("RuntimeError: no idea") == len(errors) - 1  # its settings are fine


def test_a_wrong_answer_is_found() -> None:
    class Claims(SearcherContract):
        searcher, answer = Fixed(4), OPTIMUM

    with pytest.raises(AssertionError, match="with seed 0 it chose 4; expected 8"):
        Claims().test_it_finds_the_known_answer()


def test_the_toy_logs_what_the_bench_logs() -> None:
    history = ToyProblem().train(4).history
    assert {*EPOCH_COLUMNS, *ARRAYS[:4]} == {name for name in history if not name.startswith("test_")}


def test_the_toy_goes_on_from_a_training() -> None:
    toy = ToyProblem(epochs=3)
    first = toy.train(6)
    second = toy.train(3, epochs=2, start=(first, (0, 2, 5)))
    assert second.history["latent_id"].iloc[0].tolist() == [0, 2, 5] and len(second.history) == 2
    vae, before = toy.trainings[1].vae, toy.trainings[0].vae
    torch.testing.assert_close(vae.mean_head.weight, before.mean_head.weight[[0, 2, 5]])
    with pytest.raises(ValueError, match="got latent_dim 4 to go on with 6 latents"):
        toy.train(4, start=(first, None))


def test_check_prints_a_line_a_check(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    for name, code, failed in (("Good", 0, []), ("Bad", 1, ["it expects what it asks for"]), ("Missing", 2, [])):
        done = benchmark("check", f"own:{name}", cwd=tmp_path, cache=tmp_path, cold=name == "Good")
        assert done.returncode == code, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == (0 if code == 2 else 10) and done.stderr.count("\n") == (code == 2)
        assert [
            line.partition(":")[0].removeprefix("FAILED  ") for line in lines if not line.startswith("ok")
        ] == failed
