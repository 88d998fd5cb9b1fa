"""A problem without data or bench whose best latent size is known."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Assessment, ChoiceRule, Controller, Decision, Posterior, SearchSpace, Trial
from searchers.quantities import DECISION_METRICS, DRAWN_METRICS
from searchers.testing.model import N_IMAGES, ToyVAE, one_thread, toy_images

OPTIMUM = 8
SPACE = SearchSpace(2, 32, (2, 4, 8, 16, 32))
BATCH = 32
LEARNING_RATE = 0.01
NO_LATENTS_NLL = 82.0
RULE = ChoiceRule()
SSE = 0.2  # recon_sse at the optimum: an error that three latents reach
FULL_EPOCHS_OF_USE = 2  # in which every latent is in use


class Asked(NamedTuple):
    """A call of `Problem.train`: the controller's class, and whether it goes on from a finished training."""

    latent_dim: int
    epochs: int
    controller: str | None = None
    continues: bool = False


class Killed(Exception):
    """The process of a search has ended in the middle of a training."""


class ToyProblem:
    """Implements `searchers.base.Problem`: every metric is best at `optimum` latents, at any epoch.

    A controller meets real steps of a small VAE on images of three factors, and a real loss; metrics and posteriors are
    made up: the latents of the lowest `optimum` ids are in use, the others die in the third epoch. finite: False makes
    every metric NaN. rule: of the choice.
    test_optimum: where misleading `test_*` columns have their best. kill_at: (training, epoch) after
    which Killed is raised. left: the problem of a search that was killed, which this one goes on from as the bench
    would.
    """

    def __init__(
        self,
        seed: int = 0,
        epochs: int = 12,
        space: SearchSpace = SPACE,
        optimum: int = OPTIMUM,
        test_optimum: int = 2,
        finite: bool = True,
        kill_at: tuple[int, int] | None = None,
        left: ToyProblem | None = None,
        rule: ChoiceRule = RULE,
    ) -> None:
        self.epochs, self.seed, self.space, self.rule = epochs, seed, space, rule
        self.no_latents_nll = NO_LATENTS_NLL
        self.optimum, self.test_optimum, self.finite = optimum, test_optimum, finite
        self.trials: list[Trial] = []
        self.trainings: list[ToyTraining] = []
        self.asked: list[Asked] = []
        self._kill_at, self._left = kill_at, left
        self.checkpoint: dict[str, Any] = {}

    def train(
        self,
        latent_dim: int,
        controller: Controller | None = None,
        epochs: int | None = None,
        start: tuple[Trial, Sequence[int] | None] | None = None,
    ) -> Trial:
        epochs = self.epochs if epochs is None else epochs
        if latent_dim < 2 or epochs < 1:
            raise ValueError(f"got latent_dim {latent_dim} and epochs {epochs}; expected at least 2 and at least 1")
        number = len(self.trials)
        name = None if controller is None else type(controller).__name__
        self.asked.append(Asked(latent_dim, epochs, name, start is not None))
        finished = self._left.trainings[: len(self._left.trials)] if self._left else []
        if number < len(finished):
            training = finished[number]
        else:
            before = None if start is None else self.trainings[start[0].number].kept(start[1])
            training = ToyTraining(self, number, latent_dim, controller, before)
            if self._left and number == len(finished):
                training.restore(self._left.checkpoint)
            self._run(training, epochs)
        self.trainings.append(training)
        self.trials.append(training.trial())
        return self.trials[-1]

    def _run(self, training: ToyTraining, epochs: int) -> None:
        while len(training.rows) < epochs and not training.stopped:
            with one_thread():
                training.epoch(epochs)
            if self._kill_at == (training.number, len(training.rows)):
                self.checkpoint = training.saved()
                raise Killed

    def evaluate(self, trial: Trial, keep: Sequence[int]) -> Assessment:
        return self.trainings[trial.number].evaluate(keep)

    def encode(self, trial: Trial, n: int) -> Posterior:
        return Posterior(*(values[:n] for values in self.trainings[trial.number].posterior()))

    def images(self, n: int) -> Tensor:
        return toy_images(self.seed)[:n]

    def logged(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row of an epoch that is logged in place of this one: for toys with other metrics."""
        return row


class ToyTraining:
    """One training; it implements `searchers.base.Model` for its controller.

    before: the training that it goes on from, with the latents that it starts with.
    """

    def __init__(
        self,
        problem: ToyProblem,
        number: int,
        latent_dim: int,
        controller: Controller | None,
        before: ToyTraining | None = None,
    ) -> None:
        if before is not None and len(before.ids) != latent_dim:
            raise ValueError(f"got latent_dim {latent_dim} to go on with {len(before.ids)} latents; expected as many")
        self.problem, self.number, self.controller = problem, number, controller
        self.vae: ToyVAE = ToyVAE(latent_dim, problem.seed) if before is None else before.vae
        self.ids: list[int] = list(range(latent_dim)) if before is None else before.ids
        self.age: int = 0 if before is None else before.age  # in epochs
        self.ever = 1 + max(self.ids)
        self.rows: list[dict[str, Any]] = []
        self.stopped = False
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Adam:
        parameters = [*self.vae.parameters(), *(self.controller.parameters() if self.controller else ())]
        return torch.optim.Adam(parameters, lr=LEARNING_RATE)

    def kept(self, keep: Sequence[int] | None) -> ToyTraining:
        """A copy with these latents only; None: with those that are open."""
        copied = copy.copy(self)
        copied.vae = copy.deepcopy(self.vae)
        indices = list(keep) if keep is not None else np.flatnonzero(self._is_open()).tolist()
        copied.vae.change_latents(indices, 0, torch.Generator())
        copied.ids = [self.ids[i] for i in indices]
        return copied

    def trial(self) -> Trial:
        """What the searcher gets."""
        size = int(self._is_open().sum())
        return Trial(self.number, size, pd.DataFrame(self.rows), self._assessment(size))

    def epoch(self, epochs: int) -> None:
        """Trains, evaluates, and carries the controller's decision out, as `benchmark.training.loop` does."""
        self.age += 1
        row = self._row(None if self.controller is None else self._steps(self.controller))
        decision = KEEP_ALL
        if self.controller is not None:
            self._check_prior(self.controller.prior_variance())
            with torch.no_grad():
                self.controller.fold(copy.deepcopy(self.vae))
            decision = self.controller.after_epoch(pd.DataFrame([*self.rows, row]), self)
            row |= {f"ctl_{name}": float(value) for name, value in self.controller.traces().items()}
        self.rows.append(row)
        self.stopped = decision.stop
        if self.controller is not None and not self.stopped and len(self.rows) < epochs:
            self._carry_out(decision, self.controller)

    def _steps(self, controller: Controller) -> float:
        """Trains for an epoch; the mean loss."""
        images, generator, losses = toy_images(self.problem.seed), self._generator(), []
        for positions in torch.randperm(N_IMAGES, generator=generator).split(BATCH):
            self.optimizer.zero_grad()
            losses.append(controller.loss(self.vae, images[positions], generator).total)
            torch.autograd.backward(losses[-1])
            self.optimizer.step()
            with torch.no_grad():
                controller.after_step(self.vae)
        return float(torch.stack(losses).detach().mean())

    def _carry_out(self, decision: Decision, controller: Controller) -> None:
        n = len(self.ids)
        indices = list(range(n)) if decision.keep is None else list(decision.keep)
        if not indices or indices != sorted(set(indices) & set(range(n))) or decision.add < 0:
            raise ValueError(f"got {decision}; expected ascending indices in 0..{n - 1} to keep, and no add below 0")
        if decision.keep is None and not decision.add:
            return
        self.vae.change_latents(indices, decision.add, self._generator())
        self.ids = [self.ids[i] for i in indices] + list(range(self.ever, self.ever + decision.add))
        self.ever += decision.add
        controller.latents_kept(indices, decision.add)
        self.optimizer.state.clear()  # the moments have the shapes of before

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        modules = {"vae": self.vae, "controller": self.controller, "optimizer": self.optimizer}
        states = {name: module.state_dict() for name, module in modules.items() if module is not None}
        counters = {name: getattr(self, name) for name in ("ids", "ever", "age", "rows", "stopped")}
        return copy.deepcopy({"modules": states, "counters": counters})

    def restore(self, saved: dict[str, Any]) -> None:
        """Makes a training that has just been made the one that was saved, as `benchmark.training.checkpoint` does."""
        n, start = len(saved["counters"]["ids"]), len(self.ids)
        if n != start:
            kept, n_added = range(min(n, start)), max(0, n - start)
            self.vae.change_latents(kept, n_added, torch.Generator())
            if self.controller is not None:
                self.controller.latents_kept(kept, n_added)
            self.optimizer = self._new_optimizer()
        for name, state in copy.deepcopy(saved["modules"]).items():
            getattr(self, name).load_state_dict(state)
        for name, value in copy.deepcopy(saved["counters"]).items():
            setattr(self, name, value)

    def evaluate(self, keep: Sequence[int]) -> Assessment:
        if not keep or len(set(keep)) < len(keep) or not set(keep) <= set(range(len(self.ids))):
            raise ValueError(f"got latents {list(keep)} to evaluate; expected different ones in 0..{len(self.ids) - 1}")
        return self._assessment(len(keep))

    def losses(self, keeps: Sequence[Sequence[int]], decodes: int) -> list[Assessment]:
        known = ("recon_nll", "recon_sse", "kl", "elbo")
        found = [self.evaluate(keep) for keep in keeps]
        return [
            replace(one, metrics={name: value if name in known else math.nan for name, value in one.metrics.items()})
            for one in found
        ]

    def _assessment(self, size: int) -> Assessment:
        metrics = {**self._metrics(size, self.problem.optimum), "kid_gen": 0.0, "silhouette_excess": 0.0}
        losses = np.linspace(-5, 5, N_IMAGES) - metrics["elbo"]
        return Assessment(size, metrics, dict.fromkeys(DRAWN_METRICS, 0.0), losses)

    def posterior(self) -> Posterior:
        noise = torch.randn(N_IMAGES, len(self.ids), generator=self._generator())
        row = self._row()
        mean = noise * torch.tensor(row["latent_mean_variance"], dtype=torch.float32).sqrt()
        logvar = torch.tensor(row["latent_variance_mean"], dtype=torch.float32).log()
        return Posterior(mean, logvar.expand_as(mean))

    def sensitivity(self, n_images: int) -> Tensor:
        return torch.tensor(np.where(self._in_use(), 1.0, 1e-3), dtype=torch.float32)

    def _generator(self) -> Generator:
        return torch.Generator().manual_seed(1_000_003 * self.problem.seed + self.age)

    def _in_use(self) -> np.ndarray:
        return (np.array(self.ids) < self.problem.optimum) | (self.age <= FULL_EPOCHS_OF_USE)

    def _is_open(self) -> np.ndarray:
        """The latents that the controller has not closed. Raises TypeError where it gives no mask of them."""
        is_open = None if self.controller is None else self.controller.open_latents()
        if is_open is None:
            return np.ones(len(self.ids), dtype=bool)
        if is_open.dtype != torch.bool or is_open.shape != (len(self.ids),):
            got = f"open_latents() gave {is_open.dtype} {list(is_open.shape)}"
            raise TypeError(f"{got}; expected torch.bool [{len(self.ids)}]")
        return is_open.detach().numpy()

    def _check_prior(self, variance: Tensor | None) -> None:
        n = len(self.ids)
        if variance is not None and not (variance.shape == (n,) and bool((variance > 0).all())):
            raise ValueError(f"prior_variance() gave {variance.tolist()}; expected {n} variances above 0")

    def _metrics(self, latent_dim: int, optimum: int) -> dict[str, float]:
        cost = abs(math.log2(max(1, latent_dim) / optimum)) + 0.5**self.age if self.problem.finite else math.nan
        return {
            **{"recon_nll": 80 + cost, "recon_sse": SSE + 0.01 * cost, "kl": 1.0, "elbo": -81 - cost},
            **{"fid_recon": 5 + cost, "fid_gen": 9 + cost, "silhouette": -cost / 10, "silhouette_labels": 1.0},
            "active_units": float(self._in_use().sum()),
        }

    def _row(self, train_loss: float | None = None) -> dict[str, Any]:
        n_open, in_use = int(self._is_open().sum()), self._in_use()
        misleading = self._metrics(n_open, self.problem.test_optimum)
        costs = ("train_seconds", "eval_seconds", "wall_seconds", "images_seen", "train_flops")
        row = {
            **{"trial": self.number, "epoch": len(self.rows) + 1, "latent_dim": n_open, "fid_features": "toy"},
            **{
                "train_loss": misleading["recon_nll"] if train_loss is None else train_loss,
                **dict.fromkeys(costs, 1.0),
            },
            **self._metrics(n_open, self.problem.optimum),
            "latent_id": np.array(self.ids),
            "latent_mean_variance": np.where(in_use, 0.9, 1e-4),
            "latent_variance_mean": np.where(in_use, 0.1, 0.99),
            "latent_kl": np.where(in_use, 1.0, 1e-3),
            **{f"test_{metric}": misleading[metric] for metric in DECISION_METRICS},
        }
        return self.problem.logged(row)
