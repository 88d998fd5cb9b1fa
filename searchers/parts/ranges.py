"""The types of settings with a range. The bench checks them where settings are read from a table."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

Size = Annotated[int, Ge(2)]  # of a latent space
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Gt(0), Le(1)]
