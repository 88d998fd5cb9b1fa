"""A results store as TensorBoard's event files: the curves of each training are a run."""

from pathlib import Path
from typing import cast

import pandas as pd

from benchmark.errors import InputError
from benchmark.stages import as_stage
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import replacing
from benchmark.store.columns import KEYS

FILE = "events.out.tfevents.latentbench"
NOT_CURVES = (*KEYS, "trial", "epoch", "fid_features")


def write_events(store: ResultsStore, out: Path) -> list[Path]:
    """Writes OUT/tensorboard/SEARCH_ID/TRIAL, for `tensorboard --logdir OUT/tensorboard`.

    A run has a scalar for each number of `ResultsStore.epochs()`; its step is the epoch and its time `wall_seconds`.
    Raises InputError where tensorboard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        install = "install it: pip install 'latentbench[tensorboard]'"
        raise InputError(f"tensorboard is not installed, and its event files need it; {install}") from error
    epochs, folder = store.epochs(), out / "tensorboard"
    runs = list(epochs.groupby(["search_id", "trial"]))
    for keys, rows in as_stage(runs, "writing event files", "trainings"):
        search_id, trial = cast("tuple[str, int]", keys)
        with replacing(folder / search_id / f"{trial:03d}" / FILE) as temporary:
            _write_run(temporary, rows.set_index("epoch"))
    return [folder] if runs else []


def _write_run(path: Path, rows: pd.DataFrame) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    curves = rows.drop(columns=list(NOT_CURVES), errors="ignore").dropna(axis=1, how="all").astype(float)
    with path.open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
        for epoch, values in curves.iterrows():
            scalars = Summary(value=[Summary.Value(tag=str(tag), simple_value=value) for tag, value in values.items()])
            event = Event(wall_time=values["wall_seconds"], step=cast(int, epoch), summary=scalars)
            records.write(event.SerializeToString())
