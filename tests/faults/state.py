"""What a results folder says, and how two of them differ: the measure of what a fault has done."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmark.store import ResultsStore

FRAMES = ("searches", "trials", "epochs", "latents", "probes", "curves")
TIMES = ("train_seconds", "eval_seconds", "wall_seconds")
LONG_SECONDS = 1800  # nothing here takes half an hour

State = dict[str, str]
"""By name, a digest of every file and of every column of every frame, apart from times, memory and machine."""


def read_state(results: Path) -> State:
    """Raises InputError where the folder holds no results, or damaged ones."""
    store = ResultsStore(results)
    state = {}
    for frame in FRAMES:
        for name, column in getattr(store, frame)().items():
            if name in TIMES:
                state[f"{frame}: absurd {name}"] = str((~column.between(0, LONG_SECONDS)).sum())
            elif name != "peak_memory_bytes" and not name.startswith("env_"):
                state[f"{frame}: {name}"] = _digest(column.tolist())
    for path in results.rglob("*"):
        name = path.relative_to(results)
        if not path.is_dir():  # a shared training's damage is found by the next search that needs it
            state[str(name)] = _digest(None if name.parts[0] == "trainings" else _content(path))
    return state


def differences(got: State, expected: State) -> list[str]:
    """One line for each name that differs."""
    return [
        *(f"{name} is left over" for name in sorted(got.keys() - expected.keys())),
        *(f"{name} is missing" for name in sorted(expected.keys() - got.keys())),
        *(f"{name} differs" for name in sorted(got.keys() & expected.keys()) if got[name] != expected[name]),
    ]


def _content(path: Path) -> Any:
    """What a file says that no frame does."""
    if path.name == "model.pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    if path.name == "request.json":
        return json.loads(path.read_text())
    return None


def _digest(content: Any) -> str:
    plain = json.dumps(content, sort_keys=True, default=_plain)  # floats in full
    return hashlib.sha256(plain.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return value.tolist()
    return None if value is pd.NA else str(value)
