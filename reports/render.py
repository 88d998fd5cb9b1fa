"""Writes the report: tables, then the figures of every group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmark.errors import InputError
from reports.curves import curves_data
from reports.curves_plot import draw_curves
from reports.data import Group, Store
from reports.figures import cost_data, draw_cost, draw_latent_dim, latent_dim_data
from reports.images import draw_images, images_data
from reports.markdown import comparison_page
from reports.style import paper_style
from reports.tables import comparison


@dataclass(frozen=True)
class Report:
    """What was written: the comparison, the files, and a sentence for each figure that had no data."""

    comparison: pd.DataFrame
    files: tuple[Path, ...]
    missing: tuple[str, ...]


def write_report(groups: list[Group], store: Store, out: Path) -> Report:
    """Write every table and figure into `out`, which is made where needed.

    Raises:
        InputError: `out` cannot be a folder or is not writable.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out} ({error.strerror}); give another folder with --out") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {out} (no permission); give another folder with --out")
    frame = comparison(groups)
    table, page = out / "comparison.csv", out / "comparison.md"
    frame.to_csv(table, index=False)
    page.write_text(comparison_page(groups, frame), encoding="utf-8")
    files, missing = [table, page], []
    with paper_style():
        for group in groups:
            for name, figure in _figures(group, store):
                if figure is None:
                    missing.append(f"{name}-{group.slug}: no search has its data yet")
                else:
                    files += _save(figure, out / f"{name}-{group.slug}")
    return Report(frame, tuple(files), tuple(missing))


def _figures(group: Group, store: Store) -> Iterator[tuple[str, Figure | None]]:
    """Name and figure, one at a time so that only one is in memory; None where no search has its data."""
    yield "cost", draw_cost(cost_data(group))
    yield "latent_dim", draw_latent_dim(latent_dim_data(group))
    curves = curves_data(group)
    yield "curves", draw_curves(curves) if curves.rows else None
    images = images_data(group, store)
    yield "images", draw_images(images) if images.rows else None


def _save(figure: Figure, stem: Path) -> list[Path]:
    png, pdf = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")
    figure.savefig(png)
    figure.savefig(pdf, metadata={"CreationDate": None})  # the same store gives the same bytes
    return [png, pdf]
