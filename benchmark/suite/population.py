"""Trainings of one backbone, of different sizes and seeds, as one stacked model."""

import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.errors import Damaged
from benchmark.metrics.evaluation import Evaluator
from benchmark.store.atomic_files import read_checked, write_checked
from benchmark.store.rows import decode_rows, encode_rows
from benchmark.suite.problem import BenchProblem, Member, Notice
from benchmark.training.checkpoint import COUNTERS
from benchmark.training.clock import Clock
from benchmark.training.cuda_graph import Replay
from benchmark.training.loop import (
    CHUNK_BYTES,
    autocast,
    batches,
    end_epoch,
    flop_counter,
    load_optimizer,
    make_optimizer,
    run_steps,
    scheduled,
)
from benchmark.training.rng import Purpose, stream
from benchmark.training.stack import Stack
from searchers.parts.objectives import elbo_loss

Report = Callable[[int, int, int], None]
"""Called after every epoch with the number of trainings, the epoch, and their epochs."""


def train_population(
    problems: Sequence[BenchProblem],
    latent_dims: Sequence[Sequence[int]],
    settings: Training,
    path: Path,
    report: Report,
    notice: Notice,
) -> None:
    """Trains these sizes of each search, its first trainings, all at once where they are not finished.

    Their rows, models and records are then what each search's own `train` reads back. The time they take is shared: a
    row's `train_seconds` are an equal part, its `wall_seconds` what the search's trainings cost together so far.
    path: of the checkpoint.
    """
    groups = [problem.members(own) for problem, own in zip(problems, latent_dims, strict=True)]
    if any(groups):
        _train(groups, settings, problems[0].train_split, problems[0].evaluator, path, report, notice)
    for problem, group in zip(problems, groups, strict=True):
        for member in group:
            problem.finish(member)
        problem.clock = Clock(problem.evaluator.device)  # it goes on from what the rows say
    path.unlink(missing_ok=True)


def _train(
    groups: Sequence[Sequence[Member]],
    settings: Training,
    split: Split,
    evaluator: Evaluator,
    path: Path,
    report: Report,
    notice: Notice,
) -> None:
    members = [member for group in groups for member in group]
    population = Population(members, settings, split)
    clock = Clock(evaluator.device)
    try:
        clock.resume_at(population.restore(path) if path.exists() else 0.0)
    except Damaged:
        notice(f"{path} is damaged: those trainings are done anew")
    while population.epochs < settings.epochs and not all(member.state.stopped for member in members):
        epoch = population.epochs + 1
        seconds: list[float] = []
        with clock.lap(seconds):
            losses = population.train_epoch(epoch)
        for member, loss in zip(members, losses, strict=True):
            if not member.state.stopped:  # it has diverged, which its last row says
                part = seconds[0] / len(members)
                end_epoch(member.state, loss, part, settings.epochs, evaluator, member.streams, clock)
        spent = [
            sum(row["train_seconds"] + row["eval_seconds"] for m in group for row in m.state.rows) for group in groups
        ]
        rest = (clock.seconds() - sum(spent)) / len(members)
        for group, own in zip(groups, spent, strict=True):
            for member in group:
                if len(member.state.rows) == epoch:
                    member.state.rows[-1]["wall_seconds"] = own + rest * len(group)
        population.save(path, clock.seconds())
        for member in members:
            member.folder.write_rows(member.state.rows)
        report(len(members), epoch, settings.epochs)


