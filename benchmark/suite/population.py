"""Plain trainings of one backbone, of different sizes and seeds, as one stacked model."""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.datasets.scaling import stacked
from benchmark.errors import Damaged
from benchmark.store.tensor_files import read_tensors, write_tensors
from benchmark.suite.problem import Bench, Notice, TrainingRun
from benchmark.suite.shared_trainings import SharedFolder
from benchmark.suite.work import SharedTraining
from benchmark.training.checkpoint import COUNTERS, load_counters
from benchmark.training.clock import Clock
from benchmark.training.cuda_graph import Replay
from benchmark.training.flops import flop_counter
from benchmark.training.loop import CHUNK_BYTES, autocast, batches, end_epoch, run_steps, scheduled
from benchmark.training.rng import Purpose, stream
from benchmark.training.stack import Stack
from benchmark.training.state import load_optimizer, make_optimizer
from searchers.base import FixedSize
from searchers.parts.objectives import elbo_loss

Report = Callable[[int, int, int], None]
"""Called after every epoch with the number of trainings, the epoch, and their epochs."""


def train_stacked(
    trainings: Sequence[tuple[Bench, SharedTraining]], path: Path, report: Report, notice: Notice
) -> None:
    """Does plain trainings of equal budgets as one model; skips those that are finished or that others are doing.

    Each training is charged an equal part of the training time, its own evaluations and an equal part of the overheads.
    path: of the checkpoint.
    """
    with ExitStack() as claims:
        runs: list[TrainingRun] = []
        benches: list[Bench] = []
        for bench, training in trainings:
            shared = SharedFolder(training.path, notice)
            if claims.enter_context(shared.claimed()) and shared.finished() is None:
                runs.append(bench.run(shared.files, 0, training.latent_dim, FixedSize()))
                benches.append(bench)
        if runs:
            settings = replace(benches[0].spec.training, epochs=trainings[0][1].epochs)
            _train(runs, benches, settings, path, report, notice)
        for bench, run in zip(benches, runs, strict=True):
            run.folder.write_rows(run.state.rows)
            clock = Clock(bench.device)
            clock.resume_at(run.state.rows[-1]["wall_seconds"])
            bench.finish(run, keep_optimizer=False, clock=clock)  # the stacked model has it
    path.unlink(missing_ok=True)


def _train(
    runs: Sequence[TrainingRun],
    benches: Sequence[Bench],
    settings: Training,
    path: Path,
    report: Report,
    notice: Notice,
) -> None:
    population = Population(runs, settings, [bench.dataset.train for bench in benches])
    clock = Clock(benches[0].device)
    try:
        clock.resume_at(population.restore(path) if path.exists() else 0.0)
    except Damaged:
        notice(f"{path} is damaged: those trainings are done anew")
    while population.epochs < settings.epochs and not all(run.state.stopped for run in runs):
        epoch = population.epochs + 1
        seconds: list[float] = []
        with clock.lap(seconds):
            losses = population.train_epoch(epoch)
        for run, bench, loss in zip(runs, benches, losses, strict=True):
            if not run.state.stopped:  # a stopped run has diverged; its last row says so
                part = seconds[0] / len(runs)
                end_epoch(run.state, loss, part, settings.epochs, bench.evaluator, run.streams, clock)
        spent = [
            sum(row["train_seconds"] + row["eval_seconds"] for row in run.state.rows) + run.state.unlogged_seconds
            for run in runs
        ]
        rest = (clock.seconds() - sum(spent)) / len(runs)
        for run, own in zip(runs, spent, strict=True):
            if run.state.rows and run.state.rows[-1]["epoch"] == epoch:
                run.state.rows[-1]["wall_seconds"] = own + rest
        population.save(path, clock.seconds())
        for run in runs:
            run.folder.show_rows(run.state.rows)
        report(len(runs), epoch, settings.epochs)
    population.end()


