"""What a search will cost, before it runs: its FLOPs, and how many of them a second has."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd
import torch
import torch._dynamo  # FakeTensorMode would, for a second: better now, while the workers' process does so too
from torch import Generator
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmark.backbones.export import build_vae, make_backbone
from benchmark.config.protocol import Named
from benchmark.datasets.base import Split
from benchmark.suite.plan import SearchSpec, make_searcher
from benchmark.training.loop import flop_counter, new_state, train_epoch
from benchmark.training.rng import Purpose, stream
from searchers.base import FixedSize
from searchers.in_training.ald import ALD
from searchers.parts.objectives import elbo_loss

USUAL_SIZE = 64  # latents, where a searcher does not say with how many it starts
COSTS = ("train_flops", "train_seconds", "eval_seconds")
MEASURED_SECONDS = 0.5
MEASURED_BATCH = 256  # images at most: a larger batch hardly changes the speed (docs/speed.md)


def step_flops(backbone: Named, image_shape: tuple[int, ...], latent_dim: int, batch_size: int) -> int:
    """FLOPs of one plain ELBO training step on a batch [B, *image_shape], as they are counted in a CPU's training.

    Latents are inputs and outputs of linear layers alone (`VAE`), so two sizes tell all others. InputError where the
    backbone cannot take such images.
    """
    at = (backbone.name, json.dumps(dict(backbone.options)), image_shape, batch_size)
    of_two, of_three = _count(*at, latent_dim=2), _count(*at, latent_dim=3)
    return of_two + (latent_dim - 2) * (of_three - of_two)


@cache
def _count(name: str, options: str, image_shape: tuple[int, ...], batch_size: int, latent_dim: int) -> int:
    """Nothing is computed: the tensors have shapes alone."""
    with FakeTensorMode(), flop_counter() as counter:
        vae = make_backbone(name, json.loads(options)).build(image_shape, latent_dim)
        elbo_loss(vae, torch.empty(batch_size, *image_shape), Generator()).total.backward()
    return int(counter.get_total_flops())


def training_flops(spec: SearchSpec, image_shape: tuple[int, ...], n_images: int, latent_dim: int) -> float:
    """FLOPs of a full plain training at one size on `n_images`; spec.training in whole epochs (`with_epochs`)."""
    training = spec.training
    step = step_flops(spec.backbone, image_shape, latent_dim, min(training.batch_size, n_images))
    return float(training.epochs * training.steps_per_epoch(n_images) * step)


def search_flops(spec: SearchSpec, image_shape: tuple[int, ...], n_images: int) -> float:
    """FLOPs of all trainings of a search: at the sizes known beforehand, the others at the size it starts from.

    Mostly more than it takes: sizes that fall during a training, trainings that stop early and baselines smaller or
    shorter than a full training are not foreseen. Two things are left out, so that it can take more: the decoder's
    second pass of a search with gates (about a sixth of a step's FLOPs where encoder and decoder are alike), and
    evaluations, which `train_flops` does not count either.
    """
    return sum(_parts(spec, image_shape, n_images))


def task_flops(specs: Sequence[SearchSpec], image_shape: tuple[int, ...], n_images: int) -> list[float]:
    """FLOPs of each task that can run beside all others.

    A task is a search, where it is spread each of its trainings, where it is stacked all seeds of its searcher.
    """
    tasks: list[float] = []
    stacked: dict[str, float] = {}
    for spec in specs:
        parts = _parts(spec, image_shape, n_images)
        if spec.ahead == "spread":
            tasks += parts
        elif spec.ahead == "population":
            stacked[spec.searcher] = stacked.get(spec.searcher, 0.0) + sum(parts)
        else:
            tasks.append(sum(parts))
    return [*tasks, *stacked.values()]


def _parts(spec: SearchSpec, image_shape: tuple[int, ...], n_images: int) -> list[float]:
    """FLOPs of each training whose size is known beforehand, then of all others together where there are any."""
    searcher = make_searcher(spec.searcher, spec.settings)
    known = searcher.known_sizes(spec.seed)
    parts = [training_flops(spec, image_shape, n_images, size) for size in known]
    others = searcher.n_trainings - len(known)
    if others > 0:
        budget = max(1.0, searcher.budget) if isinstance(searcher, ALD) else 1.0  # it may take more than a full one
        parts.append(others * budget * training_flops(spec, image_shape, n_images, start_size(spec.settings)))
    return parts


def start_size(settings: Mapping[str, Any]) -> int:
    """The latents that a searcher with these settings starts with, or the most that it may propose."""
    sizes = settings.get("sizes")
    for size in (settings.get("latent_dim"), sizes.get("high") if isinstance(sizes, Mapping) else None):
        if isinstance(size, int) and size >= 2:  # a user's own searcher may call anything so
            return size
    return USUAL_SIZE


def rates(searches: pd.DataFrame, backbone: str, device: str) -> "pd.Series[float]":
    """FLOPs per second, evaluations included in the time, of each finished search of this backbone and device type.

    searches: `ResultsStore.searches()`. device: cpu, or another for any GPU.
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

    It is CPU time that counts, so that other programs hardly matter to a search of one thread. Takes about a
    second, or as long as two steps. Evaluations are not in it.
    """
    training = replace(spec.training, batch_size=min(spec.training.batch_size, MEASURED_BATCH), epoch_batches=None)
    shape = (training.batch_size, *image_shape)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=Generator().manual_seed(0))
    size = start_size(spec.settings)
    vae = build_vae(spec.backbone.name, spec.backbone.options, image_shape, size, seed=0)
    state = new_state(vae, FixedSize(), training.learning_rate)

    def seconds_of(steps: int) -> float:
        rows = torch.arange(len(images)).repeat(steps)
        split = Split(images, torch.zeros(len(images), dtype=torch.int64), rows)
        start = time.thread_time()  # of this thread, which has a part in all that the others do
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
