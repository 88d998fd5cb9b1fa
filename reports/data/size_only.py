"""The second score of a method: that of the sizes it found, by plain trainings in place of its own models."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from benchmark.store.columns import NATIVE
from reports.data.groups import Group
from reports.data.names import SIZE_ONLY
from reports.data.quantities import METRICS, SHOWN_COSTS

_OF_THE_SEARCH = [*(cost.column for cost in SHOWN_COSTS), "late_gain", "late_gain_error", "n_diverged"]


def with_size_only(group: Group) -> Group:
    """The group with a search more for each that has a plain training of its size, under the name `ald, size only`.

    Of methods all of whose own models are those plain trainings it has none: both scores are the same. Its metrics are
    those of the plain training; it has no costs. A search that failed has found no size, so that fails too.
    """
    searches = group.searches
    trained = searches.loc[~searches["size_only"].isin(["", NATIVE]), "searcher"]
    ended = (searches["size_only"] != "") | (searches["status"] == "failed")
    rows = searches[searches["searcher"].isin(trained) & ended]
    if rows.empty:
        return group
    tested = {metric.tested: rows[metric.size_only] for metric in METRICS}
    rows = rows.assign(
        **tested,
        **dict.fromkeys(_OF_THE_SEARCH, math.nan),
        test_active_units=rows["size_only_active_units"],
        searcher=rows["searcher"] + SIZE_ONLY,
        status=rows["status"].where(rows["size_only"] != "failed", "failed"),
    )
    return replace(group, searches=pd.concat([searches, rows], ignore_index=True))
