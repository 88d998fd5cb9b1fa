"""ALD-VAE: removes latents during training until the metrics' trends say stop (2312.06280), or the loss does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.objectives import VAE, Loss, kl_per_dim, reparameterise
from searchers.parts.ranges import Count, Positive, Share, Size
from searchers.parts.trends import all_rising, slope
from searchers.quantities import DECISION_METRICS


@dataclass(frozen=True)
class ALD(Searcher):
    """Settings of section 3.3, numbers in epochs or latents.

    start_latent_dim: the size to start from; None means the space's largest. patience: epochs between two removals.
    window: epochs over which the stop rule takes slopes. slow_window: epochs of the silhouette's slope that slows
    removal from `decrease` to `slow_decrease` latents. removal: which latents to remove: `random` as in the paper, or
    `kl` for those with the lowest mean KL. stop_rule: False keeps removing latents after the stop rule has fired, and
    ends `patience` epochs after `min_latent_dim` is reached (figure 2). budget: epochs of this training as a share of a
    full training's; more than 1 gives slow removal time. retrain: True trains a fresh model of the size found and
    chooses that model (figure 3).

    control: what ends removal: `trends`, the paper's, or `loss`, the rule of adaptive rank-reduction autoencoders
    (2405.13980), which is theirs with decrease = 1 and with removal = "kl" in place of the smallest singular value. It
    waits until the validation loss -ELBO stagnates, and notes it. While the loss is at or below the noted one, latents
    go; where it stays above for `window` epochs, those that went last come back, no more go, and the training goes on.
    The loss is a mean over `patience` epochs, so a latent at a time takes `patience` epochs each: start small, or give
    it a `budget`. stagnation: that the loss falls over `window` epochs by less than this part of what latents are worth
    (the paper: 5 % of the loss itself, of which the worth of latents may be a small part).
    """

    start_latent_dim: Size | None = None
    patience: Count = 5
    decrease: Count = 5
    slow_decrease: Count = 1
    window: Count = 20
    slow_window: Count = 10
    min_latent_dim: Size = 2
    removal: Literal["random", "kl"] = "random"
    stop_rule: bool = True
    budget: Positive = 1.0
    retrain: bool = False
    control: Literal["trends", "loss"] = "trends"
    stagnation: Share = 0.1

    def __post_init__(self) -> None:
        if self.control == "loss" and not self.stop_rule:
            raise ValueError('stop_rule is False and control loss; expected control = "trends", whose rule it is')
        if self.start_latent_dim is not None and self.start_latent_dim < self.min_latent_dim:
            got = f"start_latent_dim is {self.start_latent_dim} and min_latent_dim {self.min_latent_dim}"
            raise ValueError(f"{got}; expected min_latent_dim <= start_latent_dim")

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        start = self.start_latent_dim or space.high
        first = Expected(start, self._epochs(epochs))
        return [first, Expected(start, epochs)] if self.retrain else [first]

    def _epochs(self, full: int) -> int:
        return max(1, round(self.budget * full))

    def search(self, problem: Problem) -> Choice:
        start = self.start_latent_dim or problem.space.high
        epochs = self._epochs(problem.epochs)
        by_loss = LossController(self, problem, start, epochs) if self.control == "loss" else None
        trial = problem.train(start, by_loss or ALDController(self, problem.seed), epochs)
        is_smallest = self.control == "trends" and trial.latent_dim == self.min_latent_dim
        settled = is_smallest or not trial.history["ctl_removing"].iloc[-1]
        chosen = problem.train(trial.latent_dim) if self.retrain and not trial.diverged else trial
        return Choice(chosen, settled=settled)


class ALDController(Controller):
    """Removes latents every `patience` epochs.

    removing: how many latents the next removal takes; 0 once removal has stopped. stopped: whether the stop rule has
    fired, even if it is ignored.
    """

    removing: Tensor
    stopped: Tensor

    def __init__(self, settings: ALD, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.register_buffer("removing", torch.tensor(settings.decrease))
        self.register_buffer("stopped", torch.tensor(False))
        self._slopes = dict.fromkeys(DECISION_METRICS, float("nan"))

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        s = self.settings
        self._slopes = {metric: slope(history[metric], s.window) for metric in DECISION_METRICS}
        if len(history) % s.patience != 0 or not self.removing:
            return KEEP_ALL
        if all_rising([history[metric] for metric in DECISION_METRICS], s.window):
            self.stopped.fill_(True)
        if self.stopped and s.stop_rule:
            self.removing.zero_()
            return KEEP_ALL
        if len(history) >= s.slow_window and slope(history["silhouette"], s.slow_window) > 0:
            self.removing.fill_(s.slow_decrease)
        latent_dim = int(history["latent_dim"].iloc[-1])
        n_removed = min(int(self.removing), latent_dim - s.min_latent_dim)
        if n_removed <= 0:
            return Decision(stop=not s.stop_rule)
        removed = _to_remove(s, self.seed, history, np.arange(latent_dim), n_removed)
        return Decision(keep=tuple(sorted(set(range(latent_dim)) - set(removed.tolist()))))

    def traces(self) -> dict[str, float]:
        slopes = {f"slope_{metric}": value for metric, value in self._slopes.items()}
        return {"removing": float(self.removing), "stopped": float(self.stopped), **slopes}


class LossController(Controller):
    """Closes latents while the loss is at or below the noted one. They are removed at the end, as they can come back.

    After the last epoch nothing changes, as the finished model is one that was evaluated. is_open and closed_last: bool
    [latent_dim]. noted: the loss; NaN before it stagnates. since: the epoch of the last change. is_over: no more go.
    """

    is_open: Tensor
    closed_last: Tensor
    noted: Tensor
    since: Tensor
    is_over: Tensor

    def __init__(self, settings: ALD, problem: Problem, latent_dim: int, epochs: int) -> None:
        super().__init__()
        self.settings, self.seed, self.no_latents_nll = settings, problem.seed, problem.no_latents_nll
        self.epochs = epochs
        self.register_buffer("is_open", torch.ones(latent_dim, dtype=torch.bool))
        self.register_buffer("closed_last", torch.zeros(latent_dim, dtype=torch.bool))
        self.register_buffer("noted", torch.tensor(float("nan")))
        self.register_buffer("since", torch.tensor(0))
        self.register_buffer("is_over", torch.tensor(False))

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        outputs = vae.decode(reparameterise(mean, logvar, generator) * self.is_open)
        return Loss(vae.likelihood.nll(outputs, x) + (kl_per_dim(mean, logvar) * self.is_open).sum() / len(x))

    @property
    def capturable(self) -> bool:
        return True

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        s, epoch = self.settings, len(history)
        if epoch % s.patience or self.is_over or epoch == self.epochs:
            return KEEP_ALL
        losses = -history["elbo"].rolling(s.patience).mean().to_numpy(dtype=np.float32)  # as it is noted
        loss = float(losses[-1])
        if self.noted.isnan():
            worth = self.no_latents_nll - loss
            if epoch > s.window and float(losses[-1 - s.window]) - loss < s.stagnation * worth:
                self.noted.fill_(loss)
                self.since.fill_(epoch)
        if loss <= self.noted:
            self._close(history)
        elif epoch - int(self.since) >= s.window and not self.noted.isnan():
            self.is_open |= self.closed_last
            self.is_over.fill_(True)
        return KEEP_ALL

    def _close(self, history: pd.DataFrame) -> None:
        s, candidates = self.settings, self.is_open.nonzero().flatten().cpu().numpy()
        n_removed = min(s.decrease, len(candidates) - s.min_latent_dim)
        if n_removed <= 0:
            self.is_over.fill_(True)
            return
        self.closed_last.zero_()
        self.closed_last[_to_remove(s, self.seed, history, candidates, n_removed).tolist()] = True
        self.is_open &= ~self.closed_last
        self.since.fill_(len(history))

    def open_latents(self) -> Tensor:
        return self.is_open

    def traces(self) -> dict[str, float]:
        return {"removing": float(~self.is_over) * self.settings.decrease, "noted": float(self.noted)}


def _to_remove(
    settings: ALD, seed: int, history: pd.DataFrame, candidates: NDArray[np.int_], n: int
) -> NDArray[np.int_]:
    """The n of the candidates, indices of latents, that go."""
    if settings.removal == "kl":
        places = np.argsort(history["latent_kl"].iloc[-1][candidates], kind="stable")[:n]
    else:
        rng = np.random.default_rng((seed, len(history)))  # of the run's seed and epoch: survives a resume
        places = rng.choice(len(candidates), n, replace=False)
    chosen: NDArray[np.int_] = candidates[places]
    return chosen
