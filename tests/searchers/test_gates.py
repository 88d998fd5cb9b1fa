"""The ARM estimator against the exact gradient, by enumeration of every gate vector (2003.10901, equation 12)."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from searchers.parts.gates import antithetic_gates, arm_gradient

N_GATES = 4
N_DRAWS = 400_000
LOGITS = (-1.2, -0.3, 0.4, 1.5)


def nonlinear(v: Tensor) -> Tensor:
    """A function of gate vectors [..., 4] without symmetry: products, a sine and a square root."""
    weights = torch.tensor([1.0, -2.0, 0.7, 1.6], dtype=v.dtype)
    linear = v @ weights
    return linear.sin() + linear + 1.5 * v[..., 0] * v[..., 3] + (v[..., 1] + v[..., 2] + 0.3).sqrt()


def exact_gradient(logits: Tensor) -> Tensor:
    """d E[f(v)] / d logits, [4], through the probabilities of all 16 gate vectors."""
    logits = logits.clone().requires_grad_()
    vectors = torch.tensor(list(itertools.product((0.0, 1.0), repeat=N_GATES)), dtype=logits.dtype)  # [16, 4]
    p = torch.sigmoid(logits)
    probabilities = torch.where(vectors == 1, p, 1 - p).prod(1)
    assert len(vectors) == 16 and float(probabilities.detach().sum()) == pytest.approx(1)
    (gradient,) = torch.autograd.grad((probabilities * nonlinear(vectors)).sum(), logits)
    return gradient


def is_unbiased(draws: Tensor, exact: Tensor) -> bool:
    """Whether the mean of draws [N, 4] is within 4 standard errors of `exact`, and these are small beside it."""
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool((error < 0.02 * exact.abs()).all()), "too few draws to tell"
    return bool(((draws.mean(0) - exact).abs() < 4 * error).all())


def _arm(logits: Tensor, u: Tensor) -> Tensor:
    v1, v2 = antithetic_gates(logits, u)
    return arm_gradient(nonlinear(v1)[:, None], nonlinear(v2)[:, None], u)


def _flipped(logits: Tensor, u: Tensor) -> Tensor:
    return -_arm(logits, u)


def _without_pairing(logits: Tensor, u: Tensor) -> Tensor:
    v1, _ = antithetic_gates(logits, u.roll(1, 0))  # of another draw
    _, v2 = antithetic_gates(logits, u)
    return arm_gradient(nonlinear(v1)[:, None], nonlinear(v2)[:, None], u)


def _same_gates(logits: Tensor, u: Tensor) -> Tensor:
    v2 = (u < torch.sigmoid(logits)).to(u.dtype)
    v1 = (u > torch.sigmoid(logits)).to(u.dtype)  # the sign inside is missing
    return arm_gradient(nonlinear(v1)[:, None], nonlinear(v2)[:, None], u)


@pytest.mark.parametrize(
    "estimator, expected", [(_arm, True), (_flipped, False), (_without_pairing, False), (_same_gates, False)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_of_draws_is_the_exact_gradient(
    estimator: Callable[[Tensor, Tensor], Tensor], expected: bool, dtype: torch.dtype
) -> None:
    logits = torch.tensor(LOGITS, dtype=dtype)
    u = torch.rand(N_DRAWS, N_GATES, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert is_unbiased(estimator(logits, u).double(), exact_gradient(logits).double()) is expected


def test_scalars_give_what_batches_give() -> None:
    logits = torch.tensor(LOGITS)
    u = torch.rand(5, N_GATES, generator=torch.Generator().manual_seed(1))
    for one in u:
        v1, v2 = antithetic_gates(logits, one)
        assert v1.shape == v2.shape == (N_GATES,)
        gradient = arm_gradient(nonlinear(v1), nonlinear(v2), one)
        assert torch.equal(gradient, _arm(logits, one[None])[0])


def test_marginals() -> None:
    logits = torch.tensor([-3.0, -1.0, 0.0, 2.0, 7.0])
    u = torch.rand(N_DRAWS, len(logits), generator=torch.Generator().manual_seed(2))
    p = torch.sigmoid(logits)
    for gates in antithetic_gates(logits, u):
        assert set(gates.unique().tolist()) == {0.0, 1.0} and gates.dtype == logits.dtype
        assert bool(((gates.mean(0) - p).abs() < 4 * (p * (1 - p) / N_DRAWS).sqrt()).all())


def test_gates_are_antithetic() -> None:
    """v1 is v2 of 1 - u; where a gate is likelier open than not, at least one of the two has it open."""
    logits = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    u = torch.rand(1000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    v1, v2 = antithetic_gates(logits, u)
    assert torch.equal(v1, antithetic_gates(logits, 1 - u)[1])
    assert bool((v1 + v2)[:, 1:].min() >= 1) and bool((v1 + v2)[:, 0].max() <= 1)


def test_equal_errors_give_no_gradient() -> None:
    assert arm_gradient(torch.tensor(3.0), torch.tensor(3.0), torch.tensor([0.1, 0.9])).tolist() == [0.0, 0.0]
