"""The chosen models whose rows are shown: of each searcher that of its first finished seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.data.groups import Group
from reports.data.names import label

MOST_MODELS = 6  # in a figure


@dataclass(frozen=True)
class RowsData:
    """Marks of rows of the test split; `x_data` says what the columns of the frame are."""

    title: str
    marks: pd.DataFrame
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The marks."""
        return self.marks


def models(group: Group) -> Iterator[tuple[dict[str, str], dict[str, NDArray[Any]]]]:
    """Each searcher's first finished search that kept rows: its keys, and what it kept (`ResultsStore.rows`)."""
    for searcher in group.searchers[:MOST_MODELS]:
        for _, search in group.of(searcher, "done").iterrows():
            kept = group.table_rows(search["search_id"])
            if kept is not None:
                size = "unknown" if np.isnan(search["latent_dim"]) else f"{search['latent_dim']:.0f}"
                heading = f"{label(searcher)}, size {size}, seed {search['seed']:.0f}"
                yield {"searcher": searcher, "search_id": search["search_id"], "model": heading}, kept
                break
