"""What the contract's tests look at: whether two searches are the same, global generators, operations that wait."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from searchers.base import Choice
from searchers.testing.problem import ToyProblem

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


def assert_same(
    one: tuple[ToyProblem, Choice], two: tuple[ToyProblem, Choice], how: str, but: tuple[str, ...] = ()
) -> None:
    """Raises AssertionError where two searches differ in what they asked for, their histories or their choice.

    how: what the second is that the first is not, for the message. but: columns whose names begin so do not count.
    """
    (first, a), (second, b) = one, two
    assert first.asked == second.asked, f"it asked for {first.asked}, but {how} for {second.asked}"
    for x, y in zip(first.trials, second.trials, strict=True):
        columns = [name for name in x.history if not str(name).startswith(but or "-")]
        try:
            pd.testing.assert_frame_equal(x.history[columns], y.history[columns], check_exact=True)
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"training {x.number} is another one when {how}: {error}") from error
    choices = [(c.trial.number, c.latent_dim, c.pareto, c.settled, c.as_good, c.evidence, c.estimate) for c in (a, b)]
    assert choices[0] == choices[1], f"it chose {choices[0]}, but {how} {choices[1]}"


class global_seed:
    """Within it the global generators have this seed; afterwards they are as before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)

    def __exit__(self, *error: object) -> None:
        random.setstate(self.before[0])
        np.random.set_state(self.before[1])
        torch.set_rng_state(self.before[2])


def global_states() -> dict[str, Any]:
    """The states of the global random generators, by the modules' names."""
    numpy = np.random.get_state(legacy=False)
    return {"random": random.getstate(), "numpy": str(numpy), "torch": torch.get_rng_state().tolist()}


class NoWaiting(TorchDispatchMode):
    """Raises AssertionError where an operation has to know a tensor's value, which a recorded step cannot."""

    def __init__(self, controller: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.controller = controller

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        assert name not in WAITING, (
            f"a step of {self.controller} waits for a tensor's value ({name}); use tensors alone, or let "
            "`capturable` be False"
        )
        return func(*args, **(kwargs or {}))
