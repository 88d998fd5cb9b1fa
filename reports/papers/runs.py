"""Which of a store's runs a paper's figure or table is made from, and what it says of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.config.protocol import load_protocol
from reports.data.names import dataset_label

_PRINTED = {
    **{"mnist": "MNIST", "fashionmnist": "FashionMNIST", "eurosat": "EuroSAT", "sprites": "SPRITES"},
    **{"dsprites": "dSprites", "cars3d": "Cars3D", "shapes3d": "Shapes3D", "cifar100": "CIFAR-100"},
}
_TRAIN_IMAGES = re.compile(r"splits: ([\d,]+) train")  # in the line about the data, `benchmark.datasets.base.describe`


@dataclass(frozen=True)
class PaperTable:
    """A paper's table: the frame is what is written, units in the names of its columns."""

    rows: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """See `reports.drawing.base.FigureData`."""
        return self.rows


def printed_name(dataset: str) -> str:
    """A dataset as the papers print it; of `folder:PATH` the folder's own name."""
    return _PRINTED.get(dataset, dataset_label(dataset))


def n_searchers(searches: pd.DataFrame) -> int:
    """How many searchers have a search."""
    return int(searches["searcher"].nunique())


def of_one_condition(searches: pd.DataFrame, complete: Callable[[pd.DataFrame], int] = n_searchers) -> pd.DataFrame:
    """Returns the most complete set of searches that share all conditions: data, backbone, training and evaluation.

    Of equally complete sets it prefers the one with the largest budget, then one with Inception features, which the
    papers use. A searcher and seed that ran on several devices counts once. `searches` is not empty.
    """

    def rank(of_condition: tuple[Hashable, pd.DataFrame]) -> tuple[int, float, bool, Any]:
        condition, alike = of_condition
        inception = bool((alike["test_fid_features"] == "inception").any())
        epochs = float(alike["epochs"].max()) * share_of_epoch(alike.iloc[0])
        return complete(alike), epochs, inception, condition

    conditions = [searches["protocol_hash"].fillna(""), searches["epochs"].fillna(0)]  # old runs may have no hash
    _, best = max(searches.groupby(conditions), key=rank)
    return best.sort_values(["seed", "search_id"]).drop_duplicates(["searcher", "seed"])


def of_one_seed(searches: pd.DataFrame) -> pd.DataFrame:
    """Returns the searches of `of_one_condition` with the seed that most searchers have; the lowest of several.

    This is the rule for every figure that shows single trainings.
    """
    alike = of_one_condition(searches)
    counts = alike.groupby("seed")["searcher"].nunique()  # by rising seed; idxmax takes the first
    return alike[alike["seed"] == counts.idxmax()]


def share_of_epoch(search: pd.Series) -> float:
    """The part of the training images that an epoch of the search went through; 1 where its row does not say."""
    sizes = _TRAIN_IMAGES.search(str(search.get("data")))
    seen, n_epochs = (search.get(name) for name in ("images_seen", "n_epochs"))
    if sizes is None or pd.isna(seen) or pd.isna(n_epochs):
        return 1.0
    share = float(seen / n_epochs) / int(sizes[1].replace(",", ""))
    return 1.0 if is_full(share) else share  # a whole pass leaves out what does not fill a batch


def share_of_budget(search: pd.Series, images_seen: float = math.nan) -> float:
    """Divides a search's training budget by the one in its protocol's file.

    A budget in epochs counts shorter ones (`training.epoch_batches`) by their part of the images. One in batches is
    measured by the images seen or, where they are not given, by the epochs: NaN where the file does not say how many
    batches an epoch has.
    """
    paper = load_protocol(search["protocol"]).training
    if paper.batches is None:
        return float(search["epochs"] / paper.epochs) * share_of_epoch(search)
    if math.isnan(images_seen):
        return float(search["epochs"] * (paper.epoch_batches or math.nan) / paper.batches)
    return images_seen / (paper.batch_size * paper.batches)


def is_full(share: float) -> bool:
    """True for a full budget, and where the share is unknown (NaN). Budgets in batches are rounded to whole epochs."""
    return math.isnan(share) or abs(share - 1) < 0.02


def budget_note(share: float, of: str = "paper") -> str:
    """`budget: 10 % of the paper's`; empty where it is all of that."""
    return "" if is_full(share) else f"budget: {100 * share:.3g} % of the {of}'s"


def seeds_note(seeds: Sequence[int]) -> str:
    """`seed 3`, or `seeds 0, 1, 2`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(f'{seed:g}' for seed in seeds)}"
