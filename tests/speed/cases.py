"""The trainings that the speed bench times: the bench's own, a plain one, and some side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmark.backbones.build import build_vae
from benchmark.backbones.linear import Linear
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.machine import limit_threads, peak_memory_bytes
from benchmark.suite.executors.local_pool import Death, Task, run_tasks
from benchmark.training.loop import train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import TrainingState, new_state
from searchers.base import Controller, FixedSize
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import kl_per_dim
from tests.speed.timing import Effort, seconds

CPU = torch.device("cpu")
SHAPES = {"mlp": (1, 28, 28), "conv": (3, 64, 64)}
WARM_UP_STEPS = 3
START_SECONDS = 120.0  # until all processes of `together` are ready
REMOVED = 5  # latents of 64, as ald removes them


@dataclass(frozen=True)
class Case:
    """What is trained: a backbone on noise of its data's shape, as the time does not depend on what images show.

    steps: of one run, on batches of all `images`; of runs over fewer images, as many as there are batches.
    """

    backbone: str = "mlp"
    images: int = 54_000  # MNIST's training split
    steps: int = 300
    latents: int = 16
    training: Training = Training()

    def shortened(self, effort: Effort) -> "Case":
        """The same training on fewer images, in shorter runs."""
        images = max(self.training.batch_size, effort.of(self.images))
        return replace(self, images=images, steps=effort.of(self.steps))

    @property
    def settings(self) -> Training:
        """With the epoch's length."""
        return replace(self.training, epoch_batches=self.steps)

    @property
    def images_per_run(self) -> int:
        """Images that one run trains on."""
        return self.settings.steps_per_epoch(self.images) * self.training.batch_size

    def split(self, device: torch.device = CPU) -> Split:
        """The noise, on the device."""
        return _noise(SHAPES[self.backbone], self.images, device)

    def vae(self) -> VAE:
        """A new model."""
        return build_vae(self.backbone, {}, SHAPES[self.backbone], self.latents, seed=0)

    def state(self, controller: Controller | None = None, device: torch.device = CPU) -> TrainingState:
        """A training that has done its first steps."""
        vae, controller = self.vae().to(device), (controller or FixedSize()).to(device)
        state = new_state(vae, controller, self.training.learning_rate)
        replace(self, steps=WARM_UP_STEPS).train(state)
        return state

    def train(self, state: TrainingState) -> None:
        """One run, on the device of the model."""
        device = state.vae.mean_head.weight.device
        noise = stream(Purpose.NOISE, 0, device=device)
        train_epoch(state, self.split(device), self.settings, stream(Purpose.ORDER, 0), noise)


MLP = Case()
CONV = Case("conv", images=2_048, steps=20)


@cache
def _noise(shape: tuple[int, ...], images: int, device: torch.device) -> Split:
    pixels = torch.randint(256, (images, *shape), dtype=torch.uint8, generator=Generator().manual_seed(0))
    return Split(pixels.to(device), torch.zeros(images, dtype=torch.int64), torch.arange(images, device=device))


@dataclass(frozen=True)
class Loop:
    """A trainer: `run` trains on `images` images, at each call."""

    run: Callable[[], object]
    images: int

    def rate(self) -> float:
        """Images per second of one run."""
        return self.images / seconds(self.run)


def ours(case: Case, controller: Controller | None = None) -> Loop:
    """The bench's own loop."""
    state = case.state(controller)
    return Loop(lambda: case.train(state), case.images_per_run)


def plain_loop(case: Case) -> Loop:
    """A trainer as most people write it: float images in memory, an index gather a batch, unfused Adam, float32."""
    images = case.split().images.float() / 255
    vae = as_torch_has_it(case.vae())
    optimizer = torch.optim.Adam(vae.parameters(), lr=case.training.learning_rate)
    generator = Generator().manual_seed(0)
    batch_size = case.training.batch_size

    def run() -> None:
        order = torch.randperm(len(images), generator=generator)[: case.images_per_run]
        for start in range(0, len(order), batch_size):
            plain_step(vae, optimizer, images[order[start : start + batch_size]], generator)

    run()
    return Loop(run, case.images_per_run)


def plain_step(vae: VAE, optimizer: torch.optim.Optimizer, x: Tensor, generator: Generator) -> None:
    """A training step on x [B, C, H, W] in [0, 1]."""
    mean, logvar = vae.encode(x)
    z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
    loss = bernoulli_nll(vae.decode(z), x) + kl_per_dim(mean, logvar).sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def as_torch_has_it(vae: VAE) -> VAE:
    """The same model, changed in place: torch's own linear layers for ours, and weights with the channels first."""
    for parent in list(vae.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Linear):
                plain = nn.Linear(child.in_features, child.out_features)
                plain.load_state_dict(child.state_dict())
                setattr(parent, name, plain)
    for parameter in vae.parameters():
        parameter.data = parameter.data.contiguous()
    return vae


def in_turn(loops: Sequence[Loop]) -> Loop:
    """One after another."""
    return Loop(lambda: [loop.run() for loop in loops], sum(loop.images for loop in loops))


def together(workloads: Sequence[Sequence[Case]], at_least: float = 0.0) -> tuple[float, float]:
    """A process of one thread for each workload, whose cases it trains in turn: images per second and MiB, all of them.

    at_least: seconds that each goes on for. They begin when the last is ready. MiB: each one's peak resident memory; a
    workload without cases shows what the imports take.
    """
    ready = get_context("forkserver").Barrier(len(workloads))
    tasks = [Task("tests.speed.cases:work", (cases, at_least, ready)) for cases in workloads]
    answers: list[tuple[float, float]] = []
    deaths: list[Death | None] = []
    count = len(tasks)

    def on_end(_: int, death: Death | None) -> bool:
        deaths.append(death)
        return False

    run_tasks(count, count, tasks.__getitem__, lambda _, answer: answers.append(answer), on_end)
    if len(answers) < count:
        raise RuntimeError(f"{count - len(answers)} of {count} processes sent no rate; {deaths}")
    rates, memory = zip(*answers, strict=True)
    return sum(rates), sum(memory)


def work(connection: Connection, cases: Sequence[Case], at_least: float, ready: Any) -> None:
    """A worker process of `together`."""
    limit_threads(1)
    torch.set_flush_denormal(True)
    loop = in_turn([ours(case) for case in cases])
    ready.wait(START_SECONDS)
    images, begin = 0, time.perf_counter()
    while True:
        loop.run()
        images += loop.images
        if time.perf_counter() - begin >= at_least:
            break
    connection.send((images / (time.perf_counter() - begin), peak_memory_bytes(CPU) / 2**20))
