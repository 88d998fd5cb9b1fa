"""The contract that every data set keeps, as tests that run without pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from benchmark.config.protocol import N_PARTITIONS
from benchmark.datasets.base import Dataset, Split

SPLITS = ("train", "val", "test")


class DatasetContract:
    """Checks a data set's loader: subclass it as a test class and set `load`, as a staticmethod.

    options: of a protocol's `[dataset]` table; few rows make the tests fast.
    """

    load: ClassVar[Callable[..., Dataset]]
    options: ClassVar[Mapping[str, Any]] = {}
    _loaded: ClassVar[Dataset]

    @property
    def dataset(self) -> Dataset:
        """The data set, loaded once for all tests of a class."""
        if "_loaded" not in vars(type(self)):
            type(self)._loaded = self.load_again()
        return self._loaded

    def load_again(self) -> Dataset:
        """The data set, loaded anew."""
        return type(self).load(**self.options)

    def test_it_loads_a_data_set(self) -> None:
        assert isinstance(self.dataset, Dataset), (
            f"it returned {type(self.dataset).__name__}; expected what split_dataset or make_dataset return"
        )
        for name in SPLITS:
            split = getattr(self.dataset, name)
            assert len(split) >= 2, f"{name} has {len(split)} rows; expected at least 2"
            labels = split.labels[split.rows]
            assert 0 <= int(labels.min()) and int(labels.max()) < self.dataset.n_classes, (
                f"{name} has labels {int(labels.min())} to {int(labels.max())} and n_classes is "
                f"{self.dataset.n_classes}; expected 0 to n_classes - 1"
            )
        assert self.dataset.description.isprintable() and self.dataset.description

    def test_its_splits_share_no_row(self) -> None:
        for seed in range(N_PARTITIONS):
            own = self.dataset.for_seed(seed)
            for i, one in enumerate(SPLITS):
                for other in SPLITS[i + 1 :]:
                    shared = _shared(getattr(own, one), getattr(own, other))
                    assert not shared, f"{one} and {other} share {shared} rows in partition {own.partition}"

    def test_it_is_the_same_when_loaded_again(self) -> None:
        again = self.load_again()
        assert again.fingerprint == self.dataset.fingerprint, "its fingerprint is another one when loaded again"
        for name in SPLITS:
            one, two = (getattr(dataset, name) for dataset in (self.dataset, again))
            assert torch.equal(one.rows, two.rows), f"{name} has other rows when loaded again; draw from a fixed seed"
            assert torch.equal(one.images[one.rows], two.images[two.rows]), f"{name} has other values when loaded again"

    def test_it_leaves_the_global_random_generator_alone(self) -> None:
        before = torch.random.get_rng_state()
        self.load_again()
        assert torch.equal(before, torch.random.get_rng_state()), "it drew from torch's global generator"

    def test_its_partitions_draw_the_same_rows_anew(self) -> None:
        partitions = [self.dataset.for_seed(seed) for seed in range(N_PARTITIONS)]
        drawn = self.dataset.drawn
        for own in partitions:
            for name in SPLITS:
                one, loaded = getattr(own, name), getattr(self.dataset, name)
                assert len(one) == len(loaded), f"{name} has {len(one)} rows in a partition and {len(loaded)} as loaded"
                assert name in drawn or torch.equal(one.rows, loaded.rows), f"{name} is official and differs by seed"
            rows = [
                torch.cat([getattr(one, name).rows for name in drawn or SPLITS]).sort().values
                for one in (own, self.dataset)
            ]
            assert torch.equal(*rows), "a partition has other rows in all than the data set as it was loaded"
        for name in drawn:
            different = {tuple(getattr(own, name).rows.tolist()) for own in partitions}
            assert len(different) == N_PARTITIONS, f"{name} has {len(different)} draws; expected {N_PARTITIONS}"

    def test_its_known_answer_is_a_range(self) -> None:
        low, high = self.dataset.truth or (0, 0)
        assert 0 <= low <= high, f"truth is {self.dataset.truth}; expected (smallest, largest) right latent size"


def _shared(one: Split, other: Split) -> int:
    """How many rows two splits share; of other tensors none."""
    if one.images is not other.images:
        return 0
    return len({*one.rows.tolist()} & {*other.rows.tolist()})
