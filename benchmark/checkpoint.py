"""Saving and restoring a training between two epochs."""

from typing import Any

import torch

from benchmark.backbones.vae import VAE
from benchmark.files import replacing
from benchmark.store import TrialFolder
from benchmark.training import TrainingState, new_state
from searchers.base import Controller

MODULES = ("vae", "controller", "optimizer")
COUNTERS = ("latent_ids", "flops_per_step", "train_flops", "images_seen", "stopped")


def save(state: TrainingState, folder: TrialFolder) -> None:
    """Writes the rows, then the checkpoint that makes them count: a kill in between loses one epoch."""
    folder.write_rows(state.rows)
    content: dict[str, Any] = {name: getattr(state, name).state_dict() for name in MODULES}
    content |= {name: getattr(state, name) for name in COUNTERS}
    with replacing(folder.checkpoint) as temporary:
        torch.save({"epoch": len(state.rows), **content}, temporary)


def restore(folder: TrialFolder, vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """The training where its last checkpoint left it, or at its start; `vae` and `controller` are as at the start."""
    if not folder.checkpoint.exists():
        return new_state(vae, controller, learning_rate)
    content = torch.load(folder.checkpoint, map_location="cpu", weights_only=True)
    vae.keep_latents(range(len(content["latent_ids"])))
    state = new_state(vae, controller, learning_rate)
    for name in MODULES:
        getattr(state, name).load_state_dict(content[name])
    for name in COUNTERS:
        setattr(state, name, content[name])
    state.rows = folder.read_rows()[: content["epoch"]]
    return state
