"""The comparison of searchers as one table: a row per group and searcher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmark.store.doubts import search_flags, sentences
from reports.analysis.stats import FEW_SEEDS, mean_intervals, ratio_intervals
from reports.data.groups import Group
from reports.data.names import label
from reports.data.numbers import quantity_text
from reports.data.quantities import DEVICE_SECONDS, SHOWN_COSTS, TRAIN_FLOPS, Quantity, shown_metrics

MIXED_DEVICES = "Searches ran on CPUs and on GPUs: their times do not compare."
EQUAL_TIME = 1.2  # times longer than another that an equal training may take where seconds are compared
_MACHINE = ["env_device", "env_cpu", "env_threads"]


def stat(quantity: Quantity, name: str) -> str:
    """Names the comparison's column of a quantity's mean, sd, low or high or, of a cost, vs_grid..., with the unit."""
    unit = f" [{quantity.unit}]" if quantity.unit and not name.startswith("vs_grid") else ""
    return f"{_measured(quantity)}_{name}{unit}"


def _measured(quantity: Quantity) -> str:
    """Names the column of a group's searches that holds a quantity; metrics are those on the test split."""
    return quantity.column if quantity in SHOWN_COSTS else quantity.tested


def comparison(groups: Sequence[Group]) -> pd.DataFrame:
    """One row per (group, searcher): counts by status, chosen size, costs and test metrics over done seeds.

    A searcher `..., size only` is one of a group with the scores of sizes alone (`with_size_only`); it has no costs.

    `active_units_median`, `_min` and `_max`: latents in use on the test split. `n_unused_latents`, `n_collapsed`,
    `n_unsettled`, `n_unshown`, `n_still_learning`, `n_worse_than_pca`, `n_worthless` and `n_few_fid_images`: finished
    searches with the flags of `ResultsStore.searches()` (`n_unshown`: not `choice_shown`); `n_diverged`: their
    trainings that diverged. Blank where no search has recorded it.
    Columns `<quantity>_mean`, `<quantity>_sd` (n - 1; blank for one seed), `<quantity>_low` and `<quantity>_high`: the
    range of the seeds, and from 6 seeds on the 95 % t-interval of the mean; and, for costs, `<quantity>_vs_grid`: the
    mean over the grid search's mean in the same group, blank without one, with `<quantity>_vs_grid_low` and
    `<quantity>_vs_grid_high`, which are of the ratios seed by seed (the t-interval on the log scale), blank for the
    grid itself and with fewer than two seeds in common. Device time is blank throughout a group that ran on CPUs and on
    GPUs. Times are compared with the grid search of the same execution, and only where equal trainings took equal time
    (see `times_apart`); FLOPs and images with the sequential one before any other.
    """
    return pd.DataFrame([_row(group, searcher) for group in groups for searcher in group.searchers])


def _row(group: Group, searcher: str) -> dict[str, object]:
    searches = group.of(searcher)
    done = _comparable(group, group.of(searcher, "done"))
    row: dict[str, object] = {
        "dataset": group.dataset,
        "backbone": group.backbone,
        "protocol_hash": group.protocol_hash,
        "fid_features": group.fid_features,
        "searcher": searcher,
        **{f"n_{status}": int((searches["status"] == status).sum()) for status in ("done", "failed", "running")},
        **_distribution(done["latent_dim"], "latent_dim"),
        **_distribution(done["test_active_units"], "active_units"),
        **_doubted(done),
    }
    shown = (*SHOWN_COSTS, *shown_metrics(group.fid_features))
    columns = [_measured(quantity) for quantity in shown]
    intervals = mean_intervals(done[columns].to_numpy().T)
    for quantity, column, (low, high) in zip(shown, columns, intervals, strict=True):
        row[stat(quantity, "mean")], row[stat(quantity, "sd")] = mean_sd(done[column])
        row[stat(quantity, "low")], row[stat(quantity, "high")] = low, high
    return row | _against_grid(group, searcher, done)


def _distribution(values: pd.Series[float], name: str) -> dict[str, object]:
    return {f"{name}_median": values.median(), f"{name}_min": values.min(), f"{name}_max": values.max()}


