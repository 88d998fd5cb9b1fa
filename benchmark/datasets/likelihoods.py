"""Which likelihood fits a dataset's values, and how they are scaled for it."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from benchmark.config.protocol import LikelihoodName
from benchmark.datasets.base import STANDARDISED, Dataset, stored_parts
from benchmark.datasets.scaling import UNSCALED
from benchmark.errors import InputError
from searchers.parts.likelihoods import LIKELIHOODS, Bernoulli


def resolved_likelihood(name: LikelihoodName, dataset: Dataset) -> LikelihoodName:
    """Resolves `auto`: bernoulli for images and for tables of 0 and 1 alone, gaussian-optimal for other tables.

    Raises InputError where the values do not fit a likelihood that is named: it reads them all.
    """
    if name == "auto":
        is_binary = dataset.is_images or all(((part == 0) | (part == 1)).all() for part in _stored(dataset))
        return "bernoulli" if is_binary else "gaussian-optimal"
    own = for_likelihood(dataset, name)
    if LIKELIHOODS[name].is_count:
        expected, is_right = "whole numbers from 0, unscaled", _are_counts
    elif name == Bernoulli.name and not dataset.train.is_of_bytes:
        expected, is_right = "values from 0 to 1", _are_shares
    else:
        return name
    for part in _stored(own):
        x = own.train.scaling(part)
        if not is_right(x):
            least, most = float(x.min()), float(x.max())
            got = f"likelihood {name} got values from {least:.4g} to {most:.4g} in dataset {dataset.name}"
            raise InputError(f"{got}; expected {expected}: choose gaussian-optimal")
    return name


def for_likelihood(dataset: Dataset, name: str) -> Dataset:
    """Returns the dataset as this likelihood takes it: counts as they are stored, and rows for bernoulli too."""
    is_plain = LIKELIHOODS[name].is_count or (name == Bernoulli.name and dataset.train.scaling.is_fitted)
    dataset = replace(dataset, likelihood=name)
    if not is_plain:
        return dataset
    description = dataset.description.replace(STANDARDISED, "not scaled")
    return replace(dataset.with_scaling(UNSCALED), description=description)


def _are_counts(x: Tensor) -> bool:
    return bool(((x >= 0) & (x == x.round())).all())


def _are_shares(x: Tensor) -> bool:
    return bool(((x >= 0) & (x <= 1)).all())


def _stored(dataset: Dataset) -> Iterator[Tensor]:
    """The stored values of all splits, in parts."""
    return (part for split in (dataset.train, dataset.val, dataset.test) for part in stored_parts(split))