class Population:
    """Trainings whose weights are stacked, with one optimizer for all.

    splits: the images that each trains on, as many for each.
    """

    def __init__(self, members: Sequence[TrainingRun], settings: Training, splits: Sequence[Split]) -> None:
        self._members, self._settings, self._splits = members, settings, splits
        self._scaling = stacked([split.scaling for split in splits])
        self._stack = Stack([member.state.vae for member in members])
        parameters = list(self._stack.parameters.values())
        self._on_gpu = parameters[0].is_cuda
        self._optimizer = make_optimizer(parameters, settings.learning_rate)
        self._replay: Replay | None = None

    @property
    def epochs(self) -> int:
        """How many epochs are complete."""
        return max(member.state.epochs for member in self._members)

    def train_epoch(self, epoch: int) -> list[float]:
        """Trains each member for an epoch, on the batches and noise it would have alone; returns the mean losses."""
        settings, splits, members = self._settings, self._splits, self._members
        device, n_images = splits[0].rows.device, len(splits[0])
        orders = [stream(Purpose.ORDER, *member.streams, epoch) for member in members]
        noise = [stream(Purpose.NOISE, *member.streams, epoch, device) for member in members]
        chunk = CHUNK_BYTES // len(members)
        streams = [batches(own, settings, order, chunk) for own, order in zip(splits, orders, strict=True)]
        if self._on_gpu:
            self._replay = self._replay or Replay(self._step, len(members), device)
        steps, batch_size = settings.steps_per_epoch(n_images), min(settings.batch_size, n_images)
        images = scheduled(map(torch.stack, zip(*streams, strict=True)), self._optimizer, settings, epoch - 1, steps)
        losses = run_steps(images, self._step, noise, self._replay)
        self._unstack()
        for member in members:
            state = member.state
            state.flops_per_step = state.flops_per_step or _step_flops(
                state.vae, splits[0].inputs(torch.arange(batch_size, device=device))
            )
            state.images_seen += steps * batch_size
            state.train_flops += steps * state.flops_per_step
        return [loss / steps for loss in losses]

    def end(self) -> None:
        """Gives the memory of the recorded step back."""
        self._replay = None

    def _unstack(self) -> None:
        self._stack.unstack([member.state.vae for member in self._members])

    def _step(self, images: Tensor, generators: Sequence[Generator], totals: Tensor) -> None:
        x = self._scaling(images)  # [M, B, *image_shape]
        with autocast(x.device, self._settings.precision):
            losses = self._stack.losses(x, self._stack.draw(x.shape[1], generators))
        losses.sum().backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        totals += losses.detach()

    def _identity(self) -> list[str]:
        return [member.folder.path.name for member in self._members]

    def save(self, path: Path, seconds: float) -> None:
        """Writes the checkpoint, so that a kill loses only the current epoch. seconds: the time taken so far."""
        states = [member.state for member in self._members]
        content = {
            "members": self._identity(),
            "seconds": seconds,
            "parameters": {name: value.detach() for name, value in self._stack.parameters.items()},
            "buffers": self._stack.buffers,
            "optimizer": self._optimizer.state_dict(),
            "counters": [{name: getattr(state, name) for name in COUNTERS} for state in states],
            "rows": [state.rows_to_save() for state in states],
        }
        write_tensors(path, content)

    def restore(self, path: Path) -> float:
        """Restores the members from the checkpoint and returns the seconds taken so far.

        The checkpoint may hold more members, which have finished since. If it lacks one of these, nothing is restored
        and the result is 0. Raises Damaged.
        """
        content = read_tensors(path)
        if not all(member in content["members"] for member in self._identity()):
            return 0.0
        chosen = [content["members"].index(member) for member in self._identity()]

        def of_members(saved: Tensor, like: Tensor) -> Tensor:  # [M', ...] in the checkpoint -> [M, ...]
            return saved[chosen][tuple(slice(size) for size in like.shape)]

        with torch.no_grad():
            for kind in ("parameters", "buffers"):
                for name, value in getattr(self._stack, kind).items():
                    value.copy_(of_members(content[kind][name], value))
        for parameter, moments in zip(
            self._stack.parameters.values(), content["optimizer"]["state"].values(), strict=True
        ):
            moments.update({name: of_members(moments[name], parameter) for name in ("exp_avg", "exp_avg_sq")})
        load_optimizer(self._optimizer, content["optimizer"])
        self._unstack()
        for member, i in zip(self._members, chosen, strict=True):
            load_counters(member.state, content["counters"][i])
            member.state.load_rows(content["rows"][i])
            member.folder.write_rows(member.state.rows)  # the file may be behind, or damaged
        return float(content["seconds"])


def _step_flops(vae: VAE, x: Tensor) -> int:
    """FLOPs of one training step on x [B, *image_shape]."""
    with flop_counter() as counter:
        elbo_loss(copy.deepcopy(vae), x, Generator(x.device)).total.backward()
    return int(counter.get_total_flops())
