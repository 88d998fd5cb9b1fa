"""The rows of a training, one per epoch, as an Arrow file with a digest against damage, or as lines of JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.errors import Damaged
from benchmark.store.atomic_files import SEAL, check_seal, seal

EPOCH_COLUMNS = (
    *("trial", "epoch", "latent_dim", "active_units", "train_loss", "recon_nll", "recon_sse", "kl", "elbo"),
    *("fid_recon", "fid_gen", "fid_features", "silhouette", "silhouette_labels"),
    *("train_seconds", "eval_seconds", "wall_seconds", "images_seen", "train_flops"),
)
LATENT_ARRAYS = ("latent_id", "latent_mean_variance", "latent_variance_mean", "latent_kl")
PROBE_ARRAYS = ("probe_label", "probe_mean", "probe_variance")
ARRAYS = (*LATENT_ARRAYS, *PROBE_ARRAYS)


def encode_rows(rows: Sequence[dict[str, Any]]) -> bytes:
    """Encodes rows as an Arrow IPC file with its digest in its metadata; arrays become lists."""
    names = dict.fromkeys(name for row in rows for name in row)  # a trace may begin after the first epoch
    table = pa.table({name: pa.array([_nested(row.get(name)) for row in rows]) for name in names})
    table = table.replace_schema_metadata({"digest": SEAL})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return seal(sink.getvalue().to_pybytes())


def _nested(value: Any) -> Any:
    """Converts arrays of several dimensions to lists; Arrow accepts one-dimensional arrays only."""
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value


def decode_rows(content: bytes) -> list[dict[str, Any]]:
    """Decodes rows that `encode_rows` encoded, bit for bit."""
    return [_with_arrays(row) for row in pa.ipc.open_file(pa.BufferReader(content)).read_all().to_pylist()]


def to_json(row: dict[str, Any]) -> str:
    """Encodes a row as a line of JSON; arrays become lists."""
    return json.dumps(row, default=lambda value: value.tolist())


def from_json(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Decodes rows that `to_json` encoded, bit for bit."""
    return [_with_arrays(json.loads(line)) for line in lines]


def _with_arrays(row: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(value) if name in ARRAYS else value for name, value in row.items()}


def read_table(
    path: Path,
    skip: Sequence[str] = (),
    only: Sequence[str] | None = None,
    required: Sequence[str] = EPOCH_COLUMNS,
) -> pa.Table:
    """Reads columns of a training's rows. skip: columns to leave out; only: columns to read; required: must exist.

    Raises Damaged if the file has changed since it was written, or is no such table.
    """
    try:
        check_seal(path)
        with pa.memory_map(str(path)) as source:
            schema = pa.ipc.open_file(source).schema
            if not set(required) - {"elbo"} <= set(schema.names):  # results before 0.3 have none
                raise Damaged(path)
            wanted = [i for i, name in enumerate(schema.names) if name not in skip and (only is None or name in only)]
            table = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=wanted)).read_all()
            table.validate(full=True)  # damaged offsets could point outside of the file
            if not len(table):
                raise Damaged(path)
            return _with_elbo(_traces_as_floats(table), only).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Damaged(path) from error


def _with_elbo(table: pa.Table, only: Sequence[str] | None) -> pa.Table:
    """Adds the ELBO to rows of older results, as newer ones have it."""
    if only is not None or "elbo" in table.column_names:
        return table
    return table.append_column("elbo", pc.negate(pc.add(table["recon_nll"], table["kl"])))


def _traces_as_floats(table: pa.Table) -> pa.Table:
    """Converts integer and boolean traces of older results to floats, as newer results have them."""
    for i, (name, kind) in enumerate(zip(table.schema.names, table.schema.types, strict=True)):
        if name.startswith("ctl_") and kind in (pa.int64(), pa.bool_()):
            table = table.set_column(i, name, table[i].cast(pa.float64(), safe=False))
    return table
