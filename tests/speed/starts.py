"""Draws docs/starts.png: what a network has learned and the latents it uses, against epochs, for both starts.

`python -m tests.speed.starts docs/starts.png` trains `mlp` with 64 latents on MNIST, each as protocols have it.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Generator

from benchmark.backbones.build import build_vae
from benchmark.backbones.initialise import scale_to_data
from benchmark.config.protocol import Training
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset
from benchmark.machine import limit_threads
from benchmark.metrics.latents import active_units, posterior_stats
from tests.speed.problem import validation_nll
from tests.speed.trainers import OURS, PLAIN, trained

LATENTS, EPOCHS = 64, 20
STARTS = {  # label -> initialisation and training
    "PyTorch's start, 1e-3, constant": ("torch", PLAIN),
    "scaled start, 2e-3, cosine": ("scaled", OURS["mlp"]),
}

Learned = tuple[float, int]
"""After an epoch: minus the validation ELBO (nats an image) and the latents in use."""


def learned(data: Dataset, init: str, settings: Training, epochs: int) -> Iterator[Learned]:
    """Trains with seed 0 and yields what has been learned after each epoch."""
    vae = build_vae("mlp", {"init": init}, data.image_shape, LATENTS, seed=0)
    if init == "scaled":
        scale_to_data(vae, data.train, Generator().manual_seed(0))
    x = data.val.take(torch.arange(len(data.val))).float() / 255
    for _ in trained(vae, data.train, replace(settings, epochs=epochs)):
        with torch.inference_mode():
            stats = posterior_stats(*vae.encode(x))
        yield validation_nll(vae, data.val) + float(stats.kl.sum()), active_units(stats.mean_variance)


def draw(curves: dict[str, list[Learned]]) -> Figure:
    """Both quantities against epochs, a line for each start."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for (label, points), color in zip(curves.items(), ("#d55e00", "#0072b2"), strict=True):
        for axes, values in zip(panels, zip(*points, strict=True), strict=True):
            axes.plot(range(1, len(points) + 1), values, color=color, label=label)
    for axes, title in zip(panels, ("minus ELBO, validation (nats)", f"latents in use, of {LATENTS}"), strict=True):
        axes.set(xlabel="epochs", title=title)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def main(path: Path, epochs: int = EPOCHS) -> None:
    """Trains both and writes the figure."""
    limit_threads(1)
    data = load_dataset("mnist")
    curves = {
        label: list(track(learned(data, *start, epochs), description=label, total=epochs))
        for label, start in STARTS.items()
    }
    for label, points in curves.items():
        print(label, *(f"{loss:.1f}/{used}" for loss, used in points))
    draw(curves).savefig(path, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
