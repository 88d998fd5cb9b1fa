"""The chosen sizes against those that are right, where a dataset knows its answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from benchmark.store.doubts import doubts
from reports.data.groups import Group
from reports.data.names import parts

COLUMNS = (
    *("group", "searcher", "true_low", "true_high", "n_done", "n_failed", "n_running", "n_within", "n_unsettled"),
    *("n_doubted", "latent_dim_median", "latent_dim_min", "latent_dim_max", "error_mean", "start_drift"),
)


def truth(groups: Sequence[Group]) -> pd.DataFrame:
    """One row per group whose answer is known and searcher; empty where none is known.

    true_low, true_high: the sizes that are right; 0 is a model without latents, which no search can choose. n_within:
    finished searches that chose a right size, n_unsettled: whose size was still changing at the end, n_doubted: whose
    row has any doubt (`benchmark.store.doubts`). error_mean: the mean over finished searches of the chosen size less
    the nearest right one, 0 for those within. start_drift: how much larger the size is that the searcher chooses from
    its largest start than from its smallest, mean over seeds; blank unless its variants start differently.
    """
    return pd.DataFrame(list(_rows(groups)), columns=COLUMNS)


def _rows(groups: Sequence[Group]) -> Iterator[dict[str, object]]:
    for group in groups:
        low, high = (group.searches[column].max() for column in ("true_low", "true_high"))
        for searcher in group.searchers if math.isfinite(low) and math.isfinite(high) else ():
            done = group.of(searcher, "done")
            errors = signed_errors(done["latent_dim"], low, high)
            sizes = done["latent_dim"]
            yield {
                **{"group": group.title, "searcher": searcher, "true_low": low, "true_high": high},
                **{f"n_{status}": len(group.of(searcher, status)) for status in ("done", "failed", "running")},
                **{"n_within": int((errors == 0).sum()), "n_unsettled": int((done["settled"] == 0).sum())},
                **{"n_doubted": sum(bool(doubts(search)) for search in done.to_dict("records"))},
                **{f"latent_dim_{name}": getattr(sizes, name)() for name in ("median", "min", "max")},
                **{"error_mean": errors.mean(), "start_drift": _start_drift(group, searcher)},
            }


def signed_errors(sizes: pd.Series[float], low: float, high: float) -> pd.Series[float]:
    """Each size less the nearest of low to high: 0 inside, above 0 where the size is too large."""
    return sizes - sizes.clip(low, high)


def _start_drift(group: Group, searcher: str) -> float:
    """Of a searcher with the variants that differ in their start alone."""
    own = parts(searcher)
    alike = [name for name in group.searchers if parts(name)._replace(variant="") == own._replace(variant="")]
    done = group.done[group.done["searcher"].isin(alike)]
    others = [name for name in done if str(name).startswith("setting_") and name != "setting_start_latent_dim"]
    settings = pd.Series([tuple(map(str, row)) for row in done[others].itertuples(index=False)], index=done.index)
    done = done[settings.isin(settings[done["searcher"] == searcher])]
    done = done.reindex(columns=["seed", "latent_dim", "space_high", "setting_start_latent_dim"])
    starts = pd.to_numeric(done["setting_start_latent_dim"], errors="coerce").fillna(done["space_high"].astype(float))
    if starts.nunique() < 2:
        return math.nan
    first, last = (done[starts == end].groupby("seed")["latent_dim"].mean() for end in (starts.min(), starts.max()))
    return float((last - first).mean())  # NaN for a seed that one of them lacks
