"""Learning curves with the latent size on the upper axis: the layout of ALD-VAE (arXiv 2312.06280), figure 2."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from reports.data.groups import Group, Store
from reports.data.names import counted
from reports.data.quantities import CURVES

Role = Literal["main", "trial", "other seed"]


@dataclass(frozen=True)
class Curve:
    """One training: `values[i]` is metric i of `CURVES` per epoch, NaN where not measured."""

    role: Role
    search_id: str
    seed: int
    trial: int
    latent_dim: int
    epochs: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class CurveRow:
    """One searcher: its first finished seed, and faintly what its other seeds chose.

    `sizes` is the main training's latent size per epoch; empty when there are several trainings of fixed size.
    `last_change` is the epoch at which the size last changed, None when it never did or the search is not finished.
    """

    searcher: str
    seed: int
    status: str
    curves: tuple[Curve, ...]
    sizes: tuple[int, ...]
    last_change: int | None

    @property
    def main(self) -> Curve | None:
        """The training of the chosen model; None while whole-run trials have no winner."""
        return next((curve for curve in self.curves if curve.role == "main"), None)


@dataclass(frozen=True)
class CurvesData:
    """Rows of the figure, in the fixed order of searchers; a searcher without any epoch has no row.

    notes: the searches of which nothing is drawn.
    """

    title: str
    fid_features: str
    rows: tuple[CurveRow, ...]
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row an epoch of every line drawn; `latent_dim` where it is written above the panels."""
        names = [metric.csv_column(self.fid_features) for metric in CURVES]
        return pd.concat([_frame(row, curve, names) for row in self.rows for curve in row.curves], ignore_index=True)


def curves_data(group: Group, store: Store) -> CurvesData | None:
    """Curves of each searcher from the group's epochs."""
    logged = _split(group.epochs, "search_id")
    rows = []
    for searcher in group.searchers:
        searches = group.of(searcher)
        searches = searches[searches["search_id"].isin(logged.keys())]
        if not searches.empty:
            rows.append(_row(searches, logged))
    drawn = {curve.search_id for row in rows for curve in row.curves}
    rest = group.searches.loc[~group.searches["search_id"].isin(drawn), "searcher"]
    notes = (f"Not drawn (failed, running or without a logged training): {counted(rest)}.",) if len(rest) else ()
    return CurvesData(f"Trainings: {group.title}", group.fid_features, tuple(rows), notes) if rows else None


def _frame(row: CurveRow, curve: Curve, names: list[str]) -> pd.DataFrame:
    metrics = dict(zip(names, curve.values, strict=True))
    keys = {"searcher": row.searcher, "search_id": curve.search_id, "seed": curve.seed, "trial": curve.trial}
    keys |= {"line": curve.role, "final_latent_dim": curve.latent_dim}
    sizes = {"latent_dim": row.sizes} if row.sizes and curve.role == "main" else {}
    return pd.DataFrame({**keys, "epoch": curve.epochs, **metrics, **sizes})


def _split(frame: pd.DataFrame, column: str) -> dict[Any, pd.DataFrame]:
    return dict(list(frame.groupby(column)))


def _row(searches: pd.DataFrame, logged: dict[str, pd.DataFrame]) -> CurveRow:
    finished = searches[searches["status"] == "done"]
    first = (searches if finished.empty else finished).iloc[0]
    trials = _split(logged[first["search_id"]], "trial")
    chosen = chosen_trial(first, trials)
    curves = [_curve(epochs, "main" if trial == chosen else "trial") for trial, epochs in trials.items()]
    for _, other in finished.iloc[1:].iterrows():
        others = _split(logged[other["search_id"]], "trial")
        trial = chosen_trial(other, others)
        curves += [] if trial is None else [_curve(others[trial], "other seed")]
    sizes: tuple[int, ...] = ()
    last_change = None
    if chosen is not None:
        sized = trials[chosen].set_index("epoch")["latent_dim"].dropna().astype(int)
        changes = sized[sized != sized.shift(fill_value=sized.iloc[0])] if len(sized) else sized
        if len(trials) == 1 or len(changes):
            sizes = tuple(trials[chosen]["latent_dim"].ffill().fillna(0).astype(int))
        if len(changes) and first["status"] == "done":
            last_change = int(changes.index[-1])
    return CurveRow(first["searcher"], int(first["seed"]), first["status"], tuple(curves), sizes, last_change)


def chosen_trial(search: pd.Series, trials: Collection[float]) -> float | None:
    """The trial whose model the search returned; its only one while unknown, None among several."""
    if search["chosen_trial"] in trials:
        return float(search["chosen_trial"])
    return next(iter(trials)) if len(trials) == 1 else None


def _curve(epochs: pd.DataFrame, role: Role) -> Curve:
    known = epochs["latent_dim"].dropna()
    values = tuple(tuple(epochs[metric.column].astype(float)) for metric in CURVES)
    search_id, seed, trial = epochs.iloc[0][["search_id", "seed", "trial"]]
    size = int(known.iloc[-1]) if len(known) else 0
    return Curve(role, search_id, int(seed), int(trial), size, tuple(epochs["epoch"].astype(int)), values)
