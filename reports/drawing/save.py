"""Writes figures into a folder."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.errors import InputError
from reports.drawing.base import Shown


def make_folder(out: Path) -> None:
    """Makes the folder `out` unless it exists.

    Raises:
        InputError: it cannot be a folder or is not writable.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out} ({error.strerror}); give another folder with --out") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {out} (no permission); give another folder with --out")


def save(figure: Figure, data: Shown, stem: Path) -> tuple[Path, Path, Path]:
    """Writes the figure as `stem`.png and .pdf, and what it draws as .csv. The same store gives the same bytes."""
    png, pdf, csv = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf", "csv"))
    figure.dpi = mpl.rcParams["savefig.dpi"]
    if (layout := figure.get_layout_engine()) is not None:
        # For both files; each `savefig` would draw the whole figure once more for this.
        layout.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave a placeholder, and the drawing with it
    figure.savefig(png)
    figure.savefig(pdf, metadata={"CreationDate": None})
    data.frame().to_csv(csv, index=False)
    return png, pdf, csv
