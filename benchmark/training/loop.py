"""The one training loop. Every searcher's trainings run through it."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.linear import FLOP_FORMULAS
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.metrics.evaluation import Evaluator
from benchmark.training.clock import Clock
from benchmark.training.controller_checks import check_decision, explained, open_of, shapes_of, traces_of
from benchmark.training.cuda_graph import Replay, Step
from benchmark.training.rng import Purpose, stream
from searchers.base import KEEP_ALL, Controller

CHUNK_BYTES = 2**26  # of uint8 images gathered at once
WARM_UP, LAST_RATE = 0.05, 0.01  # of a cosine schedule: a share of the steps, and of the learning rate


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
    replay: Replay | None = None  # the step as a CUDA graph

    def __post_init__(self) -> None:
        self.controller_shapes = shapes_of(self.controller)  # at the start

    def keep_latents(self, indices: tuple[int, ...]) -> None:
        """Removes all other latents from the model and the optimizer."""
        self.vae.keep_latents(indices, self.optimizer)
        self.latent_ids = [self.latent_ids[i] for i in indices]
        self.flops_per_step = self.replay = None


def new_state(vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """A training before its first epoch."""
    optimizer = make_optimizer([*vae.parameters(), *controller.parameters()], learning_rate)
    return TrainingState(vae, controller, optimizer, list(range(vae.latent_dim)), [])


def make_optimizer(parameters: Sequence[Tensor], learning_rate: float) -> torch.optim.Adam:
    """Adam, on a GPU such that its step can be recorded, and the learning rate changed afterwards."""
    on_gpu = parameters[0].is_cuda
    rate = torch.tensor(learning_rate, device=parameters[0].device) if on_gpu else learning_rate
    return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=on_gpu)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Takes the moments over from `saved`, its `state_dict`; the learning rate stays where a recorded step reads it."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def rate_factor(schedule: str, done: float) -> float:
    """What the learning rate is multiplied with when this share of a training's steps is done."""
    if schedule == "constant":
        return 1.0
    return min(1.0, done / WARM_UP) * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def scheduled(
    batches: Iterable[Tensor], optimizer: torch.optim.Optimizer, settings: Training, epochs_done: int, steps: int
) -> Iterator[Tensor]:
    """An epoch's batches, `steps` of them, before each of which the optimizer gets the learning rate of its step."""
    for index, images in enumerate(batches):
        done = (epochs_done + (index + 1) / steps) / settings.epochs
        rate = settings.learning_rate * rate_factor(settings.schedule, done)
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        yield images


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Counts the FLOPs of what runs within it, attention as the matrix products of its definition.

    Which fused attention kernels torch takes, counts and gives padded input depends on device and version.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        yield counter


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
    while len(state.rows) < settings.epochs and not state.stopped:
        epoch = len(state.rows) + 1
        seconds: list[float] = []
        with explained(state.controller, state.rows, state.vae.latent_dim):
            with clock.lap(seconds):
                train_loss = train_epoch(
                    state,
                    split,
                    settings,
                    order=stream(Purpose.ORDER, *streams, epoch),
                    noise=stream(Purpose.NOISE, *streams, epoch, clock.device),
                )
            end_epoch(state, train_loss, seconds[0], settings.epochs, evaluator, streams, clock)
        after_epoch(state)
    _remove_closed(state)


