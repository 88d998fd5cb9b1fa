"""From stored values to what a network sees, and back: the one place that knows of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

ROUNDING = 1e-14  # of a mean in float64
WIDE = (torch.int32, torch.int64, torch.float64)  # whose values float32 does not hold


@dataclass(frozen=True, eq=False)
class Scaling:
    """x = (stored - shift) / scale.

    shift, scale: numbers, or float64 tensors that go with a sample's shape. is_fitted: whether they come from the
    training split, and another partition has others.
    """

    shift: float | Tensor = 0.0
    scale: float | Tensor = 1.0
    is_fitted: bool = False

    def __call__(self, stored: Tensor) -> Tensor:
        """What a network sees of stored values [B, *shape] of any type: float32 on the same device."""
        x = stored.double() if stored.dtype in WIDE else stored.float()
        if isinstance(self.shift, Tensor) or self.shift:
            x = x - self.shift
        if isinstance(self.scale, Tensor) or self.scale != 1:
            x = x / self.scale
        return x.float()

    def exact(self, stored: Tensor, columns: slice = slice(None)) -> Tensor:
        """The same in float64, flat, of these columns of flattened stored values [B, columns]."""
        shift, scale = (p.flatten()[columns] if isinstance(p, Tensor) else p for p in (self.shift, self.scale))
        return (stored.double() - shift) / scale

    def undo(self, x: Tensor) -> Tensor:
        """Values in the data's own units, float64, of what a network gives [B, *shape]."""
        return x.double() * self.scale + self.shift

    def to(self, device: torch.device) -> Scaling:
        """The same for values on `device`."""
        if not isinstance(self.shift, Tensor) and not isinstance(self.scale, Tensor):
            return self
        moved = [part.to(device) if isinstance(part, Tensor) else part for part in (self.shift, self.scale)]
        return replace(self, shift=moved[0], scale=moved[1])

    def table(self) -> dict[str, float | Tensor | bool]:
        """The fields, for a file."""
        moved = self.to(torch.device("cpu"))
        return {"shift": moved.shift, "scale": moved.scale, "is_fitted": moved.is_fitted}


UNSCALED = Scaling()
BYTES = Scaling(scale=255.0)  # of images


def standardised(batches: Iterable[Tensor], others: Iterable[Tensor] = ()) -> Scaling:
    """Makes every value of mean 0 and standard deviation 1 over the samples of the batches, [B, *shape] each.

    others: more samples. A value that is constant over the batches has their mean, and the standard deviation over
    these, which are read only then; one that is constant there too is only shifted.
    """
    mean, sd = _moments(batches)
    if not sd.all():
        sd = torch.where(sd > 0, sd, _moments(others)[1])
    return Scaling(mean, torch.where(sd > 0, sd, 1.0), is_fitted=True)


def _moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation over the samples, [*shape] each; 0 for a constant and without samples.

    In float64, by Chan's update of two sums, on the differences to the first sample, so that values far from 0 keep
    their digits.
    """
    count, origin, mean, squares = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())
    for batch in batches:
        origin = origin if count else batch[0].double()
        values = batch.double() - origin
        offset, count = values.mean(0) - mean, count + len(values)
        squares = squares + (values - values.mean(0)).square().sum(0)
        squares = squares + offset.square() * ((count - len(values)) * len(values) / count)
        mean = mean + offset * (len(values) / count)
    sd = (squares / max(1, count)).sqrt()
    return origin + mean, torch.where(sd > ROUNDING * mean.abs(), sd, 0.0)


def stacked(scalings: Sequence[Scaling]) -> Scaling:
    """One scaling for stored values [M, B, *shape] of M members."""
    first = scalings[0]
    if not any(isinstance(part, Tensor) for part in (first.shift, first.scale)):
        return first
    shift, scale = (
        torch.stack([torch.as_tensor(part) for part in parts])[:, None]
        for parts in zip(*((one.shift, one.scale) for one in scalings), strict=True)
    )
    return Scaling(shift, scale)
