"""Rows of a table that a known number of factors decide, real numbers or counts."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le

from benchmark.datasets.base import Dataset, Rescaled, split_dataset
from benchmark.datasets.generated.random_decoder import HIDDEN, octants
from benchmark.datasets.scaling import UNSCALED
from searchers.parts.ranges import NotNegative

SEED = 11
GAIN = 1.2  # of the first layer's inputs: above 1 the surface is curved
LOG_RATE, LOG_SPREAD = -1.5, 1.0  # of counts: the mean of the columns' log-means, and their standard deviation
DISPERSION = 2.0


def load(
    n_factors: Annotated[int, Ge(3), Le(HIDDEN)] = 6,
    n_columns: Annotated[int, Ge(4), Le(20_000)] = 40,
    n_rows: Annotated[int, Ge(100), Le(100_000)] = 5_000,
    noise: NotNegative = 0.3,
    kind: Literal["real", "counts"] = "real",
) -> Dataset:
    """Generates rows [N, n_columns] by a fixed random decoder n_factors-64-n_columns (tanh, then linear).

    real: the decoder's outputs, which have about variance 1, and normal noise of this standard deviation; standardised.
    counts: negative binomial ones of dispersion 2 whose log-means are the outputs and a level of each column, as those
    of genes in cells; most are 0. The label is the octant of the first three factors (8 classes).
    """
    generator = torch.Generator().manual_seed(SEED)
    first = torch.randn(n_factors, HIDDEN, generator=generator).double() * GAIN / n_factors**0.5
    second = torch.randn(HIDDEN, n_columns, generator=generator).double() / HIDDEN**0.5
    level = LOG_RATE + LOG_SPREAD * torch.randn(n_columns, generator=generator)
    factors = torch.randn(n_rows, n_factors, generator=generator).double()
    outputs = (torch.tanh(factors @ first) @ second).float()
    names = [f"c{i}" for i in range(n_columns)]
    if kind == "real":
        rows = outputs + noise * torch.randn(outputs.shape, generator=generator)
    else:
        rate = (outputs + level).exp_()
        shape = torch.full_like(rate, DISPERSION)
        rate.mul_(torch._standard_gamma(shape, generator=generator).div_(DISPERSION))
        rows = torch.poisson(rate, generator=generator).to(torch.int16)
    scaling: Rescaled = UNSCALED if kind == "counts" else "standard"
    labels, truth = octants(factors), (n_factors, n_factors)
    return split_dataset("factors", rows, labels, 8, truth=truth, scaling=scaling, value_names=names)
