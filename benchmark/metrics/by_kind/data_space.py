"""The features of rows of a table: the scaled values themselves, or their first principal components."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.datasets.base import Dataset
from benchmark.errors import InputError
from searchers.parts.likelihoods import LIKELIHOODS

MOST_VALUES = 64  # of a row; of more, as many principal components
FIT_ROWS = 2_000  # that the components are fitted to


@dataclass(frozen=True)
class DataFeatures:
    """A row's values in the units that the network sees, float32 [B, D]; counts as log(1 + x).

    axes: [D, 64], the principal axes of rows of the training split in partition 0; None where a row has no more values.
    """

    are_counts: bool
    axes: Tensor | None
    name: str = "data"

    def __call__(self, rows: Tensor) -> Tensor:
        values = torch.log1p(rows) if self.are_counts else rows
        return values if self.axes is None else values @ self.axes


def load(dataset: Dataset, device: torch.device) -> DataFeatures:
    """Makes the features of a table. Raises InputError for images."""
    if dataset.is_images:
        raise InputError(f"features data got the images of {dataset.name}; expected rows of a table: choose auto")
    are_counts = LIKELIHOODS[dataset.likelihood].is_count
    if dataset.image_shape[0] <= MOST_VALUES:
        return DataFeatures(are_counts, None)
    few = dataset.train.sample(FIT_ROWS)
    values = DataFeatures(are_counts, None)(few.inputs(torch.arange(len(few)))).double()
    values -= values.mean(0)
    wide = values.shape[1] > len(values)
    vectors = torch.linalg.eigh(values @ values.T if wide else values.T @ values).eigenvectors
    first = vectors[:, -MOST_VALUES:]
    axes = torch.nn.functional.normalize(values.T @ first, dim=0) if wide else first
    return DataFeatures(are_counts, axes.float().to(device))
