"""A results store as an Optuna storage: a study for each search, a trial for each training."""

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmark.stages import as_stage
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import replacing
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER

STUDY_ATTRIBUTES = (
    *("searcher", "seed", "dataset", "backbone", "protocol", "space", "execution"),
    *("status", "latent_dim", "chosen_trial"),
)
_MINIMIZE, _MAXIMIZE = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
CURVES = ("latent_dim", "active_units", *DECISION_METRICS)


def write_studies(store: ResultsStore, out: Path) -> list[Path]:
    """Writes OUT/optuna.db, for `optuna-dashboard sqlite:///OUT/optuna.db` and `optuna.load_study`.

    A study is named by its search's id. Its objectives are the four metrics of the choice among trials, but for those
    that none of its trainings has. A training without finite values is a failed trial, one that a pruner ended pruned.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every study
    searches, trials, epochs = store.searches(), store.trials(), store.epochs()
    if searches.empty:
        return []
    memory = sqlite3.connect(":memory:")  # many times as fast as a file
    storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: memory})
    for _, search in as_stage(list(searches.iterrows()), "writing studies", "searches"):
        search_id = search["search_id"]
        _add_study(storage, search, *(f[f["search_id"] == search_id] for f in (trials, epochs)))
    path = out / "optuna.db"
    with replacing(path) as temporary, closing(sqlite3.connect(temporary)) as file:
        memory.backup(file)
    storage.engine.dispose()  # and the connection with it
    return [path]


def _add_study(storage: RDBStorage, search: pd.Series, trials: pd.DataFrame, epochs: pd.DataFrame) -> None:
    metrics = [metric for metric in DECISION_METRICS if trials[metric].notna().any()] or list(DECISION_METRICS)
    directions = [_MAXIMIZE if metric in HIGHER_IS_BETTER else _MINIMIZE for metric in metrics]
    study = optuna.create_study(storage=storage, study_name=search["search_id"], directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(metrics)
    for name in STUDY_ATTRIBUTES:
        study.set_user_attr(name, _plain(search[name]))
    begun = trials.dropna(subset=["latent_dim"])  # those whose first epoch has ended
    sizes = [int(size) for name in ("start_latent_dim", "latent_dim") for size in begun[name]]
    for _, trial in begun.iterrows():
        space = IntDistribution(min(sizes), max(sizes), log=True)
        rows = epochs[epochs["trial"] == trial["trial"]]
        study.add_trial(_trial(trial, metrics, space, rows, trial["trial"] == search["chosen_trial"]))


def _trial(
    trial: pd.Series, metrics: list[str], space: IntDistribution, rows: pd.DataFrame, is_chosen: bool
) -> FrozenTrial:
    """rows: its rows of `ResultsStore.epochs()`."""
    values = [float(trial[metric]) for metric in metrics]
    state = TrialState.FAIL
    if trial["status"] == "done" and bool(np.isfinite(values).all()):
        is_pruned = "ctl_pruned" in rows and rows["ctl_pruned"].iloc[-1] == 1
        state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
    attributes = {name: _plain(trial[name]) for name in ("trial", "start_latent_dim", "n_epochs", "train_flops")}
    attributes |= {f"epochs_{name}": [_plain(value) for value in rows[name]] for name in CURVES}
    return create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE else None,
        params={"latent_dim": int(trial["latent_dim"])},
        distributions={"latent_dim": space},
        user_attrs={**attributes, "wall_seconds": _plain(trial["wall_seconds"]), "is_chosen": is_chosen},
    )


def _plain(value: Any) -> Any:
    """A number or text that JSON knows; None for NaN."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
