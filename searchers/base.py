"""The interface between a search method and the bench.

A searcher decides which latent sizes are trained; the bench trains, evaluates, keeps the clock and writes to disk.
A whole-run searcher calls `problem.train(latent_dim)` several times. An in-training searcher calls it once with a
`Controller` that decides after every epoch of that training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from torch import Generator, Tensor, nn

from searchers.parts.objectives import VAE, Loss, elbo_loss


@dataclass(frozen=True)
class Decision:
    """What to do after an epoch: go on, keep only some latents, or end the training.

    keep: indices (into the latents the network has now, ascending) of the latents that stay; None keeps all. It is not
        carried out after a training's last epoch: the finished model is one that was trained and evaluated. Not for a
        controller with `open_latents`, or with state for each latent, which could not follow: that is a TypeError.
    stop: end this training before its budget is used up.
    """

    keep: tuple[int, ...] | None = None
    stop: bool = False


KEEP_ALL = Decision()


class Controller(nn.Module, ABC):
    """Decides inside one training. Parameters it registers are trained with the model's; its state is checkpointed.

    Everything that outlives an epoch must be a registered parameter or buffer, so that a killed training resumes to
    the same result. Only `after_epoch` has to be written; the other hooks are for objectives that are not the ELBO.
    """

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        """The loss of one step on x [B, C, H, W] in [0, 1]. All noise must come from `generator`."""
        return elbo_loss(vae, x, generator)

    @property
    def capturable(self) -> bool:
        """Whether a GPU may record one step and replay it (a CUDA graph).

        `loss` and `after_step` must then be operations on tensors alone, which change buffers in place and never wait
        for a value. By itself it is true where neither is overridden.
        """
        return type(self).loss is Controller.loss and type(self).after_step is Controller.after_step

    def after_step(self) -> None:
        """Called after each optimiser step, without gradients: the place to project parameters."""
        return None

    @abstractmethod
    def after_epoch(self, history: pd.DataFrame) -> Decision:
        """Decides from the rows logged so far in this training, one an epoch, the newest last.

        Columns: those of `ResultsStore.epochs()`, and `latent_mean_variance`, `latent_variance_mean`, `latent_kl`:
        an array an epoch of var(mean_j), mean(var_j) and KL_j (nats) over the validation data, [latent_dim] each.
        """

    def open_latents(self) -> Tensor | None:
        """Which latents the decoder may use at evaluation, bool [latent_dim]; None means all of them.

        Latents that are closed when the training ends are removed from the finished model.
        """
        return None

    def traces(self) -> dict[str, float]:
        """Numbers to log this epoch, read after the decision; `name` becomes the column `ctl_name`, of floats."""
        return {}


class FixedSize(Controller):
    """Plain ELBO training at one size."""

    def after_epoch(self, history: pd.DataFrame) -> Decision:
        return KEEP_ALL


@dataclass(frozen=True)
class Trial:
    """One finished training.

    number: 0-based, in the order of the calls to `Problem.train`.
    latent_dim: the size it ended with.
    history: its rows, one an epoch (see `Controller.after_epoch`).
    """

    number: int
    latent_dim: int
    history: pd.DataFrame


@dataclass(frozen=True)
class Choice:
    """A searcher's answer: the training whose final model and size are chosen.

    pareto: numbers of the trainings that no other training beats in every metric.
    settled: False where the size was still changing when its training ended, so that more epochs may change the answer;
        None where the method does not know.
    """

    trial: Trial
    pareto: tuple[int, ...] = field(default=())
    settled: bool | None = None

    @property
    def latent_dim(self) -> int:
        """The chosen size."""
        return self.trial.latent_dim


class Problem(Protocol):
    """What a searcher is handed: validation data behind a training budget; never the test split."""

    @property
    def epochs(self) -> int:
        """Epochs of one full training."""

    @property
    def seed(self) -> int:
        """The search's seed; all of a searcher's own randomness must follow from it."""

    @property
    def n_classes(self) -> int:
        """Number of label classes in the data."""

    def train(self, latent_dim: int, controller: Controller | None = None, epochs: int | None = None) -> Trial:
        """Trains one VAE that starts with `latent_dim` >= 2 latents for `epochs` (None: the full budget).

        Without a controller it is plain ELBO training. Raises ValueError for a size or budget it cannot train.
        The n-th call of a resumed search returns what the n-th call returned before: searchers must be deterministic.
        """

    def create_study(self, sampler: BaseSampler, directions: Sequence[StudyDirection]) -> Study:
        """A fresh Optuna study for this search, kept beside its results or in the database that the user named.

        A repeated search makes it anew, since a resumed search repeats its calls.
        """


class Searcher(ABC):
    """A way of choosing the latent size. Concrete searchers are frozen dataclasses: their fields are their settings."""

    @abstractmethod
    def search(self, problem: Problem) -> Choice:
        """Chooses a size. Deterministic given `problem.seed`; it sees validation metrics only."""

    def known_sizes(self, seed: int) -> tuple[int, ...]:
        """Sizes that a search with this seed trains first whatever comes of them, in this order.

        Each without a controller and for the full budget. The bench can then train them all at once, as one stacked
        model or on several machines, before the search asks for them.
        """
        return ()

    @property
    def n_trainings(self) -> int:
        """How many trainings a search takes, for the progress display."""
        return 1
