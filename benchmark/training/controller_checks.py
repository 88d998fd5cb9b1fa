"""Checks the results of a user's controller; each error names the controller and says what to do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from searchers.base import Controller, Decision

Shapes = Mapping[str, torch.Size]
_INSTEAD = "; state for each latent has to follow in latents_kept(): see searchers.base.resize"


def state_shapes(controller: Controller) -> Shapes:
    """The shapes of the controller's parameters and buffers, by name."""
    return {name: value.shape for name, value in controller.state_dict().items() if isinstance(value, Tensor)}


def checked_open_latents(controller: Controller, latent_dim: int) -> Tensor | None:
    """The controller's open latents, bool [latent_dim], or None. Raises ValueError if they have another shape."""
    is_open = controller.open_latents()
    if is_open is not None and is_open.shape != (latent_dim,):
        got = f"open_latents() of {_name(controller)} has shape {list(is_open.shape)}"
        raise ValueError(f"{got}; expected [{latent_dim}], a value for each latent")
    return is_open


def checked_prior_variance(controller: Controller, latent_dim: int) -> Tensor | None:
    """The variances of the controller's prior [latent_dim], or None.

    Raises ValueError if they have another shape or are not finite and above 0.
    """
    variance = controller.prior_variance()
    if variance is None:
        return None
    variance = variance.detach()
    if variance.shape != (latent_dim,) or not bool((variance.isfinite() & (variance > 0)).all()):
        got = f"prior_variance() of {_name(controller)} is {variance.tolist()}"
        raise ValueError(f"{got}; expected {latent_dim} variances above 0, one for each latent")
    return variance


def checked_traces(controller: Controller) -> dict[str, float]:
    """The controller's traces by column name, as floats, because a column of the store has one type.

    Raises TypeError if one is not a number.
    """
    traces = controller.traces()
    try:
        return {f"ctl_{name}": float(value) for name, value in traces.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"traces() of {_name(controller)} is {traces}; expected a number for each name") from error


def check_decision(controller: Controller, decision: Decision, open_latents: Tensor | None, shapes: Shapes) -> None:
    """Raises TypeError if the controller cannot follow its decision, or has changed the shapes of its state itself.

    shapes: of its state after the last change of latents; a resumed training starts with these.
    """
    changes = decision.keep is not None or decision.add
    if changes and open_latents is not None and type(controller).latents_kept is Controller.latents_kept:
        raise TypeError(f"{_name(controller)} changes the latents (Decision) and has open_latents(){_INSTEAD}")
    now = state_shapes(controller)
    changed = sorted(name for name in {*now, *shapes} if now.get(name) != shapes.get(name))
    if changed:
        got = f"{', '.join(changed)} of {_name(controller)} changed shape in training"
        raise TypeError(f"{got}; expected the shape that it had{_INSTEAD}")


@contextmanager
def explain_stale_state(controller: Controller, rows: Sequence[Mapping[str, Any]], latent_dim: int) -> Iterator[None]:
    """Explains an error within the block if the controller's state still has the number of latents at the start.

    rows: of the training so far; the first one tells the number of latents at the start. latent_dim: the number now.
    Only errors are explained, so other state of that length does no harm. Raises TypeError in place of the error.
    """
    start = len(rows[0]["latent_id"]) if rows else latent_dim
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        names = [name for name, shape in state_shapes(controller).items() if start in shape]
        if latent_dim == start or not names:
            raise
        got = f"{_name(controller)} has {', '.join(names)} for {start} latents and removed some: {error}"
        raise TypeError(got + _INSTEAD) from error


def _name(controller: Controller) -> str:
    return type(controller).__name__
