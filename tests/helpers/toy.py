"""A problem without data or GPU whose best latent size is known, for the tests of searchers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection

from benchmark.backbones.build import build_vae
from benchmark.store.rows import EPOCH_COLUMNS
from searchers.base import Controller, Trial

IMAGE_SHAPE = (1, 4, 4)
N_FACTORS = 3  # latents behind the toy's images
N_IMAGES = 256
BATCH = 32
LEARNING_RATE = 0.01
SSE = 0.2  # recon_sse at the optimum: an error that three latents reach


class ToyProblem:
    """Implements `searchers.base.Problem`: every metric is best at `optimum` latents, at any epoch.

    A controller meets real steps of a small VAE on images of three factors, but metrics and posterior statistics that
    are made up: the latents of the lowest `optimum` ids are in use, the others die in epoch 3. `finite`: False makes
    every metric NaN. test_optimum: where misleading `test_*` columns have their best.
    """

    def __init__(
        self, seed: int = 0, epochs: int = 12, optimum: int = 8, finite: bool = True, test_optimum: int = 2
    ) -> None:
        self.epochs, self.seed, self.n_classes = epochs, seed, 4
        self.optimum, self.finite, self.test_optimum = optimum, finite, test_optimum
        self.trials: list[Trial] = []
        self.starts: list[tuple[int, int]] = []  # (latent_dim, epochs) of each call
        self.storage = InMemoryStorage()

    def create_study(self, sampler: BaseSampler, directions: Sequence[StudyDirection]) -> Study:
        return optuna.create_study(storage=self.storage, sampler=sampler, directions=directions)

    def train(self, latent_dim: int, controller: Controller | None = None, epochs: int | None = None) -> Trial:
        if latent_dim < 2:
            raise ValueError(f"latent_dim is {latent_dim}")
        self.starts.append((latent_dim, epochs or self.epochs))
        ids = np.arange(latent_dim)
        rows: list[dict[str, Any]] = []
        training = None if controller is None else _Training(latent_dim, controller, self.seed)
        for epoch in range(1, self.starts[-1][1] + 1):
            if training is not None:
                training.epoch()
            rows.append(self._row(epoch, ids))
            if controller is None or training is None:
                continue
            decision = controller.after_epoch(pd.DataFrame(rows), None)
            rows[-1].update({f"ctl_{name}": value for name, value in controller.traces().items()})
            if decision.keep is not None and epoch < self.starts[-1][1]:
                training.vae.keep_latents(decision.keep, training.optimizer)
                ids = ids[list(decision.keep)]
            if decision.stop:
                break
        open_latents = None if controller is None else controller.open_latents()
        size = len(ids) if open_latents is None else int(open_latents.sum())
        self.trials.append(Trial(len(self.trials), size, pd.DataFrame(rows)))
        return self.trials[-1]

    def _row(self, epoch: int, ids: np.ndarray) -> dict[str, Any]:
        latent_dim = len(ids)
        cost = self._cost(latent_dim, self.optimum, epoch) if self.finite else math.nan
        misleading = self._cost(latent_dim, self.test_optimum, epoch)
        in_use = (ids < self.optimum) | (epoch < 3)
        row = dict.fromkeys(EPOCH_COLUMNS, 1.0) | {
            "trial": len(self.trials),
            "epoch": epoch,
            "latent_dim": latent_dim,
            "active_units": int(in_use.sum()),
            "train_loss": misleading,
            "recon_nll": 80 + cost,
            "recon_sse": SSE + 0.01 * cost,
            "fid_recon": 5 + cost,
            "fid_gen": 9 + cost,
            "fid_features": "toy",
            "silhouette": -cost / 10,
            "latent_id": ids,
            "latent_mean_variance": np.where(in_use, 0.9, 1e-4),
            "latent_variance_mean": np.where(in_use, 0.1, 0.99),
            "latent_kl": np.where(in_use, 1.0, 1e-3),
        }
        return row | {f"test_{metric}": misleading for metric in ("recon_nll", "fid_recon", "fid_gen", "silhouette")}

    @staticmethod
    def _cost(latent_dim: int, optimum: int, epoch: int) -> float:
        return abs(math.log2(latent_dim / optimum)) + 0.5**epoch


class _Training:
    """A controller's loss, minimised on toy images."""

    def __init__(self, latent_dim: int, controller: Controller, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        factors = torch.randn(N_IMAGES, N_FACTORS, generator=self.generator)
        mixing = torch.randn(N_FACTORS, math.prod(IMAGE_SHAPE), generator=self.generator)
        self.images = torch.sigmoid(factors @ mixing).unflatten(1, IMAGE_SHAPE)  # [N, 1, 4, 4]
        self.controller = controller
        self.vae = build_vae("mlp", {"hidden": [32]}, IMAGE_SHAPE, latent_dim, seed)
        self.optimizer = torch.optim.Adam([*self.vae.parameters(), *controller.parameters()], lr=LEARNING_RATE)

    def epoch(self) -> None:
        for positions in torch.randperm(N_IMAGES, generator=self.generator).split(BATCH):
            self.optimizer.zero_grad()
            total = self.controller.loss(self.vae, self.images[positions], self.generator).total
            torch.autograd.backward(total)
            self.optimizer.step()
            with torch.no_grad():
                self.controller.after_step(None)
