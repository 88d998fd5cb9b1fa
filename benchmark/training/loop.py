"""The only training loop: every training of every searcher runs through it."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.metrics.evaluation import Evaluator
from benchmark.training.clock import Clock
from benchmark.training.controller_checks import (
    check_decision,
    checked_open_latents,
    checked_traces,
    explain_stale_state,
)
from benchmark.training.cuda_graph import Replay, Step
from benchmark.training.flops import flop_counter
from benchmark.training.model_view import ModelView, as_evaluated, fold_in
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import TrainingState
from searchers.base import KEEP_ALL, FixedSize
from searchers.parts.likelihoods import GaussianOptimal

CHUNK_BYTES = 2**26  # of stored images that are gathered at a time
WARM_UP, LAST_RATE = 0.05, 0.01  # of the cosine schedule: share of the steps, share of the learning rate


def rate_factor(schedule: str, done: float) -> float:
    """The factor of the learning rate after this share of a training's steps."""
    if schedule == "constant":
        return 1.0
    return min(1.0, done / WARM_UP) * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done)))


def scheduled(
    batches: Iterable[Tensor], optimizer: torch.optim.Optimizer, settings: Training, epochs_done: int, steps: int
) -> Iterator[Tensor]:
    """Yields the `steps` batches of an epoch, and sets the optimizer's learning rate before each one."""
    for index, images in enumerate(batches):
        done = (epochs_done + (index + 1) / steps) / settings.epochs
        rate = settings.learning_rate * rate_factor(settings.schedule, done)
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        yield images


def train(
    state: TrainingState,
    settings: Training,
    split: Split,
    evaluator: Evaluator,
    streams: tuple[int, int],
    clock: Clock,
    after_epoch: Callable[[TrainingState], None],
) -> None:
    """Trains for `settings.epochs` epochs or until the controller stops, then removes the closed latents.

    split: on the clock's device. streams: the seed of the search and the origin of the training, see
    `benchmark.training.rng`. after_epoch: called after each epoch, once its decision is carried out, to save
    checkpoints. A loss that is not finite ends the training; its last row shows it.
    """
    while state.epochs < settings.epochs and not state.stopped:
        epoch = state.epochs + 1
        seconds: list[float] = []
        with explain_stale_state(state.controller, state.rows, state.vae.latent_dim):
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
    finish(state)


def end_epoch(
    state: TrainingState,
    train_loss: float,
    train_seconds: float,
    epochs: int,
    evaluator: Evaluator,
    streams: tuple[int, int],
    clock: Clock,
) -> None:
    """Evaluates the model after an epoch, appends the row of the epoch, and carries out the controller's decision.

    With `[evaluation] every` it does so in every n-th epoch and the last; the row's train_seconds are of all since the
    row before. A loss that is not finite has its row at once.
    """
    state.epochs += 1
    state.unlogged_seconds += train_seconds
    epoch, diverged = state.epochs, not np.isfinite(train_loss)
    if epoch % evaluator.every and epoch < epochs and not diverged:
        return
    seconds: list[float] = []
    with clock.lap(seconds):
        state.vae.eval()
        open_latents = checked_open_latents(state.controller, state.vae.latent_dim)
        vae = as_evaluated(state.vae, state.controller)
        noise = stream(Purpose.EVALUATION, *streams, epoch, clock.device)
        metrics, latents = evaluator.evaluate(vae, open_latents, noise)
        if isinstance(vae.likelihood, GaussianOptimal):  # the evaluation has set its variance
            state.vae.likelihood.load_state_dict(vae.likelihood.state_dict())
    row = {
        "trial": state.number,
        "epoch": epoch,
        "latent_dim": state.vae.latent_dim if open_latents is None else int(open_latents.sum()),
        "train_loss": train_loss,
        **metrics,
        "train_seconds": state.unlogged_seconds,
        "eval_seconds": seconds[0],
        "wall_seconds": clock.seconds(),
        "images_seen": state.images_seen,
        "train_flops": state.train_flops,
        "latent_id": np.array(state.latent_ids),
        **latents,
    }
    view = ModelView(vae, evaluator, clock, streams[0])
    if diverged or isinstance(state.controller, FixedSize):  # which does not read the rows
        decision = KEEP_ALL
    else:
        decision = state.controller.after_epoch(pd.DataFrame([*state.rows, row]), view)
    check_decision(state.controller, decision, open_latents, state.controller_shapes)
    if view.seconds:  # the controller has evaluated the model too
        row |= {"eval_seconds": seconds[0] + sum(view.seconds), "wall_seconds": clock.seconds()}
    state.rows.append({**row, **checked_traces(state.controller)})
    state.unlogged_seconds = 0.0
    state.curve += [{"trial": state.number, "epoch": epoch, **evaluation} for evaluation in view.curve]
    state.stopped = decision.stop or diverged
    if (decision.keep is not None or decision.add) and not state.stopped and epoch < epochs:
        state.change_latents(decision.keep, decision.add, stream(Purpose.INIT, *streams, epoch))


def train_epoch(state: TrainingState, split: Split, settings: Training, order: Generator, noise: Generator) -> float:
    """Trains one epoch of full batches and returns the mean loss of its steps. Synchronises with the host once."""
    state.vae.train()

    def step(images: Tensor, generators: Sequence[Generator], totals: Tensor) -> None:
        x = split.scaling(images)
        with flop_counter() if state.flops_per_step is None else nullcontext() as counter:
            with autocast(x.device, settings.precision):
                loss = state.controller.loss(state.vae, x, generators[0]).total
            loss.backward()
        if counter:
            state.flops_per_step = counter.get_total_flops()
        state.optimizer.step()
        state.optimizer.zero_grad()
        with torch.no_grad():
            state.controller.after_step(state.vae)
        totals += loss.detach()

    if noise.device.type == "cuda" and state.controller.capturable:
        state.replay = state.replay or Replay(step, 1, noise.device)
    steps = settings.steps_per_epoch(len(split))
    images = scheduled(batches(split, settings, order), state.optimizer, settings, state.epochs, steps)
    losses = run_steps(images, step, [noise], state.replay)
    state.images_seen += steps * min(settings.batch_size, len(split))
    state.train_flops += steps * (state.flops_per_step or 0)
    return losses[0] / steps


def run_steps(batches: Iterable[Tensor], step: Step, noise: Sequence[Generator], replay: Replay | None) -> list[float]:
    """Does a step on each batch, as a replay if there is one; returns the sums of the losses, one per generator."""
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
    """Yields the batches of an epoch as stored, [B, C, H, W], each image at most once; gathers them chunk by chunk."""
    batch_size = min(settings.batch_size, len(split))
    n_images = settings.steps_per_epoch(len(split)) * batch_size
    positions = torch.randperm(len(split), generator=order)[:n_images].to(split.rows.device)
    batch_bytes = batch_size * math.prod(split.images.shape[1:]) * split.images.element_size()
    for chunk in positions.split(max(1, chunk_bytes // batch_bytes) * batch_size):
        yield from split.take(chunk).split(batch_size)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Runs the forward pass in this precision, with float32 weights. No cache: each weight is used once."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def finish(state: TrainingState) -> None:
    """Makes the trained model independent of the controller: folds that in and removes closed latents."""
    state.replay = None
    fold_in(state.vae, state.controller)
    open_latents = checked_open_latents(state.controller, state.vae.latent_dim)
    if open_latents is None:
        return
    indices = open_latents.nonzero().flatten().tolist()
    if not indices:
        raise ArithmeticError("the controller closed every latent; a model needs one: loosen its constraint")
    state.remove_all_but(indices)
