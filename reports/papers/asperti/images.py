"""What the networks of 1812.07238 generate and reconstruct: its figures 4, 6 and 8 to 12."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.drawing.images import mosaic
from reports.drawing.layout import fold, wrapped_title
from reports.drawing.style import COLUMN_WIDTH
from reports.papers.asperti.base import MNIST_DENSE, GreyImages, Run, decode, final_latents, find_run, pixels
from reports.papers.base import RequiredRuns, StoreFrames

_LINE = 10  # images side by side
_SEED = 0  # of the latent vectors that samples are decoded from
_COUNTED = 1000  # samples whose tiles are counted
_TILE_PIXELS = 16  # section V: tiles of 4x4
_MOST_TILES = 3  # section V: in the training images


@dataclass(frozen=True)
class Block:
    """GreyImages [N, H, W] in [0, 1] and what they are."""

    name: str
    images: GreyImages


@dataclass(frozen=True)
class Pictures:
    """Blocks of images of one run, one below the other."""

    title: str
    run: Run
    blocks: tuple[Block, ...]

    def frame(self) -> pd.DataFrame:
        """One row an image: its block, its place there, and its pixels."""
        parts = [
            pd.DataFrame({"block": block.name, "place": range(len(block.images)), "pixels": pixels(block.images)})
            for block in self.blocks
        ]
        return pd.concat(parts, ignore_index=True).assign(search_id=self.run.search_id)


def draw_pictures(data: Pictures) -> Figure:
    """Every block in lines of ten images, its name above it."""
    strips = [mosaic(block.images, _LINE, gap=2) for block in data.blocks]
    width = COLUMN_WIDTH - 0.1
    heights = [width * strip.shape[0] / strip.shape[1] for strip in strips]
    figure = Figure(figsize=(COLUMN_WIDTH, 0.5 + sum(heights) + 0.3 * len(strips)), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, block, strip in zip(axes, data.blocks, strips, strict=True):
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(fold(block.name, 60), loc="left", fontsize=7, pad=2)
        ax.axis("off")
    return figure


def zeroed_data(runs: StoreFrames) -> Pictures | None:
    """Figure 6: samples, and what is decoded when their inactive latents are set to 0."""
    run = find_run(runs, MNIST_DENSE.with_files())
    if run is None:
        return None
    inactive = final_latents(runs, run)["inactive"].to_numpy()
    z = _prior(_LINE, len(inactive))
    images, zeroed = decode(runs, run, z), decode(runs, run, np.where(inactive, 0, z))
    difference = float(np.abs(images - zeroed).max())
    blocks = (
        Block(f"all {len(inactive)} latents drawn from N(0, 1); {run.note}", images),
        Block(f"the {inactive.sum()} inactive zeroed: a pixel changes by {difference:.2g} of 1 at most", zeroed),
    )
    return Pictures("Figure 6 of 1812.07238: inactive latents are neglected by the decoder", run, blocks)


def too_many_tiles(images: GreyImages) -> float:
    """The share of images [N, H, W] in [0, 1] with more white than the data's three tiles and a half have.

    White counts by its brightness, so that a blurred tile counts as far as it is there.
    """
    tiles = images.sum((1, 2)) / _TILE_PIXELS
    return float((tiles > _MOST_TILES + 0.5).mean())


def samples_data(need: RequiredRuns, title: str, runs: StoreFrames) -> Pictures | None:
    """Forty images decoded from the prior, by the run of a need."""
    run = find_run(runs, need.with_files())
    if run is None:
        return None
    images = decode(runs, run, _prior(4 * _LINE, len(final_latents(runs, run))))
    return Pictures(title, run, (Block(f"decoded from N(0, 1); {run.note}", images),))


def tile_samples_data(need: RequiredRuns, title: str, runs: StoreFrames) -> Pictures | None:
    """Tiles decoded from the prior, and how many of them have too many tiles."""
    run = find_run(runs, need.with_files())
    if run is None:
        return None
    images = decode(runs, run, _prior(_COUNTED, len(final_latents(runs, run))))
    name = (
        f"decoded from N(0, 1); {run.note}; of {_COUNTED:,} samples {100 * too_many_tiles(images):.2g} % have more "
        f"white than {_MOST_TILES + 0.5} tiles"
    )
    return Pictures(title, run, (Block(name, images[: 2 * _LINE]),))


def reconstructions_data(need: RequiredRuns, title: str, runs: StoreFrames) -> Pictures | None:
    """Test images and their reconstructions."""
    run = find_run(runs, need.with_files())
    gallery = None if run is None else runs.store.gallery(run.search_id)
    if run is None or gallery is None:
        return None
    named = (("originals", f"test images; {run.note}"), ("reconstructions", "reconstructions (z sampled)"))
    blocks = [Block(name, (gallery[kind][:, 0] / 255).astype(np.float32)) for kind, name in named]
    return Pictures(title, run, tuple(blocks))


def _prior(n: int, latent_dim: int) -> NDArray[np.float64]:
    return np.random.default_rng(_SEED).standard_normal((n, latent_dim))
