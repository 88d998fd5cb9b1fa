"""What a user's controller gives the bench, checked: each error names the controller and says what to do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from searchers.base import Controller, Decision

Shapes = Mapping[str, torch.Size]
_INSTEAD = "; state for each latent has to follow in latents_kept(): see searchers.base.resize"


def shapes_of(controller: Controller) -> Shapes:
    """The shape of each of the controller's parameters and buffers."""
    return {name: value.shape for name, value in controller.state_dict().items() if isinstance(value, Tensor)}


def open_of(controller: Controller, latent_dim: int) -> Tensor | None:
    """Its open latents, bool [latent_dim], or None. Raises ValueError where they are of another number of latents."""
    found = controller.open_latents()
    if found is not None and found.shape != (latent_dim,):
        got = f"open_latents() of {_name(controller)} has shape {list(found.shape)}"
        raise ValueError(f"{got}; expected [{latent_dim}], a value for each latent")
    return found


def prior_of(controller: Controller, latent_dim: int) -> Tensor | None:
    """Its prior's variances [latent_dim], or None. Raises ValueError where they are not of that shape and above 0."""
    found = controller.prior_variance()
    if found is None:
        return None
    found = found.detach()
    if found.shape != (latent_dim,) or not bool((found.isfinite() & (found > 0)).all()):
        got = f"prior_variance() of {_name(controller)} is {found.tolist()}"
        raise ValueError(f"{got}; expected {latent_dim} variances above 0, one for each latent")
    return found


def traces_of(controller: Controller) -> dict[str, float]:
    """Its traces by their columns' names. Raises TypeError where one is no number.

    All are floats: in the table of all searches a column has one type.
    """
    found = controller.traces()
    try:
        return {f"ctl_{name}": float(value) for name, value in found.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"traces() of {_name(controller)} is {found}; expected a number for each name") from error


def check_decision(controller: Controller, decision: Decision, open_latents: Tensor | None, shapes: Shapes) -> None:
    """Raises TypeError where the decision, or what the controller did to its state, cannot be carried on.

    shapes: of its state after the last change of latents; a resumed training starts with these.
    """
    changes = decision.keep is not None or decision.add
    if changes and open_latents is not None and type(controller).latents_kept is Controller.latents_kept:
        raise TypeError(f"{_name(controller)} changes the latents (Decision) and has open_latents(){_INSTEAD}")
    found = shapes_of(controller)
    changed = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
    if changed:
        got = f"{', '.join(changed)} of {_name(controller)} changed shape in training"
        raise TypeError(f"{got}; expected the shape that it had{_INSTEAD}")


@contextmanager
def explained(controller: Controller, rows: Sequence[Mapping[str, Any]], latent_dim: int) -> Iterator[None]:
    """Names the cause of an error within it, where the controller's state fits the latents of the training's start.

    rows: the training's so far; the first says how many latents it started with. latent_dim: how many it has now.
    State of that length that is used in another way does no harm: only what has failed is explained. Raises TypeError.
    """
    start = len(rows[0]["latent_id"]) if rows else latent_dim
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        names = [name for name, shape in shapes_of(controller).items() if start in shape]
        if latent_dim == start or not names:
            raise
        got = f"{_name(controller)} has {', '.join(names)} for {start} latents and removed some: {error}"
        raise TypeError(got + _INSTEAD) from error


def _name(controller: Controller) -> str:
    return type(controller).__name__
