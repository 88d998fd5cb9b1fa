"""The noise experiment of the paper on sparsity: one latent is made noisy until it collapses (1812.07238, figure 14).

No search for a size: it is run by its name, `searchers.experiments.latent_noise:LatentNoise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher, SearchSpace
from searchers.parts.objectives import (
    VAE,
    Loss,
    frozen_batchnorm_statistics,
    kl_per_dim,
    reparameterise,
)
from searchers.parts.ranges import Count, Positive
from searchers.quantities import ACTIVE


class Phase(IntEnum):
    """What the epoch was trained with; the values of `ctl_phase`."""

    WARM_UP = 0
    RAISING = 1
    HOLDING = 2
    REMOVED = 3


@dataclass(frozen=True)
class LatentNoise(Searcher):
    """Section VI-A's experiment; numbers in epochs, `noise_step` in units of z.

    The size is the space's largest. warm_up: plain ELBO training. Then the inactive latents are held at 0 in the
    decoder, and an active one gets Gaussian noise added to its z in training, whose sd rises by `noise_step` every
    epoch until the latent's reconstruction gain is below its KL. There the noise stays for `hold` epochs, and is then
    removed. The paper does not say which active latent it takes; here it is the one of the median KL (of an even number
    the lower), as the least may be about to die by itself.
    """

    warm_up: Count = 30
    noise_step: Positive = 0.2
    hold: Count = 20

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        return [Expected(space.high, epochs)]

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(problem.space.high, LatentNoiseController(self, problem.space.high)))


class LatentNoiseController(Controller):
    """Adds the noise and measures what the noisy latent brings and costs, over each epoch's training batches.

    gain: the reconstruction error with the latent zeroed less that with it as it is, noise included; nats per image.
    What it takes to decode without the latent is not in `train_flops`, which are those of the first step.
    """

    phase: Tensor
    phase_epochs: Tensor
    noise_sd: Tensor
    noisy: Tensor
    is_open: Tensor
    gain_sum: Tensor
    kl_sum: Tensor
    steps: Tensor

    def __init__(self, settings: LatentNoise, latent_dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("phase", torch.tensor(int(Phase.WARM_UP)))
        self.register_buffer("phase_epochs", torch.tensor(0))  # completed in this phase
        self.register_buffer("noise_sd", torch.tensor(0.0))
        self.register_buffer("noisy", torch.tensor(-1))  # the latent's index, -1 before the choice
        self.register_buffer("is_open", torch.ones(latent_dim, dtype=torch.bool))
        self.register_buffer("gain_sum", torch.tensor(0.0))
        self.register_buffer("kl_sum", torch.tensor(0.0))
        self.register_buffer("steps", torch.tensor(0))
        self._traces: dict[str, float] = {}

    def loss(self, vae: VAE, x: Tensor, generator: Generator) -> Loss:
        mean, logvar = vae.encode(x)
        z = reparameterise(mean, logvar, generator) * self.is_open
        kl = kl_per_dim(mean, logvar)
        if self.phase == Phase.WARM_UP:
            return Loss(vae.likelihood.nll(vae.decode(z), x) + kl.sum() / len(x))
        is_noisy = torch.arange(len(self.is_open), device=z.device) == self.noisy
        noise = torch.empty(len(x), 1, device=z.device).normal_(generator=generator)
        z = z + self.noise_sd * noise * is_noisy
        error = vae.likelihood.nll(vae.decode(z), x)
        with torch.no_grad(), frozen_batchnorm_statistics(vae):
            self.gain_sum += vae.likelihood.nll(vae.decode(z * ~is_noisy), x) - error
            self.kl_sum += (kl * is_noisy).sum() / len(x)
            self.steps += 1
        return Loss(error + kl.sum() / len(x))

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        gain, kl = float(self.gain_sum / self.steps), float(self.kl_sum / self.steps)  # NaN in the warm-up
        self._note(history, gain, kl)
        for total in (self.gain_sum, self.kl_sum, self.steps):
            total.zero_()
        self.phase_epochs += 1
        if self.phase == Phase.WARM_UP and self.phase_epochs >= self.settings.warm_up:
            self._choose(history)
        elif self.phase == Phase.RAISING and gain < kl:
            self._enter(Phase.HOLDING)
        elif self.phase == Phase.RAISING:
            self.noise_sd += self.settings.noise_step
        elif self.phase == Phase.HOLDING and self.phase_epochs >= self.settings.hold:
            self.noise_sd.zero_()
            self._enter(Phase.REMOVED)
        return KEEP_ALL

    def _choose(self, history: pd.DataFrame) -> None:
        """Raises ArithmeticError where no latent is active."""
        last = history.iloc[-1]
        is_active = last["latent_mean_variance"] > ACTIVE
        active = np.flatnonzero(is_active)
        if not len(active):
            raise ArithmeticError("no latent is active after the warm-up, so none can be made noisy: raise warm_up")
        by_kl = active[np.argsort(last["latent_kl"][active], kind="stable")]
        self.noisy.fill_(int(by_kl[(len(by_kl) - 1) // 2]))
        self.is_open.copy_(torch.from_numpy(is_active))
        self.noise_sd.fill_(self.settings.noise_step)
        self._enter(Phase.RAISING)

    def _enter(self, phase: Phase) -> None:
        self.phase.fill_(int(phase))
        self.phase_epochs.zero_()

    def open_latents(self) -> Tensor:
        return self.is_open

    def _note(self, history: pd.DataFrame, gain: float, kl: float) -> None:
        self._traces = {"phase": float(self.phase), "noise_sd": float(self.noise_sd)}
        if self.phase != Phase.WARM_UP:
            noisy, last = int(self.noisy), history.iloc[-1]
            self._traces |= {
                "noisy_latent": float(noisy),
                "recon_gain": gain,
                "noisy_kl": kl,
                "noisy_variance": float(last["latent_mean_variance"][noisy]),
                "noisy_variance_mean": float(last["latent_variance_mean"][noisy]),
            }

    def traces(self) -> dict[str, float]:
        return self._traces
