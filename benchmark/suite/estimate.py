"""Estimates a search's cost before it runs: its FLOPs, and how many FLOPs a worker does in a second."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pandas as pd
import torch
import torch._dynamo  # FakeTensorMode needs it; its import takes a second, now in parallel with the workers'
from torch import Generator
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmark.backbones.build import build_vae, make_backbone
from benchmark.config.protocol import Named
from benchmark.datasets.base import Split
from benchmark.suite.plan import SearchSpec
from benchmark.suite.work import WorkItem
from benchmark.training.flops import flop_counter
from benchmark.training.loop import train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import new_state
from searchers.base import FixedSize
from searchers.parts.objectives import elbo_loss

COSTS = ("train_flops", "train_seconds", "eval_seconds")
MEASURED_SECONDS = 0.5
MEASURED_BATCH = 256  # images at most: a larger batch hardly changes the speed (docs/speed.md)


def step_flops(backbone: Named, image_shape: tuple[int, ...], latent_dim: int, batch_size: int) -> int:
    """FLOPs of one plain ELBO training step on a batch [B, *image_shape], as a CPU's training counts them.

    Only linear layers read and write latents (`VAE`), so FLOPs are linear in the size and two sizes give all others.
    Raises InputError where the backbone cannot take such images.
    """
    at = (backbone.name, json.dumps(dict(backbone.options)), image_shape, batch_size)
    of_two, of_three = _count(*at, latent_dim=2), _count(*at, latent_dim=3)
    return of_two + (latent_dim - 2) * (of_three - of_two)


@cache
def _count(name: str, options: str, image_shape: tuple[int, ...], batch_size: int, latent_dim: int) -> int:
    """Counts on tensors that have a shape and no content, so nothing is computed."""
    with FakeTensorMode(), flop_counter() as counter:
        vae = make_backbone(name, json.loads(options)).build(image_shape, latent_dim)
        elbo_loss(vae, torch.empty(batch_size, *image_shape), Generator()).total.backward()
    return int(counter.get_total_flops())


def training_flops(
    spec: SearchSpec, image_shape: tuple[int, ...], n_images: int, latent_dim: int, epochs: int
) -> float:
    """FLOPs of a plain training at one size on `n_images`."""
    training = spec.training
    step = step_flops(spec.backbone, image_shape, latent_dim, min(training.batch_size, n_images))
    return float(epochs * training.steps_per_epoch(n_images) * step)


def search_flops(spec: SearchSpec, image_shape: tuple[int, ...], n_images: int) -> float:
    """FLOPs of all trainings that a search expects to ask for, at the sizes they start with.

    Usually an upper bound: it does not foresee that latents are removed or that a training stops early. It leaves out
    the second decoder pass of a search with gates (about a sixth of a step's FLOPs where encoder and decoder are alike)
    and evaluations, which `train_flops` does not count either.
    """
    return sum(training_flops(spec, image_shape, n_images, size, epochs) for size, epochs, _ in spec.planned())


def item_flops(
    items: Sequence[WorkItem], specs: Sequence[SearchSpec], image_shape: tuple[int, ...], n_images: int
) -> list[float]:
    """FLOPs of each item. A training that an earlier item does as well counts once."""
    seen: set[str] = set()
    costs = []

    def new_flops(spec: SearchSpec, size: int, epochs: int, certain: bool) -> float:
        key = spec.training_key(size, epochs)
        if certain and key in seen:
            return 0.0
        seen.update([key] if certain else [])
        return training_flops(spec, image_shape, n_images, size, epochs)

    for item in items:
        spec = specs[item.search]
        wanted = [(one.spec, one.latent_dim, one.epochs, True) for one in item.trainings]
        wanted = wanted or [(spec, *training) for training in spec.planned()]
        costs.append(sum(new_flops(*one) for one in wanted))
    return costs


def rates(searches: pd.DataFrame, backbone: str, device: str) -> "pd.Series[float]":
    """FLOPs per second of each finished search with this backbone and kind of device; the time includes evaluations.

    searches: `ResultsStore.searches()`. device: cpu, or anything else for a GPU.
    """
    if "env_device" not in searches:  # no search has started
        return pd.Series(dtype=float)
    own = (searches["status"] == "done") & (searches["backbone"] == backbone)
    own &= (searches["env_device"] == "cpu") == (device == "cpu")
    finished = searches[own].astype(dict.fromkeys(COSTS, float))
    finished = finished[finished["train_seconds"] > 0]
    return finished["train_flops"] / (finished["train_seconds"] + finished["eval_seconds"])


def measured_rate(spec: SearchSpec, image_shape: tuple[int, ...]) -> float:
    """FLOPs per second of training steps on noise, on this machine's CPU with the search's number of threads.

    It measures CPU time, so other programs hardly disturb a search of one thread. It takes about a second, or two steps
    if those are longer, and leaves out evaluations.
    """
    training = replace(spec.training, batch_size=min(spec.training.batch_size, MEASURED_BATCH), epoch_batches=None)
    shape = (training.batch_size, *image_shape)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=Generator().manual_seed(0))
    size = spec.space.high
    vae = build_vae(spec.backbone.name, spec.backbone.options, image_shape, size, seed=0)
    state = new_state(vae, FixedSize(), training.learning_rate)

    def seconds_of(steps: int) -> float:
        rows = torch.arange(len(images)).repeat(steps)
        split = Split(images, torch.zeros(len(images), dtype=torch.int64), rows)
        start = time.thread_time()  # this thread takes part in all work of the others
        train_epoch(state, split, training, stream(Purpose.ORDER, 0), stream(Purpose.NOISE, 0))
        return time.thread_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    try:
        seconds_of(1)  # counts the FLOPs, and warms up
        steps, seconds = 1, seconds_of(1)
        while seconds < MEASURED_SECONDS:
            steps *= 2
            seconds = seconds_of(steps)
    finally:
        torch.set_num_threads(threads)
    return steps * step_flops(spec.backbone, image_shape, size, training.batch_size) / seconds
