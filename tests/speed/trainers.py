"""The trainers that the speed bench compares by their time to a quality: ours, a plain loop and pythae's."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmark.backbones.initialise import scale_to_data
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Training
from benchmark.datasets.base import Split
from benchmark.training.loop import train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import new_state
from searchers.base import FixedSize
from tests.speed.cases import as_torch_has_it, plain_step
from tests.speed.problem import Point, QualityProblem, Stopwatch

EVALUATIONS = 4  # an epoch, of trainings that have no budget
PLAIN = Training()  # Adam with a constant rate of 1e-3, batch 64
OURS = {  # by backbone
    "mlp": Training(learning_rate=2e-3, schedule="cosine"),
    "conv": Training(batch_size=32, learning_rate=2e-3, schedule="cosine"),
    "geco-conv": Training(learning_rate=2e-3, schedule="cosine"),
    "video": Training(learning_rate=2e-3, schedule="cosine"),
}

Trainer = Callable[[QualityProblem], list[Point]]
"""Trains until the last point has reached all targets, or the budget is used up."""


def ours(problem: QualityProblem) -> list[Point]:
    """A point for each budget, in ascending order: a whole run with a schedule over that budget, and its cost alone.

    No run is begun that would take longer than the case's seconds, by the rate of the run before.
    """
    points: list[Point] = []
    for budget in problem.case.budgets:
        if points and points[-1].cpu_seconds / points[-1].epochs * budget > problem.case.seconds:
            break
        points.append(_our_run(problem, budget))
        if problem.reached(points):
            break
    return points


def _our_run(problem: QualityProblem, budget: float) -> Point:
    """The run of a protocol with this many epochs; one shorter than an epoch is an epoch of fewer batches."""
    watch = Stopwatch()
    settings, split = OURS[problem.case.backbone], problem.train
    steps = max(1, round(min(budget, 1) * settings.steps_per_epoch(len(split))))
    settings = replace(settings, epochs=max(1, round(budget)), epoch_batches=steps)
    vae = problem.vae("scaled")
    scale_to_data(vae, split, Generator().manual_seed(0))
    for _ in trained(vae, split, settings):
        pass
    return problem.point(vae, steps * settings.epochs, settings.batch_size, watch.read())


def trained(vae: VAE, split: Split, settings: Training) -> Iterator[int]:
    """Trains the model in place by our loop with seed 0, and yields the number of each epoch that is done, from 0."""
    state = new_state(vae, FixedSize(), settings.learning_rate)
    for epoch in range(settings.epochs):
        train_epoch(state, split, settings, stream(Purpose.ORDER, 0, 0, epoch), stream(Purpose.NOISE, 0, 0, epoch))
        state.rows.append({})  # the schedule's place
        yield epoch


class Enough(Exception):  # noqa: N818 - no error
    """Ends a training from within its steps."""


class Attempt:
    """A training without a budget: its points, one at each part of an epoch."""

    def __init__(self, problem: QualityProblem, vae: VAE) -> None:
        self.points: list[Point] = []
        self._problem, self._vae = problem, vae
        self._steps = 0
        self._watch = Stopwatch()

    def after_step(self) -> None:
        """Raises Enough where the training has reached every target, or all its epochs or seconds."""
        self._steps += 1
        case = self._problem.case
        if self._steps % max(1, PLAIN.steps_per_epoch(len(self._problem.train)) // EVALUATIONS):
            return
        with self._watch.paused():
            point = self._problem.point(self._vae, self._steps, PLAIN.batch_size, self._watch.read())
        self.points.append(point)
        spent = point.epochs >= case.most_epochs or point.cpu_seconds >= case.seconds
        if spent or self._problem.reached(self.points):
            raise Enough


def plain(problem: QualityProblem) -> list[Point]:
    """As most people write it, with PyTorch's layers, weights and Adam; images are floats before the clock runs."""
    images = _float_images(problem)
    vae = as_torch_has_it(problem.vae("torch"))
    attempt = Attempt(problem, vae)
    optimizer = torch.optim.Adam(vae.parameters(), lr=PLAIN.learning_rate)
    generator = Generator().manual_seed(0)
    batch_size = min(PLAIN.batch_size, len(images))
    with suppress(Enough):
        while True:
            for rows in torch.randperm(len(images), generator=generator).split(batch_size):
                if len(rows) == batch_size:
                    plain_step(vae, optimizer, images[rows], generator)
                    attempt.after_step()
    return attempt.points


def _float_images(problem: QualityProblem) -> Tensor:
    return problem.train.images[problem.train.rows].float() / 255


def pythae(problem: QualityProblem) -> list[Point]:
    """pythae's VAE and trainer around the same network, with PyTorch's weights and Adam.

    Raises ImportError where pythae is not installed.
    """
    from pythae import models, trainers
    from pythae.data import datasets
    from pythae.models.base.base_utils import ModelOutput
    from pythae.trainers import training_callbacks as callbacks

    logging.getLogger(trainers.BaseTrainer.__module__).setLevel(logging.ERROR)
    images = _float_images(problem)
    vae = as_torch_has_it(problem.vae("torch"))
    config = models.VAEConfig(input_dim=(1,), latent_dim=vae.latent_dim, reconstruction_loss="bce")
    model = models.VAE(config)
    model.encoder, model.decoder = _PythaeEncoder(vae, ModelOutput), _PythaeDecoder(vae, ModelOutput)
    settings = trainers.BaseTrainerConfig(
        learning_rate=PLAIN.learning_rate, per_device_train_batch_size=PLAIN.batch_size, no_cuda=True
    )
    trainer = trainers.BaseTrainer(model, datasets.BaseDataset(images, torch.zeros(len(images))), None, settings)
    attempt = Attempt(problem, vae)
    callback = type("Ends", (callbacks.TrainingCallback,), {"on_train_step_end": lambda *_, **__: attempt.after_step()})
    trainer.callback_handler = callbacks.CallbackHandler([callback()], model)
    torch.manual_seed(0)
    trainer.set_optimizer()
    with suppress(Enough):
        while True:
            trainer.train_step(epoch=1)
    return attempt.points


class _PythaeEncoder(nn.Module):
    """A VAE's encoder as pythae calls it; output: pythae's class for what comes out."""

    def __init__(self, vae: VAE, output: Any) -> None:
        super().__init__()
        self.vae, self.output = vae, output

    def forward(self, x: Tensor) -> Any:
        """x [B, *image_shape] in [0, 1]."""
        mean, logvar = self.vae.encode(x)
        return self.output(embedding=mean, log_covariance=logvar)


class _PythaeDecoder(nn.Module):
    """As `_PythaeEncoder`."""

    def __init__(self, vae: VAE, output: Any) -> None:
        super().__init__()
        self.vae, self.output = vae, output

    def forward(self, z: Tensor) -> Any:
        """z [B, n]."""
        return self.output(reconstruction=torch.sigmoid(self.vae.decode(z)))


def trainers() -> Mapping[str, Trainer | None]:
    """By name, ours first; None is one that is not installed."""
    try:
        other: dict[str, Trainer | None] = {f"pythae {version('pythae')}": pythae}
    except ImportError:
        other = {"pythae": None}
    return {"ours": ours, "plain loop": plain, **other}
