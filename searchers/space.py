"""The latent sizes that a protocol lets every method choose from. Without torch, since protocols are read with it."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from searchers.parts.ranges import Size


@dataclass(frozen=True)
class SearchSpace:
    """The latent sizes that a protocol lets every method choose from: low <= size <= high.

    sizes: the ones that grid search trains, ascending. Raises ValueError where they do not fit together.
    """

    low: Size = 2
    high: Size = 64
    sizes: Annotated[tuple[Size, ...], MinLen(1)] = (4, 8, 16, 32, 64)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; expected low <= high")
        if list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes is {list(self.sizes)}; expected different sizes in ascending order")
        if self.sizes[0] < self.low or self.sizes[-1] > self.high:
            raise ValueError(
                f"sizes is {list(self.sizes)}; expected sizes from {self.low} to {self.high} (low and high)"
            )

    def clip(self, size: int) -> int:
        """The size of the space that is closest to `size`."""
        return min(max(size, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}; grid {', '.join(map(str, self.sizes))}"
