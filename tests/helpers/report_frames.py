"""Rows of a results store for tests of the reports: made up in memory, or written to disk as a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.store import ResultsStore
from benchmark.store.columns import KEYS
from benchmark.store.rows import EPOCH_COLUMNS
from reports.data.groups import Group, read_groups
from reports.data.quantities import METRICS

Row = dict[str, Any]
GROUP = {"dataset": "digits", "backbone": "mlp", "protocol": "digits", "protocol_hash": "3fa2c19b77", "epochs": 6}


def search(searcher: str, seed: int = 0, status: str = "done", **values: Any) -> Row:
    done = {
        **{"latent_dim": 8, "n_trials": 1, "chosen_trial": 0, "test_fid_features": "classifier", "env_device": "cpu"},
        **{"wall_seconds": 30.0, "train_seconds": 20.0, "eval_seconds": 8.0, "images_seen": 600, "train_flops": 2e9},
        **{metric.tested: 1.0 for metric in METRICS},
    }
    keys = {"searcher": searcher, "seed": seed, "status": status, "error": None}
    row = {**GROUP, **keys, **(done if status == "done" else {}), **values}
    name = "-".join(str(row[k]) for k in ("dataset", "protocol_hash", "searcher", "seed"))
    return {"search_id": re.sub(r"\W+", "-", name), **row}


def epochs(of: Row, sizes: list[int], trial: int = 0, **values: Any) -> list[Row]:
    keys = {key: of[key] for key in ("search_id", "dataset", "backbone", "searcher", "seed")}
    metrics = {metric.column: 1.0 for metric in METRICS}
    return [
        {**keys, "trial": trial, "epoch": n, "latent_dim": size, "fid_features": "classifier", **metrics, **values}
        for n, size in enumerate(sizes, start=1)
    ]


class Frames:
    """A store of frames in memory."""

    def __init__(
        self,
        searches: list[Row],
        epochs: list[Row] | None = None,
        galleries: Row | None = None,
        trials: list[Row] | None = None,
        curves: list[Row] | None = None,
    ) -> None:
        self._searches, self._epochs, self._trials = searches, epochs or [], trials or []
        self._curves = curves or []
        self._galleries = galleries or {}

    def searches(self) -> pd.DataFrame:
        return pd.DataFrame(self._searches)

    def epochs(self) -> pd.DataFrame:
        return pd.DataFrame(self._epochs)

    def trials(self) -> pd.DataFrame:
        return pd.DataFrame(self._trials)

    def curves(self) -> pd.DataFrame:
        return pd.DataFrame(self._curves)

    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None:
        return self._galleries.get(search_id)


def assessed(of: Row, size: int, trial: int = 0, split: str = "test", **values: Any) -> Row:
    """A row of `curves()`: a model of a search, at the end of its training unless `values` have another epoch."""
    keys = {key: of[key] for key in ("search_id", "dataset", "backbone", "searcher", "seed")}
    metrics = {metric.column: 1.0 for metric in METRICS}
    counts = {"draws": 20, "fid_samples": 10_000, "images": 360}
    return {**keys, "trial": trial, "epoch": 6, "split": split, "size": size, **metrics, **counts, **values}


def group(
    searches: list[Row],
    logged: list[Row] | None = None,
    galleries: Row | None = None,
    curves: list[Row] | None = None,
) -> Group:
    groups = read_groups(Frames(searches, logged, galleries, None, curves), "results")
    assert len(groups) == 1
    return groups[0]


def write_store(root: Path, searches: list[Row], logged: list[Row]) -> None:
    """The searches as a store on disk; each finished one gets a gallery."""
    (root / "searches").mkdir(parents=True)
    for row in searches:
        folder = ResultsStore(root).folder(row["search_id"])
        folder.path.mkdir()
        folder.update(**row)
        own = [e for e in logged if e["search_id"] == row["search_id"]]
        for trial in sorted({e["trial"] for e in own}):
            folder.trial(trial).path.mkdir(parents=True)
            values = [{k: v for k, v in e.items() if k not in KEYS} for e in own if e["trial"] == trial]
            folder.trial(trial).write_rows([{**dict.fromkeys(EPOCH_COLUMNS, 1.0), **value} for value in values])
        if row["status"] == "done":
            images = np.random.default_rng(0).integers(0, 255, (8, 1, 8, 8), dtype=np.uint8)
            np.savez(folder.path / "images.npz", originals=images, reconstructions=images, samples=255 - images)
