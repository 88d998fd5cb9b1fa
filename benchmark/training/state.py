"""The state of a training between two epochs: model, controller, optimizer, rows and counters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from benchmark.backbones.vae import VAE
from benchmark.store.rows import decode_rows, from_json, to_json
from benchmark.training.controller_checks import state_shapes
from benchmark.training.cuda_graph import Replay
from searchers.base import Controller


@dataclass
class TrainingState:
    """What a checkpoint holds, with the rows so far.

    number: the index of the training in its search. latent_ids: one per latent; the first latents are 0, 1, ..., and
    added ones continue. latents_ever: the number of ids given. curve: rows of `ResultsStore.curves()`. epochs: how many
    are complete. unlogged_seconds: those of training since the last row.
    """

    vae: VAE
    controller: Controller
    optimizer: torch.optim.Optimizer
    latent_ids: list[int]
    rows: list[dict[str, Any]]
    number: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    latents_ever: int = 0
    flops_per_step: int | None = None  # None: not counted yet at this size
    train_flops: int = 0
    images_seen: int = 0
    epochs: int = 0
    unlogged_seconds: float = 0.0
    stopped: bool = False
    replay: Replay | None = None  # of the step as a CUDA graph
    saved_rows: list[str] = field(default_factory=list)  # the rows of the last checkpoint, see `rows_to_save`

    def __post_init__(self) -> None:
        self.latents_ever = self.latents_ever or len(self.latent_ids)
        self.controller_shapes = state_shapes(self.controller)

    def change_latents(self, keep: Sequence[int] | None, n_added: int, generator: Generator) -> None:
        """Keeps these latents (None: all), adds fresh ones, and tells the controller.

        generator: on the CPU; draws the weights of the fresh latents.
        """
        indices = list(range(self.vae.latent_dim)) if keep is None else list(keep)
        old_values = {parameter: parameter.data for parameter in self.controller.parameters()}
        self.remove_all_but(indices)
        self.vae.add_latents(n_added, generator, self.optimizer)
        self.latent_ids += range(self.latents_ever, self.latents_ever + n_added)
        self.latents_ever += n_added
        self.controller.latents_kept(indices, n_added)
        for parameter, values in old_values.items():
            if parameter.data_ptr() != values.data_ptr():  # replaced, perhaps by one of the same size
                _resize_moments(self.optimizer.state.get(parameter, {}), values.shape, indices, n_added)
        self.controller_shapes = state_shapes(self.controller)

    def rows_to_save(self) -> list[str]:
        """The rows as lines of JSON for a checkpoint; encodes each row once."""
        self.saved_rows += map(to_json, self.rows[len(self.saved_rows) :])
        return self.saved_rows

    def load_rows(self, saved: list[str] | Tensor) -> None:
        """Takes the rows from a checkpoint; one written before 0.3 has the bytes of an Arrow file, uint8."""
        if isinstance(saved, Tensor):
            saved = list(map(to_json, decode_rows(saved.numpy().tobytes())))
        self.saved_rows, self.rows = saved, from_json(saved)
        self.epochs = max(self.epochs, len(saved))  # which older checkpoints do not hold

    @property
    def seconds(self) -> float:
        """What the clock showed after the last complete epoch, about."""
        return (self.rows[-1]["wall_seconds"] if self.rows else 0.0) + self.unlogged_seconds

    def remove_all_but(self, indices: Sequence[int]) -> None:
        """Removes all other latents from the model and the optimizer."""
        if len(indices) < self.vae.latent_dim:
            self.vae.keep_latents(indices, self.optimizer)
        self.latent_ids = [self.latent_ids[i] for i in indices]
        self.flops_per_step = self.replay = None


def _resize_moments(moments: dict[str, Any], shape: torch.Size, indices: Sequence[int], n_added: int) -> None:
    """Adapts the optimizer's moments of a controller's parameter [n, ...] to the new latents; fresh ones are 0."""
    for name, value in moments.items():
        if isinstance(value, Tensor) and value.shape == shape:
            fresh = value.new_zeros((n_added, *shape[1:]))
            moments[name] = torch.cat([value[list(indices)], fresh])


def new_state(vae: VAE, controller: Controller, learning_rate: float) -> TrainingState:
    """The state of a training before its first epoch."""
    optimizer = make_optimizer([*vae.parameters(), *controller.parameters()], learning_rate)
    return TrainingState(vae, controller, optimizer, list(range(vae.latent_dim)), [])


def make_optimizer(parameters: Sequence[Tensor], learning_rate: float) -> torch.optim.Adam:
    """Creates Adam; on a GPU its step can be recorded, and the learning rate changed after the recording."""
    on_gpu = parameters[0].is_cuda
    rate = torch.tensor(learning_rate, device=parameters[0].device) if on_gpu else learning_rate
    return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=on_gpu)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Loads the moments from a `state_dict`; keeps the learning rate's tensor, which a recorded step reads."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
