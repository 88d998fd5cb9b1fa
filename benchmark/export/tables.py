"""The frames of a results store as files, one a frame."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.stages import as_stage
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import replacing

FRAMES: dict[str, Callable[[ResultsStore], pd.DataFrame]] = {
    "searches": ResultsStore.searches,
    "trials": ResultsStore.trials,
    "epochs": ResultsStore.epochs,
    "curves": ResultsStore.curves,
    "latents": ResultsStore.latents,
    "probes": ResultsStore.probes,
}


def write_parquet(store: ResultsStore, out: Path) -> list[Path]:
    """Writes each frame that has rows to a Parquet file."""
    return _write(store, out, "parquet", lambda frame, path: frame.to_parquet(path, index=False))


def write_csv(store: ResultsStore, out: Path) -> list[Path]:
    """Writes each frame that has rows to a CSV file, its arrays as JSON."""
    return _write(store, out, "csv", lambda frame, path: arrays_as_json(frame).to_csv(path, index=False))


def arrays_as_json(frame: pd.DataFrame) -> pd.DataFrame:
    """Replaces arrays and lists by their JSON text."""

    def as_text(value: object) -> object:
        listed = value.tolist() if isinstance(value, np.ndarray) else value
        return json.dumps(listed) if isinstance(listed, list) else value

    return frame.assign(**{str(name): frame[name].map(as_text) for name in frame if frame[name].dtype == object})


def _write(store: ResultsStore, out: Path, ending: str, save: Callable[[pd.DataFrame, Path], None]) -> list[Path]:
    written = []
    for name in as_stage(list(FRAMES), f"writing {ending} files", "tables"):
        path, frame = out / f"{name}.{ending}", FRAMES[name](store)
        if frame.empty:
            path.unlink(missing_ok=True)  # of an earlier export
            continue
        with replacing(path) as temporary:
            save(frame, temporary)
        written.append(path)
    return written
