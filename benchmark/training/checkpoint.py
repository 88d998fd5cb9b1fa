"""Saves and restores a training between two epochs."""

from typing import Any

import torch

from benchmark.backbones.vae import VAE
from benchmark.errors import Damaged
from benchmark.store.atomic_files import read_checked
from benchmark.store.folders import TrialFolder
from benchmark.store.tensor_files import read_tensors, write_tensors
from benchmark.training.state import TrainingState, load_optimizer, new_state
from searchers.base import Controller

MODULES = ("vae", "controller", "optimizer")
COUNTERS = (
    *("latent_ids", "latents_ever", "flops_per_step", "train_flops", "images_seen", "stopped", "curve"),
    *("epochs", "unlogged_seconds"),
)


def save(state: TrainingState, folder: TrialFolder) -> None:
    """Writes the checkpoint with its rows, then shows the rows; a kill loses only the epoch in progress."""
    content: dict[str, Any] = {name: getattr(state, name).state_dict() for name in MODULES}
    content |= {name: getattr(state, name) for name in COUNTERS}
    content["rows"] = state.rows_to_save()
    write_tensors(folder.checkpoint, content)
    folder.show_rows(state.rows)


def check(folder: TrialFolder) -> None:
    """Raises Damaged if the checkpoint or the optimizer's state exists and has changed since it was written."""
    for path in (folder.checkpoint, folder.optimizer):
        if path.exists():
            read_checked(path)


def restore(folder: TrialFolder, vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """Returns the training at its last checkpoint, or at its start. `vae` and `controller`: in their initial state."""
    if not folder.checkpoint.exists():
        return new_state(vae, controller, learning_rate)
    content = read_tensors(folder.checkpoint)
    n, start = len(content["latent_ids"]), vae.latent_dim
    if n != start:
        vae.keep_latents(range(min(n, start)))
        vae.add_latents(max(0, n - start), torch.Generator())
        controller.latents_kept(range(min(n, start)), max(0, n - start))
    state = new_state(vae, controller, learning_rate)
    vae.load_state_dict(content["vae"])
    controller.load_state_dict(content["controller"])
    load_optimizer(state.optimizer, content["optimizer"])
    load_counters(state, content)
    state.load_rows(content["rows"])
    folder.write_rows(state.rows)  # the file may be damaged or behind
    return state


def load_counters(state: TrainingState, saved: dict[str, Any]) -> None:
    """Sets the counters that the checkpoint holds; an older one lacks some."""
    for name in COUNTERS:
        setattr(state, name, saved.get(name, getattr(state, name)))


def save_optimizer(state: TrainingState, folder: TrialFolder) -> None:
    """Writes Adam's state of a finished model's parameters, for a training that starts from this model."""
    moments = [state.optimizer.state.get(parameter, {}) for parameter in state.vae.parameters()]
    write_tensors(folder.optimizer, moments)


def has_moments(folder: TrialFolder) -> bool:
    """True if `load_moments` can read the optimizer's state of a finished training."""
    try:
        read_checked(folder.optimizer)
        return True
    except (Damaged, FileNotFoundError):
        return False


def load_moments(state: TrainingState, folder: TrialFolder) -> None:
    """Loads the state that `save_optimizer` wrote into a new training of the same model."""
    saved = read_tensors(folder.optimizer)
    for parameter, moments in zip(state.vae.parameters(), saved, strict=True):
        state.optimizer.state[parameter] = {name: value.to(parameter.device) for name, value in moments.items()}
