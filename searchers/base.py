"""The interface between a search method and the bench.

A searcher decides which latent sizes are trained; the bench trains, evaluates, keeps the clock and writes to disk.
A whole-run searcher calls `problem.train(latent_dim)` several times. An in-training searcher calls it once with a
`Controller` that decides after every epoch of that training. What else a searcher may ask for (metrics of a model with
some latents only, posteriors, training images, a training that goes on from another) is on `Problem`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import pandas as pd
from torch import Generator, Tensor, nn

from searchers.assessment import Assessment as Assessment
from searchers.assessment import Evidence as Evidence
from searchers.parts.objectives import VAE, Loss, elbo_loss
from searchers.rule import ChoiceRule as ChoiceRule
from searchers.space import SearchSpace as SearchSpace


class Posterior(NamedTuple):
    """What the encoder gives for N images and n latents: `mean` and `logvar`, [N, n] each."""

    mean: Tensor
    logvar: Tensor


@dataclass(frozen=True)
class Decision:
    """What to do after an epoch: go on, keep only some latents, add some, or end the training.

    keep: indices (into the latents the network has now, ascending) of the latents that stay; None keeps all. The
        controller is told by `latents_kept`.
    add: how many fresh latents the network gets, after those that stay. They come with fresh optimizer state and do not
        change the reconstructions at first.
    stop: end this training before its budget is used up.
    `keep` and `add` are not carried out after a training's last epoch: the finished model is one that was trained and
    evaluated.
    """

    keep: tuple[int, ...] | None = None
    add: int = 0
    stop: bool = False


KEEP_ALL = Decision()


class Model(Protocol):
    """The model in training as a controller may look at it after an epoch. What it asks for is on the clock."""

    def evaluate(self, keep: Sequence[int]) -> Assessment:
        """Assesses the model on validation data with these latents only (indices): a row of `ResultsStore.curves()`."""

    def losses(self, keeps: Sequence[Sequence[int]], decodes: int) -> list[Assessment]:
        """Assesses the model with each of these sets of latents by its loss alone, much faster than `evaluate`.

        decodes: about how many images are decoded for each set. NLL, KL, ELBO and squared error are known, all other
        metrics are NaN. A row of `ResultsStore.curves()` each.
        """

    def posterior(self) -> Posterior:
        """The posterior of the validation images, [N, n]."""

    def sensitivity(self, n_images: int) -> Tensor:
        """How much each latent moves the reconstruction, [n]: the mean of |d reconstruction / d z_j|^2.

        Taken at the posterior means of `n_images` validation images, drawn once for all.
        """


class Controller(nn.Module, ABC):
    """Decides inside one training. Parameters it registers are trained with the model's; its state is checkpointed.

    Everything that outlives an epoch must be a registered parameter or buffer, so that a killed training resumes to
    the same result. Only `after_epoch` has to be written; the other hooks are for objectives that are not the ELBO.
    """

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        """The loss of one step on x, images [B, C, H, W] in [0, 1] or rows [B, D]. All noise comes from `generator`."""
        return elbo_loss(vae, x, generator)

    @property
    def capturable(self) -> bool:
        """Whether a GPU may record one step and replay it (a CUDA graph).

        `loss` and `after_step` must then be operations on tensors alone, which change buffers in place and never wait
        for a value. By itself it is true where neither is overridden.
        """
        return type(self).loss is Controller.loss and type(self).after_step is Controller.after_step

    def after_step(self, vae: VAE) -> None:
        """Called after each optimiser step, without gradients: the place to project parameters."""
        return None

    @abstractmethod
    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        """Decides from the rows logged so far in this training, one an epoch, the newest last, and from the model.

        history's columns: those of `ResultsStore.epochs()`, and `latent_mean_variance`, `latent_variance_mean`,
        `latent_kl`: an array an epoch of var(mean_j), mean(var_j) and KL_j (nats) over the validation data,
        [latent_dim] each.
        """

    def latents_kept(self, indices: Sequence[int], n_added: int) -> None:
        """Called when a decision is carried out: the latents now are those at `indices`, then `n_added` fresh ones.

        State for each latent is resized here, in place of the old tensors: `resize` does it. A training that resumes
        makes the controller anew and calls this once with as many latents as there are, before it loads the state.
        """
        return None

    def open_latents(self) -> Tensor | None:
        """Which latents the decoder may use at evaluation, bool [latent_dim]; None means all of them.

        Latents that are closed when the training ends are removed from the finished model.
        """
        return None

    def prior_variance(self) -> Tensor | None:
        """The variances of a learned prior N(0, diag), [latent_dim]; None means 1.

        Metrics and samples use it: the model is evaluated, and when the training ends changed for good, such that its
        prior is N(0, 1) (each latent is divided by its standard deviation).
        """
        return None

    def fold(self, vae: VAE) -> None:
        """Changes the model in place, without gradients, into the one that is evaluated, with what the loss adds to it.

        Called on a copy before each evaluation, and on the model itself when the training ends, after the prior is
        folded in: linear maps between encoder and decoder go into the mean head, `vae.sampler` takes the prior's place.
        """
        return None

    def traces(self) -> dict[str, float]:
        """Numbers to log this epoch, read after the decision; `name` becomes the column `ctl_name`, of floats."""
        return {}


class FixedSize(Controller):
    """Plain ELBO training at one size."""

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL


@dataclass(frozen=True)
class Trial:
    """One finished training.

    number: 0-based, in the order of the calls to `Problem.train`.
    latent_dim: the size it ended with.
    history: its rows, one an epoch (see `Controller.after_epoch`), or every n epochs (`Searcher.reads_epochs`).
    assessment: of the finished model, on validation data.
    """

    number: int
    latent_dim: int
    history: pd.DataFrame
    assessment: Assessment

    @property
    def epochs(self) -> int:
        """How many it had."""
        return int(self.history["epoch"].iloc[-1])

    @property
    def diverged(self) -> bool:
        """Whether its loss ended without a finite value: it then has found nothing."""
        return not math.isfinite(self.history["train_loss"].iloc[-1])


@dataclass(frozen=True)
class Choice:
    """A searcher's answer: the training whose final model and size are chosen.

    pareto: numbers of the trainings that no other training beats in every metric.
    settled: False where the size was still changing when its training ended, so that more epochs may change the answer;
        None where the method does not know.
    as_good: sizes that are as good, by rising size, where the method knows: by a rule, those that resampled images also
        choose and whose loss is within the rule's margin. evidence: of the rule that chose the size. estimate: of the
        number of dimensions before it was rounded, where the method makes one.
    """

    trial: Trial
    pareto: tuple[int, ...] = field(default=())
    settled: bool | None = None
    as_good: tuple[int, ...] = field(default=())
    evidence: Evidence | None = None
    estimate: float | None = None

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
    def space(self) -> SearchSpace:
        """The sizes to choose from, the same for every method of a protocol."""

    @property
    def rule(self) -> ChoiceRule:
        """How to choose among assessed sizes, the same for every method: see `searchers.selection`."""

    @property
    def no_latents_nll(self) -> float:
        """The validation NLL of a model without latents, nats per sample."""

    def train(
        self,
        latent_dim: int,
        controller: Controller | None = None,
        epochs: int | None = None,
        start: tuple[Trial, Sequence[int] | None] | None = None,
    ) -> Trial:
        """Trains one VAE that starts with `latent_dim` >= 2 latents for `epochs` (None: the full budget).

        Without a controller it is plain ELBO training. start: (trial, keep) goes on from that finished training's model
        and optimizer state with the latents `keep` (None: all), of which there must be `latent_dim`; only its own
        epochs are charged. Raises ValueError for a size or budget it cannot train. The random numbers follow from the
        seed, the size and where it starts, so two equal calls give the same model. The n-th call of a resumed search
        returns what the n-th call returned before: searchers must be deterministic.
        """

    def evaluate(self, trial: Trial, keep: Sequence[int]) -> Assessment:
        """Assesses a finished training's model on validation data with these latents only (indices).

        On the clock; each call is a row of `ResultsStore.curves()`.
        """

    def encode(self, trial: Trial, n: int) -> Posterior:
        """The posterior that a finished training's model gives the first n validation images, [n, latent_dim]."""

    def images(self, n: int) -> Tensor:
        """n different training images drawn with the search's seed, as a network sees them: [n, C, H, W]; or all."""