class Population:
    """Members whose weights are stacked, and their optimizer."""

    def __init__(self, members: Sequence[Member], settings: Training, split: Split) -> None:
        self._members, self._settings, self._split = members, settings, split
        self._stack = Stack([member.state.vae for member in members])
        parameters = list(self._stack.parameters.values())
        self._on_gpu = parameters[0].is_cuda
        self._optimizer = make_optimizer(parameters, settings.learning_rate)
        self._replay: Replay | None = None

    @property
    def epochs(self) -> int:
        """How many are complete."""
        return max(len(member.state.rows) for member in self._members)

    def train_epoch(self, epoch: int) -> list[float]:
        """An epoch of each member, the batches and the noise as it would have them alone; the mean losses."""
        settings, split, members = self._settings, self._split, self._members
        device = split.rows.device
        orders = [stream(Purpose.ORDER, *member.streams, epoch) for member in members]
        noise = [stream(Purpose.NOISE, *member.streams, epoch, device) for member in members]
        own = [batches(split, settings, order, CHUNK_BYTES // len(members)) for order in orders]
        if self._on_gpu:
            self._replay = self._replay or Replay(self._step, len(members), device)
        steps, batch_size = settings.steps_per_epoch(len(split)), min(settings.batch_size, len(split))
        images = scheduled(map(torch.stack, zip(*own, strict=True)), self._optimizer, settings, epoch - 1, steps)
        losses = run_steps(images, self._step, noise, self._replay)
        self._stack.unstack([member.state.vae for member in members])
        for member in members:
            state = member.state
            state.flops_per_step = state.flops_per_step or _step_flops(
                state.vae, split.take(torch.arange(batch_size, device=device))
            )
            state.images_seen += steps * batch_size
            state.train_flops += steps * state.flops_per_step
        return [loss / steps for loss in losses]

    def _step(self, images: Tensor, generators: Sequence[Generator], totals: Tensor) -> None:
        x = images.float().div_(255)  # [M, B, *image_shape]
        with autocast(x.device, self._settings.precision):
            losses = self._stack.losses(x, self._stack.draw(x.shape[1], generators))
        losses.sum().backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        totals += losses.detach()

    def _identity(self) -> list[Any]:
        return [[m.folder.path.parent.parent.name, *m.streams, m.latent_dim] for m in self._members]

    def save(self, path: Path, seconds: float) -> None:
        """Writes the checkpoint: a kill loses the epoch under way alone. seconds: what all has taken so far."""
        states = [member.state for member in self._members]
        content = {
            "members": self._identity(),
            "seconds": seconds,
            "parameters": {name: value.detach() for name, value in self._stack.parameters.items()},
            "buffers": self._stack.buffers,
            "optimizer": self._optimizer.state_dict(),
            "counters": [{name: getattr(state, name) for name in COUNTERS} for state in states],
            "rows": [torch.frombuffer(bytearray(encode_rows(state.rows)), dtype=torch.uint8) for state in states],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_checked(path, buffer.getvalue())

    def restore(self, path: Path) -> float:
        """Goes on where the checkpoint was written: the seconds taken so far.

        It may hold more members: the others have been finished since. One that lacks a member is of no use: 0.
        Raises Damaged.
        """
        content = torch.load(io.BytesIO(read_checked(path)), map_location="cpu", weights_only=True)
        if not all(member in content["members"] for member in self._identity()):
            return 0.0
        chosen = [content["members"].index(member) for member in self._identity()]

        def own(saved: Tensor, like: Tensor) -> Tensor:  # [M', ...] of the checkpoint's members -> [M, ...]
            return saved[chosen][tuple(slice(size) for size in like.shape)]

        with torch.no_grad():
            for kind in ("parameters", "buffers"):
                for name, value in getattr(self._stack, kind).items():
                    value.copy_(own(content[kind][name], value))
        for parameter, moments in zip(
            self._stack.parameters.values(), content["optimizer"]["state"].values(), strict=True
        ):
            moments.update({name: own(moments[name], parameter) for name in ("exp_avg", "exp_avg_sq")})
        load_optimizer(self._optimizer, content["optimizer"])
        self._stack.unstack([member.state.vae for member in self._members])
        for member, i in zip(self._members, chosen, strict=True):
            for name in COUNTERS:
                setattr(member.state, name, content["counters"][i][name])
            member.state.rows = decode_rows(content["rows"][i].numpy().tobytes())
            member.folder.write_rows(member.state.rows)  # what readers have may be an epoch behind, or damaged
        return float(content["seconds"])


def _step_flops(vae: VAE, images: Tensor) -> int:
    """FLOPs of one training step on uint8 images [B, C, H, W]."""
    with flop_counter() as counter:
        elbo_loss(copy.deepcopy(vae), images.float() / 255, Generator(images.device)).total.backward()
    return int(counter.get_total_flops())
