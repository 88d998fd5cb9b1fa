"""The frames of one or several results folders, as a claim reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from benchmark.text import printable

_TEXTS: tuple[str, ...] = (
    "search_id",
    "dataset",
    "backbone",
    "searcher",
    "status",
    "protocol",
    "protocol_hash",
    "data_fingerprint",
)
_TEXTS += ("test_fid_features", "execution", "rule", "env_latentbench", "env_git_commit")
_NUMBERS: tuple[str, ...] = ("seed", "scale", "epochs", "latent_dim", "train_flops", "wall_seconds", "no_latents_nll")
_NUMBERS += ("test_elbo", "test_iwae", "test_draws")


class Store(Protocol):
    """What a claim reads of `benchmark.store.ResultsStore`."""

    def searches(self) -> pd.DataFrame:
        """One row per search, failed and running ones included."""

    def trials(self) -> pd.DataFrame:
        """One row per training."""

    def curves(self) -> pd.DataFrame:
        """One row per assessment of a model, those on the test split among them."""


@dataclass(frozen=True)
class Frames:
    """searches: each once, with a dict `settings`. trials: finished ones. tests: assessments on the test split."""

    searches: pd.DataFrame
    trials: pd.DataFrame
    tests: pd.DataFrame


def read_frames(stores: Sequence[Store]) -> Frames:
    """Reads results folders; a search that several hold is read from the first."""
    searches, trials, tests = [], [], []
    taken: set[str] = set()
    for store in stores:
        whole = store.searches()
        frame = _typed(whole, _TEXTS, _NUMBERS).assign(
            settings=pd.Series(_settings(whole), index=whole.index, dtype=object)
        )
        frame = frame[~frame["search_id"].isin(taken)]
        searches.append(frame)
        trial = _typed(store.trials(), ("search_id", "status"), ("trial", "start_latent_dim", "train_flops"))
        test = _typed(store.curves(), ("search_id", "split"), ("trial", "size", "elbo", "iwae"))
        trials.append(trial[trial["search_id"].isin(frame["search_id"]) & (trial["status"] == "done")])
        tests.append(test[test["search_id"].isin(frame["search_id"]) & (test["split"] == "test")])
        taken |= set(frame["search_id"])
    return Frames(*(pd.concat(frames, ignore_index=True) for frames in (searches, trials, tests)))


def _settings(searches: pd.DataFrame) -> list[dict[str, str]]:
    columns = [name for name in searches.columns if name.startswith("setting_")]
    return [
        {name.removeprefix("setting_"): str(row[name]) for name in columns if not pd.isna(row[name])}
        for row in searches[columns].to_dict("records")
    ]


def _typed(frame: pd.DataFrame, texts: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """These columns alone: printable text, empty where unknown, and floats, NaN where unknown or infinite."""
    frame = frame.reindex(columns=[*texts, *numbers])
    text = {name: [("" if pd.isna(value) else printable(value)) for value in frame[name]] for name in texts}
    number = {
        name: pd.to_numeric(frame[name], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
        for name in numbers
    }
    index = frame.index
    columns = {name: pd.Series(values, index=index, dtype=object) for name, values in text.items()}
    return pd.DataFrame({**columns, **number}, index=index)
