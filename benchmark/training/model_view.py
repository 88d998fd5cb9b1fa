"""Shows a controller the model in training after an epoch."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.backbones.linear import use_torch_products
from benchmark.backbones.vae import VAE
from benchmark.metrics.assessment import assess, assess_losses
from benchmark.metrics.evaluation import Evaluator
from benchmark.store.folders import assessment_of
from benchmark.training.clock import Clock
from benchmark.training.controller_checks import checked_prior_variance
from benchmark.training.rng import Purpose, stream_seed
from searchers.base import Assessment, Controller, Posterior


class ModelView:
    """Implements `searchers.base.Model`.

    vae: in evaluation mode, with the prior N(0, 1). seed: of the search. seconds: the duration of each call. curve: one
    row per call of `evaluate`, and per set of latents of `losses`.
    """

    def __init__(self, vae: VAE, evaluator: Evaluator, clock: Clock, seed: int) -> None:
        self.vae, self.evaluator = vae, evaluator
        self._clock, self._seed = clock, seed
        self.seconds: list[float] = []
        self.curve: list[dict[str, Any]] = []

    def evaluate(self, keep: Sequence[int]) -> Assessment:
        """See `searchers.base.Model.evaluate`. Raises ValueError for indices that the model does not have."""
        row = assess_latents(self.vae, keep, self.evaluator, self._clock, self._seed)
        self.seconds.append(row["eval_seconds"])
        self.curve.append(row)
        return assessment_of(row)

    def losses(self, keeps: Sequence[Sequence[int]], decodes: int) -> list[Assessment]:
        """See `searchers.base.Model.losses`. Raises ValueError for indices that the model does not have."""
        masks = [_mask(self.vae, keep, self._clock) for keep in keeps]
        with self._clock.lap(self.seconds):
            rows = assess_losses(self.evaluator, self.vae, masks, stream_seed(Purpose.ASSESSMENT, self._seed), decodes)
        seconds = self.seconds[-1] / len(rows)
        self.curve += [{"split": "val", **row, "losses": [], "eval_seconds": seconds} for row in rows]
        return [assessment_of(row) for row in rows]

    def posterior(self) -> Posterior:
        """See `searchers.base.Model.posterior`."""
        with self._clock.lap(self.seconds):
            return self.evaluator.posterior(self.vae, len(self.evaluator.split))

    def sensitivity(self, n_images: int) -> Tensor:
        """See `searchers.base.Model.sensitivity`. Uses forward-mode derivatives, one pass per latent."""
        with self._clock.lap(self.seconds), torch.no_grad():
            some = self.evaluator.batches(split=self.evaluator.split.sample(n_images))
            z = torch.cat([self.vae.encode(x)[0] for x in some])
            vae = copy.deepcopy(self.vae)
            use_torch_products(vae)
            return torch.stack([_sensitivity(vae, z, latent) for latent in range(z.shape[1])])


def _sensitivity(vae: VAE, z: Tensor, latent: int) -> Tensor:
    """The mean over images of |d reconstruction / d z_j|^2 for the latent j, with z [N, n]: a scalar."""
    direction = torch.zeros_like(z)
    direction[:, latent] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # forward mode loads a deprecated part of torch
        derivative = torch.func.jvp(lambda z: vae.likelihood.reconstruct(vae.decode(z)), (z,), (direction,))[1]
    mean_square: Tensor = derivative.square().flatten(1).sum(1).mean()
    return mean_square


def assess_latents(vae: VAE, keep: Sequence[int], evaluator: Evaluator, clock: Clock, seed: int) -> dict[str, Any]:
    """Assesses a model with these latents only on validation data: a row of `ResultsStore.curves()`, without its keys.

    seed: of the search. Raises ValueError for indices that the model does not have.
    """
    is_open = _mask(vae, keep, clock)
    seconds: list[float] = []
    with clock.lap(seconds):
        row = assess(evaluator, vae, is_open, stream_seed(Purpose.ASSESSMENT, seed))
    return {"split": "val", **row, "eval_seconds": seconds[0]}


def _mask(vae: VAE, keep: Sequence[int], clock: Clock) -> Tensor:
    """Which latents to keep, bool [n] on the clock's device."""
    indices = sorted(set(keep))
    if not indices or len(indices) != len(keep) or not 0 <= indices[0] <= indices[-1] < vae.latent_dim:
        raise ValueError(f"got latents {list(keep)} to evaluate; expected different ones in 0..{vae.latent_dim - 1}")
    is_open = torch.zeros(vae.latent_dim, dtype=torch.bool, device=clock.device)
    is_open[indices] = True
    return is_open


def as_evaluated(vae: VAE, controller: Controller) -> VAE:
    """Returns the model itself if the controller folds nothing into it, else a copy with all that."""
    if controller.prior_variance() is None and type(controller).fold is Controller.fold:
        return vae
    folded = copy.deepcopy(vae)
    fold_in(folded, controller)
    return folded


@torch.no_grad()
def fold_in(vae: VAE, controller: Controller) -> None:
    """Makes the model independent of the controller's prior and of what its loss adds, in place."""
    variance = checked_prior_variance(controller, vae.latent_dim)
    if variance is not None:
        vae.fold_prior(variance)
    controller.fold(vae)
