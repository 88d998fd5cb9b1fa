"""GECO with L0-ARM gates: closes latents as far as a bound on the reconstruction error allows (2003.10901)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.gate_estimators import ESTIMATORS, START, Estimator
from searchers.parts.objectives import (
    VAE,
    Loss,
    frozen_batchnorm_statistics,
    kl_per_dim,
    reparameterise,
)
from searchers.parts.ranges import Positive, Share, Size
from searchers.quantities import LAST_EPOCHS, is_stable

# Section IV's values for all its experiments.
GATE_SHARPNESS = 7.0  # k
GATE_START = START / GATE_SHARPNESS  # 0.42
CONSTRAINT_DECAY = 0.99  # alpha
LAMBDA_START = 1.0
LAMBDA_BOUNDS = (1e-5, 5.0)
ERROR_DECAY = 0.95  # of the moving average that becomes tau, section IV-D


@dataclass(frozen=True)
class GecoL0Arm(Searcher):
    """start_latent_dim: the size to start from; None means the space's largest.

    tau: the bound on the squared error, summed over pixels and averaged over images. If it is None, a baseline training
    with `baseline_latent_dim` latents (None means half the start, as in section IV-D) sets it, and its cost counts.
    baseline: `elbo` takes a plain VAE's validation error, which a search of this budget reaches early enough to close
    gates; `geco` takes section IV-D's training error at tau = 0. baseline_budget: the baseline's epochs as a share
    of a full training's. estimator: of the gates' gradient: the paper's `arm`, one that it is said to outperform
    (section II-B), or gates of another kind (`searchers.parts.gate_estimators`). retrain: trains a fresh model of the
    size found and chooses that. `l1` needs it, as the model found is without the gates that it was trained with.
    """

    start_latent_dim: Size | None = None
    tau: Positive | None = None
    baseline_latent_dim: Size | None = None
    baseline: Literal["elbo", "geco"] = "elbo"
    baseline_budget: Share = 1.0
    estimator: Estimator = "arm"
    retrain: bool = False

    def __post_init__(self) -> None:
        if self.estimator == "l1" and not self.retrain:
            raise ValueError("retrain is False and estimator l1; expected retrain = true: l1 finds a size, no model")

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        start = self.start_latent_dim or space.high
        gated = Expected(start, epochs)
        baseline = Expected(self._baseline_size(start), self._baseline_epochs(epochs), certain=self.baseline == "elbo")
        found = [gated, Expected(start, epochs)] if self.retrain else [gated]
        return found if self.tau is not None else [baseline, *found]

    def _baseline_size(self, start: int) -> int:
        return self.baseline_latent_dim or max(2, start // 2)

    def _baseline_epochs(self, full: int) -> int:
        return max(1, round(self.baseline_budget * full))

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        tau = self.tau if self.tau is not None else self._baseline_error(problem, self._baseline_size(start))
        trial = problem.train(start, GecoController(start, tau, estimator=self.estimator))
        settled = _settled(trial.history, start, ESTIMATORS[self.estimator].counts)
        if self.retrain and not trial.diverged:
            trial = problem.train(max(2, trial.latent_dim))
        return Choice(trial, settled=settled)

    def _baseline_error(self, problem: Problem, n: int) -> float:
        """The error of a baseline with n latents. Raises FloatingPointError if its training diverged."""
        controller = None if self.baseline == "elbo" else GecoController(n, tau=0.0, gated=False)
        history = problem.train(n, controller, self._baseline_epochs(problem.epochs)).history
        errors = history["recon_sse"].tail(LAST_EPOCHS) if controller is None else history["ctl_error_average"].tail(1)
        if not np.isfinite(errors).all():
            raise FloatingPointError(f"the baseline's error is {errors.iloc[-1]}; lower the learning rate")
        return float(errors.mean())


def _settled(history: pd.DataFrame, start: int, mass_counts: bool) -> bool:
    """Whether gates have closed, as many in each of the last epochs, and none is on its way where the mass tells.

    None closes before the bound on the error is met.
    """
    n_open, mass = history["ctl_open_gates"].iloc[-1], history["ctl_gate_mass"].iloc[-1]
    is_near = not mass_counts or abs(mass - n_open) < 0.5
    return bool(is_stable(history["ctl_open_gates"]) and n_open < start and is_near)


class GecoController(Controller):
    """Algorithm 1 as one differentiable loss, without a host synchronisation.

    gated: False trains with GECO's multiplier alone, every gate open. estimator: a name in `ESTIMATORS`.
    Whichever it is, the gates learn from lambda' E and their own penalty, and not from the KL term.
    """

    hit: Tensor
    constraint_average: Tensor
    error_average: Tensor
    hit_rate_sum: Tensor
    steps: Tensor

    def __init__(self, latent_dim: int, tau: float, gated: bool = True, estimator: Estimator = "arm") -> None:
        super().__init__()
        self.tau = tau
        self.gated = gated
        self.estimator = ESTIMATORS[estimator]
        self.gates = nn.Parameter(torch.full((latent_dim,), GATE_START))  # gamma
        self.raw_lambda = nn.Parameter(torch.tensor(LAMBDA_START))
        self.raw_bounds = tuple(math.log(math.expm1(math.sqrt(bound))) for bound in LAMBDA_BOUNDS)
        self.register_buffer("hit", torch.tensor(False))
        self.register_buffer("constraint_average", torch.tensor(math.nan))
        self.register_buffer("error_average", torch.tensor(math.nan))
        self.register_buffer("hit_rate_sum", torch.tensor(0.0))
        self.register_buffer("steps", torch.tensor(0))
        self._hit_rate = math.nan

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        z = reparameterise(mean, logvar, generator)
        kl = kl_per_dim(mean, logvar)
        logits = GATE_SHARPNESS * self.gates
        u = torch.empty_like(self.gates).uniform_(generator=generator)
        was_hit = self.hit.clone()
        gates = torch.where(was_hit, self.estimator.gates(logits, u), 1.0)  # v2, lines 3-10

        def error_of(other: Tensor) -> Tensor:  # E1, line 12: it enters the gates' gradient as a number only
            with torch.no_grad(), frozen_batchnorm_statistics(vae):
                return vae.likelihood.squared_error(vae.decode(z.detach() * torch.where(was_hit, other, 1.0)), x).mean()

        errors = vae.likelihood.squared_error(vae.decode(z * gates), x)  # [B]
        error_2 = errors.mean()
        constraint = error_2 - self.tau
        average = _decayed(self.constraint_average, constraint.detach(), CONSTRAINT_DECAY)
        smoothed = constraint + (average - constraint).detach()  # line 20
        multiplier = F.softplus(self.raw_lambda).square()
        # lambda is maximised, so its gradient is flipped; the added term's value is 0.
        total = multiplier.detach() * smoothed - (multiplier - multiplier.detach()) * smoothed.detach()
        n_open = (self.estimator.are_open(logits, gates) | ~was_hit).sum()
        total = total + (kl * (gates != 0)).sum() / len(x) / n_open.clamp(min=1)  # line 22

        satisfied = constraint.detach() <= 0
        if self.gated:
            total = total + torch.where(satisfied, self.estimator.penalty(logits).sum(), 0.0)  # line 24
            baseline = self.error_average.nan_to_num()  # of the steps before, so independent of this one's gates
            gradient = self.estimator.gradient(logits.detach(), u, error_2.detach(), baseline, error_of)
            gradient = multiplier.detach() * GATE_SHARPNESS * torch.where(was_hit, gradient, 0.0)
            total = total + (gradient * (self.gates - self.gates.detach())).sum()  # line 29; its value is 0
            self.hit.copy_(was_hit | satisfied)
        self.constraint_average.copy_(average)
        self.error_average.copy_(_decayed(self.error_average, error_2.detach(), ERROR_DECAY))
        self.hit_rate_sum += (errors.detach() <= self.tau).float().mean()
        self.steps += 1
        return Loss(total)

    @property
    def capturable(self) -> bool:
        return True

    def after_step(self, vae: VAE) -> None:
        # A clamp in the loss would have no gradient outside its range and hold lambda there for ever.
        self.raw_lambda.clamp_(*self.raw_bounds)
        self.gates.clamp_(min=self.estimator.lowest)

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        self._hit_rate = float(self.hit_rate_sum / self.steps)
        self.hit_rate_sum.zero_()
        self.steps.zero_()
        return KEEP_ALL

    def open_latents(self) -> Tensor:
        return self.gates.detach() > 0  # sigma(k gamma) > 0.5, section II-B

    def traces(self) -> dict[str, float]:
        return {
            "tau": self.tau,
            "lambda": float(F.softplus(self.raw_lambda.detach()).square()),
            "open_gates": float(self.open_latents().sum()),
            "gate_mass": float(self.estimator.penalty(GATE_SHARPNESS * self.gates.detach()).sum()),
            "hit_rate": self._hit_rate,
            "constraint_average": float(self.constraint_average),
            "error_average": float(self.error_average),
        }


def _decayed(average: Tensor, value: Tensor, decay: float) -> Tensor:
    """The moving average's next value; NaN stands for no value yet."""
    return torch.where(average.isnan(), value, decay * average + (1 - decay) * value)
