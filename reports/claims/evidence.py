"""What a claim is judged by: each block's searches, and their losses, sizes and costs against the reference's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.analysis.losses import FAILED

BySeed = dict[int, float]
Control = Literal["smallest", "half"]
CONTROLS: dict[Control, str] = {"smallest": "the smallest size", "half": "half the size that the grid chose"}


@dataclass(frozen=True)
class Search:
    """One registered search. loss: of the chosen model on the test split, nats an image; NaN where the search failed.

    flops: of all its trainings. seconds: from its start to its model, evaluations included.
    """

    loss: float
    size: float
    flops: float
    seconds: float

    @property
    def failed(self) -> bool:
        """It ended without a model, or with one that has no finite loss."""
        return not math.isfinite(self.loss)


@dataclass(frozen=True)
class BlockEvidence:
    """The registered searches of one block, by seed.

    gap: nats an image, from the results unless gap_registered. trained: the test loss of each of the reference's
    trainings, by seed and size. full_flops: of one full training of the largest size.
    """

    name: str
    dataset: str
    protocol_hash: str
    gap: float
    gap_registered: bool
    method: Mapping[int, Search]
    reference: Mapping[int, Search]
    trained: Mapping[int, Mapping[int, float]]
    full_flops: float

    def reference_loss(self, seed: int) -> float:
        """The reference's loss; where its search failed, the mean over its other seeds, so that nobody gains by it."""
        found = self.reference[seed].loss
        others = [search.loss for search in self.reference.values() if not search.failed]
        return float(np.mean(others)) if self.reference[seed].failed else found

    def losses(self) -> BySeed:
        """The method's loss less the reference's in parts of the gap; `FAILED` where it has no model."""
        return {
            seed: FAILED if search.failed else (search.loss - self.reference_loss(seed)) / self.gap
            for seed, search in self.method.items()
        }

    def losses_without_failures(self) -> BySeed:
        """`losses` of the seeds in which both searches have a model."""
        return {seed: loss for seed, loss in self.losses().items() if seed in self._both()}

    def size_ratios(self) -> BySeed:
        """log2(method's size / reference's size) of the seeds in which both searches have a model."""
        return {seed: math.log2(self.method[seed].size / self.reference[seed].size) for seed in self._both()}

    def control_losses(self, control: Control) -> BySeed:
        """The loss of a size that is known to be too small, in parts of the gap, by the reference's own trainings.

        half: the trained size nearest to half of the chosen one on a log scale, below it; none below the smallest.
        """
        found = {}
        for seed, search in self.reference.items():
            sizes = [] if search.failed else self.trained.get(seed, {})
            below = [size for size in sizes if control == "smallest" or size < search.size]
            if below:
                half = math.log2(search.size / 2)
                size = min(below) if control == "smallest" else min(below, key=lambda n: abs(math.log2(n) - half))
                found[seed] = (self.trained[seed][size] - search.loss) / self.gap
        return found

    def cost(self) -> float:
        """The largest of the method's searches, in full trainings of the largest size (FLOPs); NaN if unknown."""
        flops = [search.flops for search in self.method.values()]
        return float(np.max(flops)) / self.full_flops  # NaN where one is

    def _both(self) -> list[int]:
        return [seed for seed in self.method if not (self.method[seed].failed or self.reference[seed].failed)]


@dataclass(frozen=True)
class Evidence:
    """All blocks of a claim.

    decides_by_itself: the method does not choose among trainings by the registered rule. draws: of z an image, behind
    the losses. n_ignored: searches in the results that are not registered. versions: that made the registered ones.
    """

    blocks: tuple[BlockEvidence, ...]
    decides_by_itself: bool
    draws: tuple[int, ...]
    n_ignored: int
    versions: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets, each once, in the order of the claim."""
        return tuple(dict.fromkeys(block.dataset for block in self.blocks))

    def units(self, values: Callable[[BlockEvidence], BySeed]) -> dict[str, float]:
        """The sample of the tests: data sets' means (seeds of a block, then blocks), or seeds where there is one set.

        What has no value is left out.
        """
        if len(self.datasets) > 1:
            of_block = {block.name: values(block) for block in self.blocks}
            means = {
                dataset: [
                    _mean(of_block[block.name].values())
                    for block in self.blocks
                    if block.dataset == dataset and of_block[block.name]
                ]
                for dataset in self.datasets
            }
            return {dataset: _mean(found) for dataset, found in means.items() if found}
        found = [values(block) for block in self.blocks]
        seeds = sorted({seed for of_seeds in found for seed in of_seeds})
        return {f"seed {seed}": _mean([of[seed] for of in found if seed in of]) for seed in seeds}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def measured_gap(
    reference: Mapping[int, Search], trained: Mapping[int, Mapping[int, float]], no_latents: float
) -> float:
    """What latents are worth over none, nats an image: to the size with the lowest mean over the seeds.

    Sizes that lack a seed in which the reference has a model do not count.
    """
    seeds = [seed for seed, search in reference.items() if not search.failed]
    sizes = set.intersection(*(set(trained.get(seed, {})) for seed in seeds)) if seeds else set()
    means = [np.mean([trained[seed][size] for seed in seeds]) for size in sizes]
    return no_latents - float(min(means)) if means else math.nan
