"""The contract that every searcher keeps, as tests that run without data, GPU or pytest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter

from searchers.base import Choice, Searcher, SearchSpace
from searchers.testing.checks import NoWaiting, assert_same, global_seed, global_states
from searchers.testing.problem import SPACE, Asked, Killed, ToyProblem


class SearcherContract:
    """Checks a searcher on a toy problem: subclass it as a test class and set `searcher`.

    answer: the size that it must choose on the toy problem, whose metrics are best at 8 latents and whose images have
    three factors; None claims no answer. epochs: of a full training. space: the sizes to choose from. seeds: of the
    searches that must find the answer.
    """

    searcher: ClassVar[Searcher]
    answer: ClassVar[int | None] = None
    epochs: ClassVar[int] = 12
    space: ClassVar[SearchSpace] = SPACE
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2)
    _searched: ClassVar[tuple[ToyProblem, Choice]]

    def search(self, seed: int = 0, **toy: Any) -> tuple[ToyProblem, Choice]:
        """A search of the toy problem, for tests of your own too; `toy`: see ToyProblem."""
        problem = ToyProblem(**{"seed": seed, "epochs": self.epochs, "space": self.space, **toy})
        return problem, self.searcher.search(problem)

    @property
    def searched(self) -> tuple[ToyProblem, Choice]:
        """The search with seed 0, made once for all tests of a class."""
        if "_searched" not in vars(type(self)):
            type(self)._searched = self.search()
        return self._searched

    def test_it_chooses_a_training_with_a_size_of_the_space(self) -> None:
        problem, choice = self.searched
        assert any(choice.trial is trial for trial in problem.trials), (
            "the choice's trial is none that problem.train gave; expected one of them"
        )
        low, high = self.space.low, self.space.high
        assert low <= choice.latent_dim <= high, f"it chose {choice.latent_dim}; expected {low} to {high}"
        assert set(choice.pareto) <= {trial.number for trial in problem.trials}, (
            f"pareto is {choice.pareto}; expected numbers of trainings, of which there are {len(problem.trials)}"
        )
        assert all(low <= size <= high for size in choice.as_good), (
            f"as_good is {choice.as_good}; expected sizes from {low} to {high}"
        )

    def test_it_finds_the_known_answer(self) -> None:
        for seed in self.seeds if self.answer is not None else ():
            found = self.search(seed)[1].latent_dim
            assert found == self.answer, f"with seed {seed} it chose {found}; expected {self.answer}"

    def test_it_asks_for_sizes_of_the_space(self) -> None:
        for asked in self.searched[0].asked:
            assert asked.latent_dim <= self.space.high, (
                f"it asked for a training of {asked.latent_dim} latents; expected 2 to {self.space.high}"
            )

    def test_it_expects_what_it_asks_for(self) -> None:
        asked = self.searched[0].asked
        expected = list(self.searcher.expected(self.space, self.epochs, 0))
        rest = iter(asked)
        for number, training in enumerate(expected):
            if training.certain:
                plain = Asked(training.latent_dim, training.epochs)
                assert plain in rest, f"training {number} is certain to be {plain}, in that order; it asked for {asked}"
        total = sum(len(trial.history) for trial in self.searched[0].trials)
        guess = sum(training.epochs for training in expected)
        assert guess / 2 <= total <= 2 * guess, (
            f"it trained {total} epochs in all and expected() says {guess}; expected no more than twice or half"
        )

    def test_it_says_where_it_goes_on_from_a_training(self) -> None:
        goes_on = any(asked.continues for asked in self.searched[0].asked)
        assert self.searcher.continues or not goes_on, (
            "it calls problem.train(start=...); expected `continues = True` in the class"
        )

    def test_it_repeats_itself(self) -> None:
        for unrelated in (1, 2):  # a searcher that draws from global generators is found out
            with global_seed(unrelated):
                assert_same(self.searched, self.search(), "repeated")

    def test_it_leaves_the_global_random_generators_alone(self) -> None:
        before = global_states()
        self.search()
        for name, state in global_states().items():
            assert state == before[name], f"it drew from {name}'s global generator; expected one made from the seed"

    def test_validation_alone_decides(self) -> None:
        other = self.search(test_optimum=self.space.high)
        assert_same(self.searched, other, "given another test split", but=("test_", "train_loss"))

    def test_its_settings_survive_a_file(self) -> None:
        cls = type(self.searcher)
        assert is_dataclass(cls), f"{cls.__name__} is no dataclass; expected one whose fields are its settings"
        adapter: TypeAdapter[Any] = TypeAdapter(cls)
        again = adapter.validate_json(adapter.dump_json(self.searcher))
        assert again == self.searcher, f"its settings {asdict(self.searcher)} came back from JSON as {asdict(again)}"

    def test_a_killed_search_goes_on_to_the_same_result(self) -> None:
        for number, trial in enumerate(self.searched[0].trials):
            for epoch in sorted({1, 2 * len(trial.history) // 3} - {0}):
                killed = ToyProblem(epochs=self.epochs, space=self.space, kill_at=(number, epoch))
                try:
                    self.searcher.search(killed)
                except Killed:
                    pass
                again = self.search(left=killed)
                assert_same(self.searched, again, f"killed after epoch {epoch} of training {number} and run again")

    def test_what_a_gpu_may_replay_waits_for_no_value(self) -> None:
        for training in self.search()[0].trainings:
            controller, vae = training.controller, training.vae
            if controller is None or not controller.capturable:
                continue
            before = {name: tensor.data_ptr() for name, tensor in controller.state_dict().items()}
            images, generator = training.problem.images(8), torch.Generator().manual_seed(0)
            name = type(controller).__name__
            with NoWaiting(name):
                torch.autograd.backward(controller.loss(vae, images, generator).total)
                with torch.no_grad():
                    controller.after_step(vae)
            moved = [key for key, tensor in controller.state_dict().items() if tensor.data_ptr() != before[key]]
            assert not moved, f"{', '.join(moved)} of {name} is another tensor after a step; change it in place"


def run_checks(searcher: Searcher) -> Iterator[tuple[str, str | None]]:
    """Runs the contract's tests but that of an answer; yields what `failures` yields."""
    contract = type("Contract", (SearcherContract,), {"searcher": searcher})
    return failures(contract, but=("test_it_finds_the_known_answer",))


def failures(contract: type, but: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """Runs a contract's tests; yields each one's name in words, and why it failed or None. but: tests to leave out."""
    for name in (name for cls in reversed(contract.__mro__) for name in vars(cls)):
        if not name.startswith("test_") or name in but:
            continue
        what = name.removeprefix("test_").replace("_", " ")
        try:
            getattr(contract(), name)()
        except AssertionError as error:
            yield what, _one_line(error)
        except Exception as error:  # the code's own
            yield what, f"{type(error).__name__}: {_one_line(error)}"
        else:
            yield what, None


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()