class Expected(NamedTuple):
    """A training that a search expects to ask for: the size it starts with and its epochs.

    certain: True where it comes whatever its results and those of others are, without a controller and from a fresh
    start: the bench may then train it before the search asks. Certain ones come in this order; there may be more or
    fewer of the others between them.
    """

    latent_dim: int
    epochs: int
    certain: bool = False


class Searcher(ABC):
    """A way of choosing the latent size. Concrete searchers are frozen dataclasses: their fields are their settings."""

    @abstractmethod
    def search(self, problem: Problem) -> Choice:
        """Chooses a size. Deterministic given `problem.seed`; it sees validation metrics only."""

    @property
    def continues(self) -> bool:
        """Whether it calls `problem.train(start=...)`: finished trainings then keep their optimizer's state."""
        return False

    @property
    def reads_epochs(self) -> bool:
        """Whether it needs the row of every epoch, as rules on trends and on single epochs do.

        Such a searcher is not run where a protocol wants metrics in every n-th epoch only (`[evaluation] every`). One
        that asks for plain trainings and reads how they end may answer False: `history` then has a row every n epochs
        and one of the last, and `after_epoch` is called for these alone.
        """
        return True

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        """The trainings that a search of this space, budget and seed expects to ask for, in that order.

        For the estimate of its cost and for the progress display. By itself it is one of the largest size.
        """
        return (Expected(space.high, epochs),)


def resize(values: Tensor, indices: Sequence[int], fresh: Tensor) -> None:
    """Makes a controller's tensor for each latent [n, ...] one for the latents at `indices`, then the rows of `fresh`.

    In place, so that it stays the same parameter or buffer; see `Controller.latents_kept`.
    """
    kept = values.detach()[list(indices)]
    values.data = values.new_tensor(0).new_empty((len(kept) + len(fresh), *values.shape[1:]))
    values.data[: len(kept)] = kept
    values.data[len(kept) :] = fresh
    values.grad = None
