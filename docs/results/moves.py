"""How far an answer moves with a method's main threshold, the size it starts from and the number of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmark.config.tables import parse_toml
from benchmark.store import ResultsStore
from reports.data.names import in_order

THRESHOLD, START, IMAGES, GATES = "threshold", "start size", "number of images", "gates"
# Where the setting that a variant moves is not a number by itself.
DEFAULTS = {"twonn": 1293.0}  # training images of digits, all of which it looks at
FULL_IMAGES, FULL_SPACE, FULL_MARGIN = 7000, 32, 0.05  # of manifold and digits


def moved(sensitivity: ResultsStore, study: ResultsStore) -> pd.DataFrame:
    """One row a search: `what` (see above), `searcher`, `setting`, `value`, `seed`, `size`, `in_use`, `elbo`, `own`.

    own: whether the value is what the method has by itself; those are the study's searches. Of each method the seeds
    that all of its values have, so that a curve is of the same seeds everywhere.
    """
    kept = {**study.kept(), **sensitivity.kept()}
    rows = _finished(sensitivity, study)
    rows = rows[rows["dataset"].isin(["digits", "manifold"])]
    hashes = rows["protocol_hash"].unique()
    protocols = {one: parse_toml(kept[f"protocol-{one}.toml"], "a protocol") for one in hashes}
    found = []
    for row in rows.to_dict("records"):
        values = {"seed": row["seed"], "size": row["latent_dim"], "in_use": row["test_active_units"]}
        values |= {"elbo": row["test_elbo"], "own": row["own"]}
        found += [{**place, **values} for place in _places(row, protocols[row["protocol_hash"]])]
    frame = pd.DataFrame(found).drop_duplicates(["what", "searcher", "setting", "value", "seed"])
    of_seed = frame.groupby(["what", "searcher", "seed"])["size"].transform("size")
    return frame[of_seed == of_seed.groupby([frame["what"], frame["searcher"]]).transform("max")]


def _finished(sensitivity: ResultsStore, study: ResultsStore) -> pd.DataFrame:
    """The finished searches of both; own: of the study."""
    rows = pd.concat([study.searches().assign(own=True), sensitivity.searches().assign(own=False)], ignore_index=True)
    return rows[rows["status"] == "done"]


def _places(row: dict[Any, Any], protocol: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """In which curves a search is a point."""
    searcher, _, variant = row["searcher"].partition("@")
    margin, high = protocol["choice"]["margin"], protocol["space"]["high"]
    of = {"searcher": searcher}
    if row["dataset"] == "manifold":
        if protocol["dataset"]["latent_dim"] == 5 and not variant:
            yield {
                **of,
                "what": IMAGES,
                "setting": "n_images",
                "value": protocol["dataset"].get("n_images", FULL_IMAGES),
            }
        return
    if variant:
        if found := re.fullmatch(r"start-(\d+)", variant):
            yield {**of, "what": START, "setting": "start_latent_dim", "value": float(found[1])}
        elif found := re.fullmatch(r"(\w+)-([0-9.e-]+)", variant):
            yield {**of, "what": THRESHOLD, "setting": found[1], "value": float(found[2])}
        else:
            yield {**of, "what": GATES, "setting": variant, "value": np.nan}
        return
    if searcher in ("grid", "nested") and high == FULL_SPACE:
        yield {**of, "what": THRESHOLD, "setting": "margin", "value": margin}
    if margin != FULL_MARGIN:
        return
    if searcher == "nested" or (high == FULL_SPACE and f"{row.get('setting_start_latent_dim')}" == "None"):
        yield {**of, "what": START, "setting": "start_latent_dim", "value": float(high)}
    if high == FULL_SPACE and (setting := MAIN.get(searcher)):
        value = DEFAULTS.get(searcher, row[f"setting_{setting}"])
        yield {**of, "what": THRESHOLD, "setting": setting, "value": float(value)}


# Each method's main threshold, where it has a value by itself.
MAIN = {
    **{"ald": "window", "sparsity": "max_mean_variance", "ard": "share", "sigma": "most_variance"},
    **{"fondue": "threshold", "irmae": "least_fall", "least-volume": "weight", "rrae": "stagnation"},
    **{"twonn": "n_images", "mle": "n_neighbours", "gride": "nearer"},
}


def thresholds(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The methods whose main threshold was moved, in the fixed order, and its name."""
    settings = frame[frame["what"] == THRESHOLD].groupby("searcher")["setting"].first()
    return [(name, settings[name]) for name in in_order(settings.index)]


def seeds(frame: pd.DataFrame, what: str, searcher: str) -> int:
    """How many seeds a method's curve has."""
    return int(_curve(frame, what, searcher)["seed"].nunique())


def values(frame: pd.DataFrame, what: str, searcher: str) -> pd.Series[float]:
    """The values at which a method's curve has points."""
    return _curve(frame, what, searcher)["value"]


def gates(frame: pd.DataFrame) -> pd.DataFrame:
    """GECO's estimators: smallest and largest `low`, `high` size and mean test `elbo` over the seeds, by `setting`."""
    rows = frame[frame["what"] == GATES].groupby("setting")
    return pd.DataFrame({"low": rows["size"].min(), "high": rows["size"].max(), "elbo": rows["elbo"].mean()})


def budgets(sensitivity: ResultsStore, study: ResultsStore) -> pd.DataFrame:
    """Methods on protocols on which they were also run for longer, a row a protocol, method and number of epochs.

    Columns low, high and n, of the sizes over the seeds, true_low and true_high, the right ones, and behind, nats by
    which the test ELBO of its own model is below that of a plain training of the same size and budget, mean over seeds.
    """
    rows = _finished(sensitivity, study)
    rows = rows[~rows["searcher"].str.contains("@")]
    rows = rows[rows.groupby(["protocol", "searcher"])["epochs"].transform("nunique") > 1]
    rows = rows.assign(behind=rows["size_only_elbo"] - rows["test_elbo"])
    of = rows.groupby(["protocol", "searcher", "epochs"])
    sizes, right = of["latent_dim"], of[["true_low", "true_high"]].first()
    return right.assign(low=sizes.min(), high=sizes.max(), n=sizes.size(), behind=of["behind"].mean()).reset_index()


def fold(frame: pd.DataFrame, what: str, searcher: str) -> float:
    """How many times larger the largest of the sizes (medians over seeds) is than the smallest, over the values.

    NaN where there are fewer than two values.
    """
    medians = _curve(frame, what, searcher).groupby("value")["size"].median()
    return float(medians.max() / medians.min()) if len(medians) > 1 else float("nan")


def _curve(frame: pd.DataFrame, what: str, searcher: str) -> pd.DataFrame:
    """The searches of one method's curve."""
    return frame[(frame["what"] == what) & (frame["searcher"] == searcher)]
