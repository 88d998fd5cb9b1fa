"""What a results folder shows of the chosen model: example images, or rows of a table with their codes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Dataset, Split
from benchmark.store.atomic_files import replacing
from searchers.parts.objectives import kl_per_dim, noise_dim, prior_codes, reparameterise

GALLERY_IMAGES = 10
GALLERY_ROWS, GALLERY_COLUMNS = 1_000, 6


@torch.inference_mode()
def save_gallery(folder: Path, vae: VAE, dataset: Dataset, generator: Generator) -> None:
    """Writes `images.npz` (see `ResultsStore.gallery`), or of a table `rows.npz` (see `ResultsStore.rows`)."""
    is_images, split = dataset.is_images, dataset.test
    arrays = _images(vae, split, generator) if is_images else _rows(vae, split, dataset.value_names)
    name = "images.npz" if is_images else "rows.npz"
    with replacing(folder / name) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _images(vae: VAE, split: Split, generator: Generator) -> dict[str, np.ndarray]:
    part = split.sample(GALLERY_IMAGES)
    positions = torch.arange(len(part))
    originals = part.take(positions)
    if not (part.is_of_bytes or (originals.dtype == torch.uint8 and vae.likelihood.is_count)):
        originals = (part.inputs(positions).clamp(0, 1) * 255).round().to(torch.uint8)
    mean, logvar = vae.encode(part.inputs(positions, generator.device))
    z = reparameterise(mean, logvar, generator)
    prior = prior_codes(vae, z.new_empty(len(z), noise_dim(vae)).normal_(generator=generator))

    def pixels(latents: Tensor) -> np.ndarray:
        shown = vae.likelihood.mean(vae.decode(latents))
        if vae.likelihood.is_count:  # of bytes
            shown = shown.clamp(0, 255) / 255
        return (shown * 255).round().to(torch.uint8).cpu().numpy()

    return {
        "labels": part.labels[part.rows].numpy(),
        "originals": originals.numpy(),
        "reconstructions": pixels(z),
        "samples": pixels(prior),
    }


def _rows(vae: VAE, split: Split, names: Sequence[str]) -> dict[str, np.ndarray]:
    part = split.sample(GALLERY_ROWS)
    stored = part.take(torch.arange(len(part)))
    mean, logvar = vae.embed(stored)
    likelihood, scaling = vae.likelihood, vae.scaling
    true, decoded = stored.double(), vae.generate(mean)
    errors = likelihood.inputs(scaling(true)) - likelihood.inputs(scaling(decoded))
    explained = 1 - errors.var(0) / likelihood.inputs(scaling(true)).var(0).clamp(min=1e-12)  # [D]
    rising = explained.argsort()
    chosen = rising[torch.linspace(0, len(rising) - 1, min(GALLERY_COLUMNS, len(rising))).round().long()]
    first = kl_per_dim(mean, logvar).mean(0).argsort(descending=True)[:2]
    return {
        "labels": part.labels[part.rows].numpy(),
        "latents": first.numpy(),
        "codes": mean[:, first].numpy(),
        "columns": np.array([names[i] if names else f"column {i}" for i in chosen.tolist()], dtype=str),
        "r2": explained[chosen].numpy(),
        "originals": true[:, chosen].numpy(),
        "reconstructions": decoded[:, chosen].numpy(),
    }
