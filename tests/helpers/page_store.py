"""A store with every trouble that the page has to show, and names that would break out of it unless escaped."""

from __future__ import annotations

import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from report_frames import Frames, Row, assessed, epochs, search

from reports.data.groups import read_groups
from reports.drawing.base import FigureData, Report
from reports.write import write_report

IMAGE, SCRIPT, TEMPLATE = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "{{7*7}}"
HOSTILE_SEARCHER = f"my.own:{IMAGE}%{{y}}<b>&lt;"
HOSTILE_DATASET = f"folder:/data/{SCRIPT}"
HOSTILE_DATA = f"20 images, grey 8x8; 1 class of 20: {SCRIPT} 20"
_SPLITS = ("val", "test")
DECISIVE = ("fid_recon", "fid_gen", "recon_nll")
HOSTILE_ERROR = f"ValueError: {TEMPLATE} {IMAGE}\nin line 2 </pre>{SCRIPT} \u2028 <!-- <script>"


def seeds(searcher: str, scores: list[float], sizes: tuple[int, ...] = (8, 8, 8), flops: float = 1e10) -> list[Row]:
    """Finished searches whose metrics all have the seed's score, lower is better; the silhouettes are equal."""
    return [
        search(searcher, seed, latent_dim=size, train_flops=flops, **{f"test_{name}": score for name in DECISIVE})
        for seed, (score, size) in enumerate(zip(scores, sizes, strict=False))
    ]


def searches() -> tuple[list[Row], list[Row]]:
    """Searches and epochs: three searchers in three seeds, then a failed, a running, a blind and a lone search."""
    generator = np.random.default_rng(0)
    rows: list[Row] = []
    logged: list[Row] = []
    for place, (searcher, sizes) in enumerate({"grid": (8, 8, 8), "ald": (14, 12, 17), "tpe": (6, 7, 9)}.items()):
        for seed, size in enumerate(sizes):
            quality = 10.0 + place + 0.1 * seed
            scores = {f"test_{name}": quality for name in ("fid_recon", "fid_gen", "recon_nll")}
            scores |= {"test_elbo": -quality - 0.01 * place * seed, "no_latents_nll": 40.0}
            scores |= {"true_low": 6, "true_high": 8}
            flops = {"grid": 1e10, "ald": 2.1e9, "tpe": 9e9}[searcher]
            rows.append(search(searcher, seed, latent_dim=size, train_flops=flops, wall_seconds=flops / 1e8, **scores))
            for epoch in epochs(rows[-1], [20, 20, 18, size, size, size]):
                values = {name: float(generator.uniform(1, 40)) for name in ("fid_recon", "fid_gen", "recon_nll")}
                values["elbo"] = -values["recon_nll"]
                costs = {"train_flops": flops * epoch["epoch"] / 6, "wall_seconds": float(epoch["epoch"])}
                logged.append({**epoch, **values, **costs})
    rows.append(search("ald", 3, "failed", error=HOSTILE_ERROR))
    running = search("tpe", 3, "running")
    blind = search(
        "geco-l0arm", 0, test_elbo=-11.0, **{f"test_{name}": math.nan for name in ("fid_recon", "fid_gen", "recon_nll")}
    )
    hostile = {"dataset": HOSTILE_DATASET, "backbone": TEMPLATE, "test_fid_features": IMAGE, "data": HOSTILE_DATA}
    lone = [search(searcher, 0, **hostile) for searcher in (HOSTILE_SEARCHER, "grid")]
    logged += [*epochs(running, [9, 9]), *epochs(blind, [5] * 6, fid_recon=math.nan, fid_gen=math.nan)]
    logged += [epoch for row in lone for epoch in epochs(row, [4] * 6, fid_features=IMAGE)]
    return [*rows, running, blind, *lone], logged


def write_page_of(root: Path) -> Report:
    """The report of those searches, in `root`/report; in place of what matplotlib would take long to draw stripes.

    The finished searches of the first group have their models assessed; the grid's also those of half the size.
    """
    rows, logged = searches()
    done = [row for row in rows if row["status"] == "done"]
    here = [row for row in done if row["dataset"] == "digits"]
    models = [assessed(row, row["latent_dim"], 0, split, elbo=row["test_elbo"]) for row in here for split in _SPLITS]
    halves = [row for row in here if row["searcher"] == "grid"]
    models += [assessed(row, row["latent_dim"] // 2, 1, elbo=row["test_elbo"] - 1) for row in halves]
    images = np.random.default_rng(0).integers(0, 255, (8, 1, 8, 8), dtype=np.uint8)
    gallery = {"originals": images, "reconstructions": images, "samples": 255 - images}
    store = Frames(rows, logged, {row["search_id"]: gallery for row in done}, None, models)
    with patch("reports.write.save", _save_stripes):
        return write_report(read_groups(store, "results"), root / "report")


def _save_stripes(figure: Figure, data: FigureData, stem: Path) -> tuple[Path, Path, Path]:
    png, pdf, csv = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf", "csv"))
    width, height = (figure.get_size_inches() * 150).astype(int)
    Image.fromarray(np.tile(np.arange(width, dtype=np.uint8), (height, 1))).save(png)
    pdf.write_bytes(b"%PDF-1.4")
    data.frame().to_csv(csv, index=False)
    return png, pdf, csv