def _doubted(done: pd.DataFrame) -> dict[str, object]:
    found = [search_flags(search) for search in done.to_dict("records")]
    flagged = pd.DataFrame(found, columns=[*search_flags({})], dtype=float)
    return {
        **{f"n_{name}": flagged[name].sum(min_count=1) for name in flagged},
        "n_unsettled": (1 - done["settled"]).sum(min_count=1),
        "n_unshown": (1 - done["choice_shown"]).sum(min_count=1),
        "n_diverged": done["n_diverged"].sum(min_count=1),
    }


def doubt_sentences(group: Group) -> list[str]:
    """Says what speaks against the sizes and FIDs of the group's finished searches, a sentence a kind."""
    rows = group.searches.to_dict("records")
    return sentences(rows, lambda row: f"{label(row['searcher'])} seed {row['seed']:g}")


def _comparable(group: Group, searches: pd.DataFrame) -> pd.DataFrame:
    """Blanks device time where some searches have core-seconds and others GPU-seconds."""
    return searches.assign(**{DEVICE_SECONDS.column: math.nan}) if len(group.device_kinds) > 1 else searches


def _against_grid(group: Group, searcher: str, done: pd.DataFrame) -> dict[str, object]:
    """Divides a searcher's mean costs by the grid's, with what stands beside it; the grid's own are 1, without one."""
    row: dict[str, object] = {}
    times = [cost for cost in SHOWN_COSTS if cost.is_time]
    counts = [cost for cost in SHOWN_COSTS if not cost.is_time]
    like = None if times_apart(group) else group.grid_like(searcher)
    for costs, name in ((times, like), (counts, next(iter(group.grids), None))):
        grid = _comparable(group, group.of(name or "", "done"))
        columns = [cost.column for cost in costs]
        own, of_grid = (rows.drop_duplicates("seed").set_index("seed")[columns] for rows in (done, grid))
        seeds = own.index.intersection(of_grid.index) if searcher != name else own.index[:0]
        intervals = ratio_intervals(own.loc[seeds].to_numpy().T, of_grid.loc[seeds].to_numpy().T)
        for cost, (low, high) in zip(costs, intervals, strict=True):
            mean, reference = mean_sd(done[cost.column])[0], mean_sd(grid[cost.column])[0]
            row[stat(cost, "vs_grid")] = mean / reference if reference else math.nan
            row[stat(cost, "vs_grid_low")], row[stat(cost, "vs_grid_high")] = low, high
    return row


def times_apart(group: Group) -> float:
    """How many times longer than another an equal training took, where that is more than `EQUAL_TIME`; else 0.

    Trainings are equal that have the same size, which did not change, epochs and FLOPs, in one way of execution.
    """
    work = ["execution", "latent_dim", "n_epochs", TRAIN_FLOPS.column]
    names = dict(zip(group.searches["search_id"], group.searches["execution"], strict=True))
    trials = group.trials.reindex(columns=["search_id", "start_latent_dim", "train_seconds", *work])
    trials = trials.assign(execution=trials["search_id"].map(names))
    equal = trials[trials["start_latent_dim"].eq(trials["latent_dim"]) & (trials["train_seconds"] > 0)]
    seconds = equal.groupby(work)["train_seconds"]
    longest = (seconds.max() / seconds.min()).max()
    return float(longest) if longest > EQUAL_TIME else 0.0