def end_epoch(
    state: TrainingState,
    train_loss: float,
    train_seconds: float,
    epochs: int,
    evaluator: Evaluator,
    streams: tuple[int, int],
    clock: Clock,
) -> None:
    """Evaluates the model as an epoch has left it, adds the epoch's row, and carries out the controller's decision."""
    epoch = len(state.rows) + 1
    seconds: list[float] = []
    with clock.lap(seconds):
        state.vae.eval()
        open_latents = open_of(state.controller, state.vae.latent_dim)
        generator = stream(Purpose.EVALUATION, *streams, epoch, clock.device)
        metrics, latents = evaluator.evaluate(state.vae, open_latents, generator)
    row = {
        "trial": streams[1],
        "epoch": epoch,
        "latent_dim": state.vae.latent_dim if open_latents is None else int(open_latents.sum()),
        "train_loss": train_loss,
        **metrics,
        "train_seconds": train_seconds,
        "eval_seconds": seconds[0],
        "images_seen": state.images_seen,
        "train_flops": state.train_flops,
        "wall_seconds": clock.seconds(),
        "latent_id": np.array(state.latent_ids),
        **latents,
    }
    diverged = not np.isfinite(train_loss)
    decision = KEEP_ALL if diverged else state.controller.after_epoch(pd.DataFrame([*state.rows, row]))
    check_decision(state.controller, decision, open_latents, state.controller_shapes)
    state.rows.append({**row, **traces_of(state.controller)})
    state.stopped = decision.stop or diverged
    if decision.keep is not None and not state.stopped and epoch < epochs:
        state.keep_latents(decision.keep)


def train_epoch(state: TrainingState, split: Split, settings: Training, order: Generator, noise: Generator) -> float:
    """Whole batches of different images; the mean loss of its steps. One host synchronisation, at the end."""
    state.vae.train()

    def step(images: Tensor, generators: Sequence[Generator], totals: Tensor) -> None:
        x = images.float().div_(255)
        with flop_counter() if state.flops_per_step is None else nullcontext() as counter:
            with autocast(x.device, settings.precision):
                loss = state.controller.loss(state.vae, x, generators[0]).total
            loss.backward()
        if counter:
            state.flops_per_step = counter.get_total_flops()
        state.optimizer.step()
        state.optimizer.zero_grad()
        with torch.no_grad():
            state.controller.after_step()
        totals += loss.detach()

    if noise.device.type == "cuda" and state.controller.capturable:
        state.replay = state.replay or Replay(step, 1, noise.device)
    steps = settings.steps_per_epoch(len(split))
    images = scheduled(batches(split, settings, order), state.optimizer, settings, len(state.rows), steps)
    losses = run_steps(images, step, [noise], state.replay)
    state.images_seen += steps * min(settings.batch_size, len(split))
    state.train_flops += steps * (state.flops_per_step or 0)
    return losses[0] / steps


def run_steps(batches: Iterable[Tensor], step: Step, noise: Sequence[Generator], replay: Replay | None) -> list[float]:
    """A step on each batch, replayed where it can be; the sums of losses that it adds up, one a generator."""
    if replay is not None:
        replay.start(noise)
        for images in batches:
            replay(images)
        sums: list[float] = replay.totals.tolist()
        return sums
    totals = torch.zeros(len(noise), device=noise[0].device)
    for images in batches:
        step(images, noise, totals)
    return totals.tolist()


def batches(split: Split, settings: Training, order: Generator, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Tensor]:
    """An epoch's batches of different images, uint8 [B, C, H, W]; chunk_bytes: how many are gathered at a time."""
    batch_size = min(settings.batch_size, len(split))
    used = settings.steps_per_epoch(len(split)) * batch_size
    positions = torch.randperm(len(split), generator=order)[:used].to(split.rows.device)
    batch_bytes = batch_size * math.prod(split.images.shape[1:])
    for chunk in positions.split(max(1, chunk_bytes // batch_bytes) * batch_size):
        yield from split.take(chunk).split(batch_size)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The forward pass in this precision; the weights stay float32. Nothing is cached: each weight is used once."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def _remove_closed(state: TrainingState) -> None:
    open_latents = open_of(state.controller, state.vae.latent_dim)
    if open_latents is None:
        return
    indices = tuple(open_latents.nonzero().flatten().tolist())
    if not indices:
        raise ArithmeticError("the controller closed every latent; a model needs one: loosen its constraint")
    if len(indices) < state.vae.latent_dim:
        state.keep_latents(indices)
