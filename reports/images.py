"""Reconstructions and samples of each searcher's chosen model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.data import Group, Store
from reports.style import PAGE_WIDTH, searcher_style

Images = NDArray[np.uint8]

_MARGIN = 0.08  # inches around images and labels
_TITLE = 0.3  # inches for the title


@dataclass(frozen=True)
class ImageRow:
    """One row of images [N, H, W, 3] with its label and the search it is from; `searcher` is empty for originals."""

    searcher: str
    search_id: str
    label: str
    images: Images


@dataclass(frozen=True)
class ImagesData:
    """Rows from top to bottom: test images, then each searcher's reconstructions of them and its prior samples."""

    title: str
    rows: tuple[ImageRow, ...]

    def frame(self) -> pd.DataFrame:
        """One row a row of images: what it shows, and of which search."""
        columns = ["row", "searcher", "search_id", "n_images"]
        rows = [(" ".join(row.label.split()), row.searcher, row.search_id, len(row.images)) for row in self.rows]
        return pd.DataFrame(rows, columns=columns)


def images_data(group: Group, store: Store) -> ImagesData | None:
    """Rows from the first finished seed of each searcher that kept a gallery; none when no search has one.

    A searcher whose gallery shows other test images than the row above brings its own row of originals.
    """
    rows: list[ImageRow] = []
    shown: Images | None = None
    for searcher in group.searchers:
        for _, search in group.of(searcher, "done").iterrows():
            gallery = store.gallery(search["search_id"])
            if gallery is None:
                continue
            originals = to_rgb(gallery["originals"])
            if shown is None or not np.array_equal(shown, originals):
                rows.append(ImageRow("", search["search_id"], "test images", originals))
                shown = originals
            name = f"{searcher_style(searcher).label}, size {search['latent_dim']:g}"
            for kind in ("reconstructions", "samples"):
                rows.append(ImageRow(searcher, search["search_id"], f"{name}\n{kind}", to_rgb(gallery[kind])))
            break
    title = f"Test images, reconstructions and prior samples: {group.title}"
    return ImagesData(title, tuple(rows)) if rows else None


def to_rgb(images: Images) -> Images:
    """[N, C, H, W] -> [N, H, W, 3]; of a video [N, C, T, H, W] the middle frame; one channel becomes grey."""
    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]  # [N, C, T, H, W] -> [N, C, H, W]
    channels = images[:, :3] if images.shape[1] >= 3 else images[:, :1].repeat(3, axis=1)
    return channels.transpose(0, 2, 3, 1)  # [N, 3, H, W] -> [N, H, W, 3]


def draw_images(data: ImagesData) -> Figure:
    """Rows of images side by side, each labelled at its left with the searcher and the latent size."""
    most = max(len(row.images) for row in data.rows)
    figure = Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH))
    labels = [figure.text(0, 0, row.label, color=_color(row), ha="right", va="center") for row in data.rows]
    # Placed by hand: images keep their aspect, and the widest label fits whatever the searcher is called.
    left = max(label.get_window_extent().width for label in labels) / figure.dpi + 2 * _MARGIN
    width = PAGE_WIDTH - left - _MARGIN
    strips = [_strip(row.images, most) for row in data.rows]
    heights = [width * strip.shape[0] / strip.shape[1] for strip in strips]
    total = _TITLE + sum(heights) + _MARGIN * len(heights)
    figure.set_size_inches(PAGE_WIDTH, total)
    figure.suptitle(data.title, y=1 - _MARGIN / total, va="top")
    top = total - _TITLE
    for label, strip, height in zip(labels, strips, heights, strict=True):
        ax = figure.add_axes((left / PAGE_WIDTH, (top - height) / total, width / PAGE_WIDTH, height / total))
        ax.imshow(strip, interpolation="nearest", aspect="auto")
        ax.axis("off")
        label.set_position(((left - _MARGIN) / PAGE_WIDTH, (top - height / 2) / total))
        top -= height + _MARGIN
    return figure


def _color(row: ImageRow) -> str:
    return searcher_style(row.searcher).color if row.searcher else "#000000"


def _strip(images: Images, most: int) -> Images:
    """[N, H, W, 3] -> [H, most * W + gaps, 3] with white gaps; rows shorter than the longest end in white."""
    n, height, width, _ = images.shape
    gap = max(1, width // 24)
    strip = np.full((height, most * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i in range(n):
        strip[:, i * (width + gap) : i * (width + gap) + width] = images[i]
    return strip
