"""FONDUE: the largest size without superfluous latents, found by short trainings (2209.12806)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Generator, Tensor

from searchers.base import (
    KEEP_ALL,
    Choice,
    Controller,
    Decision,
    Expected,
    Model,
    Problem,
    Searcher,
    SearchSpace,
    Trial,
)
from searchers.parts.intrinsic_dimension import mle
from searchers.parts.objectives import VAE
from searchers.parts.ranges import Count, Positive, Size

N_IMAGES = 10_000  # behind a dimension
USUAL_PROBES = 6


@dataclass(frozen=True)
class Fondue(Searcher):
    """Doubles the size, from the images' dimension on, bisects once one is too large, and trains the answer fully.

    A latent that the decoder ignores has the posterior N(0, 1), so sampled codes vary where their means do not. A probe
    is good where what the sampled codes have more than their means is at most `threshold`: of `trace`, the variance,
    which is the sum over latents of the mean posterior variance; of `dimension`, the intrinsic dimension (MLE with
    `n_neighbours`), which sees nothing above about 15.

    threshold: 1 is the authors'. A latent in use has a posterior variance of its own, 0.2 where images are noisy, so 1
    allows five of those. steps: of the optimiser in a probe, in whole epochs and at most a full training. With too few
    every latent still looks superfluous, and the answer is the space's smallest size; where the KL is too weak to
    switch any off it is the largest.
    """

    variant: Literal["trace", "dimension"] = "trace"
    threshold: Positive = 1.0
    steps: Count = 2_000
    n_neighbours: Size = 20

    def search(self, problem: Problem) -> Choice:
        dimension = mle(problem.images(N_IMAGES).flatten(1).cpu().numpy(), self.n_neighbours)
        low, above = problem.space.low, problem.space.high + 1  # the largest good size is low or between the two
        size, probes = problem.space.clip(round(dimension)), dict[int, Trial]()
        while above - low > 1:
            if size > low:
                probes[size] = problem.train(size, Probe(self.steps))
            is_good = size == low or self._more_in_samples(problem, probes[size]) <= self.threshold
            low, above = (size, above) if is_good else (low, size)
            size = 2 * low if is_good and 2 * low < above else (low + above) // 2
        probe = probes.get(low)
        is_full = probe is not None and probe.epochs == problem.epochs
        return Choice(probe if probe is not None and is_full else problem.train(low), estimate=dimension)

    def _more_in_samples(self, problem: Problem, trial: Trial) -> float:
        if self.variant == "trace":
            return float(trial.history["latent_variance_mean"].iloc[-1].sum())
        mean, logvar = (values.cpu() for values in problem.encode(trial, N_IMAGES))
        noise = torch.randn(mean.shape, generator=Generator().manual_seed(problem.seed))
        samples = mean + (0.5 * logvar).exp() * noise
        return mle(samples.numpy(), self.n_neighbours) - mle(mean.numpy(), self.n_neighbours)

    def expected(self, space: SearchSpace, epochs: int, seed: int) -> Sequence[Expected]:
        size = max(space.low, space.high // 2)
        return [Expected(size, max(1, epochs // 8))] * USUAL_PROBES + [Expected(size, epochs)]


class Probe(Controller):
    """Plain training that ends with the epoch in which it has done so many steps."""

    done: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("done", torch.tensor(0))

    @property
    def capturable(self) -> bool:
        return True

    def after_step(self, vae: VAE) -> None:
        self.done += 1

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return Decision(stop=True) if int(self.done) >= self.steps else KEEP_ALL
