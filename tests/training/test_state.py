"""The rows that a checkpoint keeps."""

import math

import numpy as np
import torch

from benchmark.backbones.build import build_vae
from benchmark.store.rows import encode_rows
from benchmark.training.state import TrainingState, new_state
from searchers.base import FixedSize

ROWS = [
    {"epoch": 1, "elbo": -1.1, "features": "stub", "latent_kl": np.array([0.1, 2.0], np.float32)},
    {"epoch": 2, "elbo": math.nan, "features": "stub", "latent_kl": np.array([0.2, 3.0], np.float32), "ctl_size": 4.0},
]


def state() -> TrainingState:
    return new_state(build_vae("mlp", {"hidden": [3]}, (1, 2, 2), 2, seed=0), FixedSize(), 1e-3)


def test_rows_come_back_as_they_were() -> None:
    one, other = state(), state()
    one.rows = ROWS[:1]
    assert len(one.rows_to_save()) == 1
    one.rows = ROWS
    other.load_rows(one.rows_to_save())
    assert repr(other.rows) == repr([{**row, "latent_kl": row["latent_kl"].astype(float)} for row in ROWS])


def test_rows_of_a_checkpoint_of_an_older_version() -> None:
    own = state()
    own.load_rows(torch.frombuffer(bytearray(encode_rows(ROWS)), dtype=torch.uint8))
    assert [row["epoch"] for row in own.rows] == [1, 2] and own.rows[0]["elbo"] == -1.1
    own.rows.append(own.rows[0])
    assert len(own.rows_to_save()) == 3
