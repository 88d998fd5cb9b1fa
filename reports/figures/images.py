"""Reconstructions and samples of each searcher's chosen model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.data.groups import Group
from reports.data.names import label
from reports.drawing.images import Images, gap_of, mosaic, to_rgb
from reports.drawing.layout import fold, unfinished
from reports.drawing.style import COLUMN_WIDTH, GREY, searcher_style

Kind = Literal["originals", "reconstructions", "samples"]

N_IMAGES = 8  # a row: more would be too small in a column
_NAMES = {"originals": "test\nimages", "reconstructions": "recon-\nstructions", "samples": "samples"}
_NAME_WIDTH = 0.6  # inches, at the left of a row
_MARGIN = 0.05  # inches around rows
_LINE = 0.14  # inches of a line of text
_TITLE_LETTERS, _HEADING_LETTERS, _NOTE_LETTERS = 42, 46, 60  # a line


@dataclass(frozen=True)
class ImageRow:
    """One row of images [N, H, W, 3], what it shows, and its search.

    latent_dim, active_units: the chosen size and how many of it are in use, None if unknown.
    """

    kind: Kind
    searcher: str
    search_id: str
    seed: int
    latent_dim: int | None
    active_units: int | None
    images: Images


@dataclass(frozen=True)
class ImagesData:
    """Rows from top to bottom: test images, then each searcher's reconstructions of them and its prior samples.

    notes: the searches and searchers that have no images.
    """

    title: str
    rows: tuple[ImageRow, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a row of images: what it shows, and of which search (for test images: the one that kept them)."""
        keys = ["kind", "searcher", "search_id", "seed", "latent_dim", "active_units"]
        rows = [[*(getattr(row, key) for key in keys), len(row.images)] for row in self.rows]
        frame = pd.DataFrame(rows, columns=["row", *keys[1:], "n_images"])
        return frame.astype({"latent_dim": "Int64", "active_units": "Int64"})


def images_data(group: Group) -> ImagesData | None:
    """Rows from the first finished seed of each searcher that kept a gallery; none when no search has one.

    A searcher whose gallery shows other test images than those above brings its own row of them.
    """
    rows: list[ImageRow] = []
    blank: list[str] = []
    shown: Images | None = None
    for searcher in group.searchers:
        done = group.of(searcher, "done")
        for _, search in done.iterrows():
            gallery = group.gallery(search["search_id"])
            if gallery is None:
                continue
            originals = to_rgb(gallery["originals"][:N_IMAGES])
            size = None if np.isnan(search["latent_dim"]) else int(search["latent_dim"])
            in_use = None if np.isnan(search["test_active_units"]) else int(search["test_active_units"])
            keys = (searcher, search["search_id"], int(search["seed"]), size, in_use)
            if shown is None or not np.array_equal(shown, originals):
                rows.append(ImageRow("originals", *keys, originals))
                shown = originals
            rows.append(ImageRow("reconstructions", *keys, to_rgb(gallery["reconstructions"][:N_IMAGES])))
            rows.append(ImageRow("samples", *keys, to_rgb(gallery["samples"][:N_IMAGES])))
            break
        else:
            blank += [label(searcher)] if len(done) else []
    notes = [*unfinished(group), *([f"Finished without images: {', '.join(blank)}."] if blank else [])]
    return ImagesData(f"Reconstructions and samples: {group.title}", tuple(rows), tuple(notes)) if rows else None


def draw_images(data: ImagesData) -> Figure:
    """Rows of images, each named at its left; over a searcher's rows its name, the chosen size and the seed."""
    strips = [mosaic(row.images, N_IMAGES, gap_of(row.images)) for row in data.rows]
    width = COLUMN_WIDTH - _NAME_WIDTH - _MARGIN
    heights = [max(width * strip.shape[0] / strip.shape[1], 2 * _LINE) for strip in strips]  # names have two lines
    headings = [_heading(data.rows, n) for n in range(len(data.rows))]
    title = fold(data.title, _TITLE_LETTERS)
    notes = "\n".join(fold(note, _NOTE_LETTERS) for note in data.notes)
    head, foot = (_LINE * (text.count("\n") + 1) + 2 * _MARGIN if text else 0.0 for text in (title, notes))
    above = [_LINE * (heading.count("\n") + 1) if heading else 0.0 for heading in headings]
    total = head + sum(heights) + _MARGIN * len(strips) + sum(above) + foot
    # Placed by hand, from the top: every image has the same width and keeps its aspect.
    figure = Figure(figsize=(COLUMN_WIDTH, total))
    figure.suptitle(title, y=1 - _MARGIN / total, va="top")
    top = total - head
    for row, strip, height, heading, space in zip(data.rows, strips, heights, headings, above, strict=True):
        if heading:
            x, y = _NAME_WIDTH / COLUMN_WIDTH, (top - space / 2) / total
            style = searcher_style(row.searcher)
            mark = Line2D([x - _LINE / 2 / COLUMN_WIDTH], [y], marker=style.marker, color=style.color, markersize=4.5)
            figure.add_artist(mark)
            figure.text(x, y, heading, va="center", fontsize=7)
            top -= space
        name = (_NAME_WIDTH - _MARGIN) / COLUMN_WIDTH, (top - height / 2) / total
        figure.text(*name, _NAMES[row.kind], ha="right", va="center", fontsize=7)
        place = (_NAME_WIDTH / COLUMN_WIDTH, (top - height) / total, width / COLUMN_WIDTH, height / total)
        ax = figure.add_axes(place)
        ax.imshow(strip, interpolation="nearest")
        ax.axis("off")
        top -= height + _MARGIN
    figure.text(_MARGIN / COLUMN_WIDTH, _MARGIN / total, notes, color=GREY, va="bottom", fontsize=7)
    return figure


def _heading(rows: tuple[ImageRow, ...], n: int) -> str:
    """Over a searcher's first row; the test images at the top belong to every searcher."""
    row = rows[n]
    if n == 0 or (n > 1 and rows[n - 1].searcher == row.searcher):
        return ""
    size = "unknown" if row.latent_dim is None else row.latent_dim
    size = size if row.active_units is None else f"{size} ({row.active_units} in use)"
    return fold(f"{label(row.searcher)}, size {size}, seed {row.seed}", _HEADING_LETTERS)
