"""Saving and restoring a training between two epochs."""

import io
from typing import Any

import torch

from benchmark.backbones.vae import VAE
from benchmark.store import TrialFolder
from benchmark.store.atomic_files import read_checked, write_checked
from benchmark.store.rows import decode_rows, encode_rows
from benchmark.training.loop import TrainingState, load_optimizer, new_state
from searchers.base import Controller

MODULES = ("vae", "controller", "optimizer")
COUNTERS = ("latent_ids", "flops_per_step", "train_flops", "images_seen", "stopped")


def save(state: TrainingState, folder: TrialFolder) -> None:
    """Writes the checkpoint, rows included, and then the rows for readers: a kill loses the epoch under way alone."""
    content: dict[str, Any] = {name: getattr(state, name).state_dict() for name in MODULES}
    content |= {name: getattr(state, name) for name in COUNTERS}
    rows = encode_rows(state.rows)
    content["rows"] = torch.frombuffer(bytearray(rows), dtype=torch.uint8)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_checked(folder.checkpoint, buffer.getvalue())
    folder.write_encoded(rows)


def check(folder: TrialFolder) -> None:
    """Raises Damaged where there is a checkpoint and it is not what was written."""
    if folder.checkpoint.exists():
        read_checked(folder.checkpoint)


def restore(folder: TrialFolder, vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """The training where its last checkpoint left it, or at its start; `vae` and `controller` are as at the start."""
    if not folder.checkpoint.exists():
        return new_state(vae, controller, learning_rate)
    content = torch.load(io.BytesIO(read_checked(folder.checkpoint)), map_location="cpu", weights_only=True)
    vae.keep_latents(range(len(content["latent_ids"])))
    state = new_state(vae, controller, learning_rate)
    vae.load_state_dict(content["vae"])
    controller.load_state_dict(content["controller"])
    load_optimizer(state.optimizer, content["optimizer"])
    for name in COUNTERS:
        setattr(state, name, content[name])
    state.rows = decode_rows(content["rows"].numpy().tobytes())
    folder.write_rows(state.rows)  # what readers have may be an epoch behind, or damaged
    return state