def mean_sd(values: pd.Series[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the values that are not NaN; NaN where undefined."""
    return float(values.mean()), float(values.std(ddof=1))


def plus_minus(row: pd.Series, quantity: Quantity) -> str:
    """`mean ± sd` of a row of the comparison; the mean alone without an sd, a dash without a mean."""
    return quantity_text(quantity, row[stat(quantity, "mean")], row[stat(quantity, "sd")])


def counts(row: pd.Series) -> str:
    """Counts a row's searches as `done/failed/running`."""
    return f"{row['n_done']}/{row['n_failed']}/{row['n_running']}"


def size_range(row: pd.Series) -> str:
    """Median chosen size and, where seeds disagree, its range: `14 (12–17)`."""
    return _median_range(row, "latent_dim")


def active_range(row: pd.Series) -> str:
    """Median number of latents in use on the test split and, where seeds disagree, its range."""
    return _median_range(row, "active_units")


def _median_range(row: pd.Series, name: str) -> str:
    median, low, high = (row[f"{name}_{part}"] for part in ("median", "min", "max"))
    if not np.isfinite(median):
        return "–"
    return f"{median:g}" if low == high else f"{median:g} ({low:g}–{high:g})"


def ratio(row: pd.Series, cost: Quantity) -> str:
    """Prints a mean cost as a multiple of the grid's, `0.18x`; empty without a grid."""
    value = row[stat(cost, "vs_grid")]
    return (f"{value:.2f}x" if value >= 0.1 else f"{value:.2g}x") if np.isfinite(value) else ""


def mean_and_ratio(row: pd.Series, cost: Quantity) -> str:
    """`mean ± sd`, and in parentheses the multiple of the grid's mean where there is a grid."""
    multiple = ratio(row, cost)
    return plus_minus(row, cost) + (f" ({multiple})" if multiple else "")


def ratio_or_dash(row: pd.Series, cost: Quantity) -> str:
    """`ratio`; a dash for a known time where the only grid searches are of other executions."""
    known = np.isfinite(row[stat(cost, "mean")]) and np.isfinite(row[stat(TRAIN_FLOPS, "vs_grid")])
    return ratio(row, cost) or ("–" if cost.is_time and known else "")


def cautions(group: Group) -> list[str]:
    """Says what the group's numbers cannot support, and why: few seeds, missing values, different machines."""
    done = {searcher: _comparable(group, group.of(searcher, "done")) for searcher in group.searchers}
    notes = []
    few = [f"{label(searcher)} ({len(rows)})" for searcher, rows in done.items() if len(rows) < FEW_SEEDS]
    if few:
        notes.append(
            f"Fewer than {FEW_SEEDS} finished seeds: {', '.join(few)}. The lines beside their means in the figures are "
            "the range of the seeds, no interval of the mean."
        )
    # What no search has is said once, above the table (`reports.data.measured`).
    metrics = [metric for metric in shown_metrics(group.fid_features) if group.done[metric.tested].notna().any()]
    for searcher, rows in done.items():
        missing = {q.name(group.fid_features): int(rows[_measured(q)].isna().sum()) for q in (*SHOWN_COSTS, *metrics)}
        # Of a cost that none has there is no number, and a dash says so.
        unknown = {name for name in (c.name(group.fid_features) for c in SHOWN_COSTS) if missing[name] == len(rows)}
        parts = [f"{name} in {n} of {len(rows)}" for name, n in missing.items() if n and name not in unknown]
        if parts:
            notes.append(
                f"{label(searcher)} has no value of {'; '.join(parts)} finished searches; means are over the others."
            )
    repeated = [label(name) for name, rows in done.items() if rows["seed"].duplicated().any()]
    if repeated:
        notes.append(
            f"Finished more than once with a seed (other settings or another device): {', '.join(repeated)}; each "
            "search counts in the means; verdicts and ranks take the first by its id."
        )
    if apart := times_apart(group):
        notes.append(
            f"The same training took up to {apart:.1f} times as long in one search as in another, so the machine was "
            "not theirs alone: seconds are not compared with the grid’s. Compare FLOPs and images instead."
        )
    mixed = {MIXED_DEVICES: " Device time has no mean over both."}
    notes += [note + mixed.get(note, _lone_executions(group)) for note in time_notes(group)]
    finished = group.done
    for column in (c for c in _MACHINE if c in finished.columns):
        kinds = sorted(finished[column].dropna().astype(str).unique())
        if len(kinds) > 1:
            notes.append(
                f"Times come from different machines ({column}: {', '.join(kinds)}): compare FLOPs and images instead."
            )
    return notes


def _lone_executions(group: Group) -> str:
    """Names the searchers whose times no grid search can be compared with, if there is a grid search at all."""
    finished = [name for name in group.searchers if len(group.of(name, "done"))]
    alone = [label(name) for name in finished if group.grids and not group.grid_like(name)]
    text = f" Without a grid search of its execution, so without a multiple of its times: {', '.join(alone)}."
    return text if alone else ""


def time_notes(group: Group) -> list[str]:
    """Says which times of the group do not compare."""
    ways = ", ".join(group.executions)
    kinds = (
        f"Searches were executed in different ways ({ways}): times compare within one of them, FLOPs and images across."
    )
    return [MIXED_DEVICES] * (len(group.device_kinds) > 1) + [kinds] * (len(group.executions) > 1)
