"""What the speed bench's trainings to a quality have in common: data, targets, evaluations and the clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from rich.console import Console
from sklearn.decomposition import PCA
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Named, Training
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Split
from benchmark.suite.estimate import step_flops
from benchmark.text import short_number
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import reparameterise

BUDGETS = (0.5, 1.0, 2.0, 4.0, 8.0)  # epochs of our runs, each with a schedule of its own; whole ones from 1 on
EVALUATED_AT_ONCE, EVALUATED_BYTES = 256, 2**22  # images at most, and bytes of uint8 pixels
STDERR = Console(stderr=True)
CLAMP = (0.01, 0.99)  # of the pixels that PCA reconstructs: without it one wrong pixel costs any number of nats


@dataclass(frozen=True)
class QualityCase:
    """What is trained, and how far.

    nats: targets, validation NLL in nats per image. pca: more targets, the NLL of PCA with so many components.
    most_epochs: of the trainings without a budget. seconds: of CPU, of one run. train_images, val_images: all if None.
    """

    dataset: str
    backbone: str
    latents: int
    nats: tuple[float, ...] = ()
    pca: tuple[int, ...] = ()
    budgets: tuple[float, ...] = BUDGETS
    most_epochs: int = 16
    seconds: float = 60.0
    train_images: int | None = None
    val_images: int | None = None


@dataclass(frozen=True)
class Point:
    """A training at an evaluation: its cost so far (seconds without evaluations) and its validation NLL."""

    epochs: float
    images: int
    flops: float
    cpu_seconds: float
    wall_seconds: float
    nats: float


@dataclass(frozen=True)
class QualityProblem:
    """A case with its data. targets: label -> validation NLL in nats per image."""

    case: QualityCase
    train: Split
    val: Split

    @cached_property
    def targets(self) -> dict[str, float]:
        """The fixed ones and those of PCA."""
        fixed = {f"{short_number(nats)} nats": nats for nats in self.case.nats}
        of_pca = pca_nll(self.train, self.val, self.case.pca) if self.case.pca else {}
        return fixed | {f"{short_number(nats)} nats (PCA with {n})": nats for n, nats in of_pca.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image."""
        return tuple(self.train.images.shape[1:])

    def vae(self, init: str) -> VAE:
        """The case's network; init: as in a backbone's options."""
        return build_vae(self.case.backbone, {"init": init}, self.shape, self.case.latents, seed=0)

    def point(self, vae: VAE, steps: int, batch_size: int, seconds: tuple[float, float]) -> Point:
        """Evaluates the model, and leaves it in training mode. seconds: of CPU and wall-clock so far."""
        backbone = Named(self.case.backbone, {})
        flops = steps * step_flops(backbone, self.shape, self.case.latents, batch_size)
        epochs = steps / Training(batch_size=batch_size).steps_per_epoch(len(self.train))
        point = Point(epochs, steps * batch_size, flops, *seconds, nats=validation_nll(vae, self.val))
        STDERR.print(f"  {epochs:.2f} epochs, {seconds[0]:.1f} CPU s: {point.nats:,.1f} nats", highlight=False)
        return point

    def reached(self, points: list[Point]) -> bool:
        """Whether the last point has reached every target."""
        return points[-1].nats <= min(self.targets.values())


def load_problem(case: QualityCase) -> QualityProblem:
    """Raises InputError where the dataset cannot be had."""
    dataset = load_dataset(case.dataset)
    parts = ((dataset.train, case.train_images), (dataset.val, case.val_images))
    return QualityProblem(case, *(split.sample(len(split) if count is None else count) for split, count in parts))


def _batches(split: Split) -> Iterator[Tensor]:
    """All images in the split's order, in [0, 1]."""
    size = max(1, min(EVALUATED_AT_ONCE, EVALUATED_BYTES // split.images[0].numel()))
    for positions in torch.arange(len(split)).split(size):
        yield split.take(positions).float() / 255


@torch.inference_mode()
def validation_nll(vae: VAE, split: Split) -> float:
    """Bernoulli NLL in nats per image, mean of the whole split, one z an image (the same noise each time)."""
    generator, total = Generator().manual_seed(0), 0.0
    vae.eval()
    for x in _batches(split):
        total += len(x) * float(bernoulli_nll(vae.decode(reparameterise(*vae.encode(x), generator)), x))
    vae.train()
    return total / len(split)


def pca_nll(train: Split, val: Split, components: tuple[int, ...]) -> dict[int, float]:
    """NLL of PCA's reconstructions with so many components, without noise: nats per image of `val`.

    The components are those of the training images; reconstructions are clamped (CLAMP) and taken as Bernoulli means.
    """
    pca = PCA(max(components), svd_solver="randomized", random_state=0, copy=False)
    pca.fit((train.images[train.rows].flatten(1).float() / 255).numpy())
    mean, axes = (torch.from_numpy(array).float() for array in (pca.mean_, pca.components_))
    totals = dict.fromkeys(components, 0.0)
    for x in _batches(val):
        x = x.flatten(1)
        for n in components:
            reconstruction = (mean + (x - mean) @ axes[:n].T @ axes[:n]).clamp(*CLAMP)
            totals[n] += len(x) * float(bernoulli_nll(torch.logit(reconstruction), x))
    return {n: total / len(val) for n, total in totals.items()}


class Stopwatch:
    """Seconds since it was made, its pauses left out."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.thread_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Of this thread's CPU, and of wall-clock."""
        return time.thread_time() - self._cpu, time.perf_counter() - self._wall

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stands still while the block runs."""
        cpu, wall = self.read()
        yield
        self._cpu, self._wall = time.thread_time() - cpu, time.perf_counter() - wall
