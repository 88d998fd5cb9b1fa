"""ALD-VAE: removes latents during training until the metrics' trends say stop (2312.06280, algorithm 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.ranges import Count, Positive, Size
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

    def __post_init__(self) -> None:
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
        trial = problem.train(start, ALDController(self, problem.seed), self._epochs(problem.epochs))
        diverged = not np.isfinite(trial.history["train_loss"].iloc[-1])  # it then found no size
        settled = trial.latent_dim == self.min_latent_dim or not trial.history["ctl_removing"].iloc[-1]
        chosen = problem.train(trial.latent_dim) if self.retrain and not diverged else trial
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
        if s.removal == "kl":
            removed = np.argsort(history["latent_kl"].iloc[-1], kind="stable")[:n_removed]
        else:
            rng = np.random.default_rng((self.seed, len(history)))  # of the run's seed and epoch: survives a resume
            removed = rng.choice(latent_dim, n_removed, replace=False)
        return Decision(keep=tuple(sorted(set(range(latent_dim)) - set(removed.tolist()))))

    def traces(self) -> dict[str, float]:
        slopes = {f"slope_{metric}": value for metric, value in self._slopes.items()}
        return {"removing": float(self.removing), "stopped": float(self.stopped), **slopes}
