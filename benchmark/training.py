"""The one training loop. Every searcher's trainings run through it."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.linear import FLOP_FORMULAS
from benchmark.backbones.vae import VAE
from benchmark.clock import Clock
from benchmark.config import Training
from benchmark.datasets.base import Split
from benchmark.metrics.evaluation import Evaluator
from benchmark.streams import Purpose, stream
from searchers.base import KEEP_ALL, Controller

CHUNK_BYTES = 2**26  # of uint8 images gathered at once


@dataclass
class TrainingState:
    """A training between two epochs: what a checkpoint holds, and the rows so far."""

    vae: VAE
    controller: Controller
    optimizer: torch.optim.Optimizer
    latent_ids: list[int]  # the index that each latent had at the start
    rows: list[dict[str, Any]]
    flops_per_step: int | None = None  # None: not counted at this size
    train_flops: int = 0
    images_seen: int = 0
    stopped: bool = False

    def keep_latents(self, indices: tuple[int, ...]) -> None:
        """Removes all other latents from the model and the optimizer."""
        self.vae.keep_latents(indices, self.optimizer)
        self.latent_ids = [self.latent_ids[i] for i in indices]
        self.flops_per_step = None


def new_state(vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """A training before its first epoch."""
    parameters = [*vae.parameters(), *controller.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    return TrainingState(vae, controller, optimizer, list(range(vae.latent_dim)), [])


def train(
    state: TrainingState,
    settings: Training,
    split: Split,
    evaluator: Evaluator,
    streams: tuple[int, int],
    clock: Clock,
    after_epoch: Callable[[TrainingState], None],
) -> None:
    """Trains until `settings.epochs` rows are there or the controller stops, and removes what it closed.

    split: on the clock's device. streams: the search's seed and the trial's number. after_epoch: called when an epoch
    is complete, its decision carried out: the place for checkpoints. A loss that is not finite ends the training, its
    last row saying so.
    """
    device = clock.device
    for epoch in range(len(state.rows) + 1, settings.epochs + 1):
        if state.stopped:
            break
        seconds: list[float] = []
        with clock.lap(seconds):
            train_loss = train_epoch(
                state,
                split,
                settings,
                order=stream(Purpose.ORDER, *streams, epoch),
                noise=stream(Purpose.NOISE, *streams, epoch, device),
            )
        with clock.lap(seconds):
            state.vae.eval()
            open_latents = state.controller.open_latents()
            metrics, latents = evaluator.evaluate(
                state.vae, open_latents, stream(Purpose.EVALUATION, *streams, epoch, device)
            )
        row = {
            "trial": streams[1],
            "epoch": epoch,
            "latent_dim": state.vae.latent_dim if open_latents is None else int(open_latents.sum()),
            "train_loss": train_loss,
            **metrics,
            "train_seconds": seconds[0],
            "eval_seconds": seconds[1],
            "images_seen": state.images_seen,
            "train_flops": state.train_flops,
            "wall_seconds": clock.seconds(),
            "latent_id": np.array(state.latent_ids),
            **latents,
        }
        diverged = not np.isfinite(train_loss)
        decision = KEEP_ALL if diverged else state.controller.after_epoch(pd.DataFrame([*state.rows, row]))
        traces = {f"ctl_{name}": value for name, value in state.controller.traces().items()}
        state.rows.append({**row, **traces})
        state.stopped = decision.stop or diverged
        if decision.keep is not None and not state.stopped and epoch < settings.epochs:
            state.keep_latents(decision.keep)
        after_epoch(state)
    _remove_closed(state)


def train_epoch(state: TrainingState, split: Split, settings: Training, order: Generator, noise: Generator) -> float:
    """Whole batches of different images; the mean loss of its steps. One host synchronisation, at the end."""
    vae, controller, optimizer = state.vae, state.controller, state.optimizer
    vae.train()
    batch_size = min(settings.batch_size, len(split))
    steps = settings.steps_per_epoch(len(split))
    positions = torch.randperm(len(split), generator=order)[: steps * batch_size].to(split.rows.device)
    total = torch.zeros((), device=split.rows.device)
    counter = FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS)
    batch_bytes = batch_size * math.prod(split.images.shape[1:])
    for chunk in positions.split(max(1, CHUNK_BYTES // batch_bytes) * batch_size):
        for images in split.take(chunk).split(batch_size):
            x = images.float().div_(255)
            uncounted = state.flops_per_step is None
            with counter if uncounted else nullcontext():
                loss = controller.loss(vae, x, noise).total
                loss.backward()
            if uncounted:
                state.flops_per_step = counter.get_total_flops()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                controller.after_step()
            total += loss.detach()
    state.images_seen += steps * batch_size
    state.train_flops += steps * (state.flops_per_step or 0)
    return float(total) / steps


def _remove_closed(state: TrainingState) -> None:
    open_latents = state.controller.open_latents()
    if open_latents is None or len(open_latents) != state.vae.latent_dim:
        return
    indices = tuple(open_latents.nonzero().flatten().tolist())
    if not indices:
        raise ArithmeticError("the controller closed every latent; a model needs one: loosen its constraint")
    if len(indices) < state.vae.latent_dim:
        state.keep_latents(indices)
