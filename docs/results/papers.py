"""The numbers of papers.md: the three papers' experiments, from a store's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy import stats

from benchmark.config.tables import parse_toml
from reports.data.quantities import PANEL_METRICS
from reports.papers.ald import STARTS, ALDCurves, TrainingLine, figure_2_data, figure_3_data
from reports.papers.asperti import base as asperti_base
from reports.papers.asperti.tables import PAPER_INACTIVE, TABLE_1, TABLE_2
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.geco import BATCH, FIGURE_3, PAPER_ENDS
from reports.papers.geco import figure_3_data as front_data
from reports.papers.runs import is_full, of_one_condition, printed_name, share_of_budget, share_of_epoch
from searchers.quantities import ACTIVE, LAST_EPOCHS

PAPER_SD = {"mnist": 3.0, "fashionmnist": 2.0}  # 2312.06280, section 5.2
PAPER_STOP = {"mnist": 50, "fashionmnist": 100}  # epochs, section 5.1
NEAR_ONE = 0.05  # a sum of equation 13 of 1812.07238 so near to 1 is called 1
EVERY_EPOCH = ("ald@100e", "ald@80e", "ald@64e")  # patience = 1: removal in every epoch, as Algorithm 1 prints it
PAPER_INACTIVE_DENSE = {
    asperti_base.MNIST_DENSE: sum(variance <= ACTIVE for variance, _ in TABLE_1),
    asperti_base.TILES_DENSE: sum(variance <= ACTIVE for variance, _ in TABLE_2),
}


def numbers(runs: StoreFrames) -> dict[str, Any]:
    """Everything that papers.md names: `ald` by data set, `geco` and `asperti`; what has no run is empty or None."""
    return {"ald": {name: ald(runs, name) for name in PAPER_SD}, "geco": geco(runs), "asperti": asperti(runs)}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, the values, mean, sd (n - 1; None for one), least and most, of the seeds; None of no values for all but n."""
    sd = float(pd.Series(values, dtype=float).std()) if len(values) > 1 else None
    ends = (min(values), max(values), sum(values) / len(values)) if values else (None, None, None)
    return {"n": len(values), "values": list(values), "min": ends[0], "max": ends[1], "mean": ends[2], "sd": sd}


def ald(runs: StoreFrames, dataset: str) -> dict[str, Any]:
    """ALD-VAE's figures 2 to 4 and section 5.2 on a data set.

    share: of the paper's budget, %. sizes: by start, that ALD chose; in_use: of these latents. apart, in_use_apart: by
    how much the starts differ in them, by seed. unfired: of how many searches the rule had not fired, and of how many.
    sd: of the sizes over the seeds, from 64, with its 95 % interval, and whether the paper's is within. stop: epochs
    until removal stopped, from 64. every_epoch: as sizes and apart, with removal in every epoch; every_whole_epoch: the
    sizes where those are whole passes. full: the size from 64 and its stop at the whole budget. figure_2 and figure_3.
    """
    of_starts = _of(runs, dataset, STARTS)
    every_epoch = _of(runs, dataset, EVERY_EPOCH)
    from_64 = of_starts[of_starts["searcher"] == "ald@64"]
    sizes = from_64["latent_dim"].astype(int).tolist()
    first = None if of_starts.empty else of_starts.iloc[0]
    return {
        "dataset": printed_name(dataset),
        "share": None if first is None else 100 * share_of_budget(first),
        "sizes": _by_start(of_starts),
        "in_use": _by_start(of_starts, "test_active_units"),
        "apart": _apart(of_starts),
        "in_use_apart": _apart(of_starts, "test_active_units"),
        "unfired": (int((of_starts["settled"] == 0).sum()), len(of_starts)),
        "sd": _sd_interval(sizes, PAPER_SD[dataset]),
        "stop": spread(_stops(runs, from_64)),
        "paper_stop": PAPER_STOP[dataset],
        "every_epoch": _by_start(every_epoch),
        "every_epoch_apart": _apart(every_epoch),
        "every_whole_epoch": _by_start(_whole_epochs(runs.of(RequiredRuns(f"ald-{dataset}", EVERY_EPOCH)))),
        "full": _at_full_budget(runs, dataset),
        "figure_2": _figure_2(figure_2_data(runs), printed_name(dataset)),
        "figure_3": _figure_3(figure_3_data(runs), printed_name(dataset)),
    }


def _of(runs: StoreFrames, dataset: str, searchers: Sequence[str]) -> pd.DataFrame:
    """The searches of one condition."""
    found = runs.of(RequiredRuns(f"ald-{dataset}", tuple(searchers)))
    return found if found.empty else of_one_condition(found)


def _by_start(searches: pd.DataFrame, column: str = "latent_dim") -> dict[int, dict[str, Any]]:
    """The chosen sizes, or another column of whole numbers, over the seeds, by the size at the start."""
    starts = searches["searcher"].str.extract(r"(\d+)", expand=False).astype(int)
    return {
        start: spread(searches.loc[starts == start, column].astype(int).tolist()) for start in sorted(set(starts))[::-1]
    }


def _apart(searches: pd.DataFrame, column: str = "latent_dim") -> dict[str, Any]:
    """The largest difference between two starts' sizes, of each seed with two starts or more."""
    of_seed = searches.groupby("seed")[column].agg(["count", "min", "max"])
    of_seed = of_seed[of_seed["count"] > 1]
    return spread((of_seed["max"] - of_seed["min"]).astype(int).tolist())


def _sd_interval(values: Sequence[float], paper: float) -> dict[str, Any]:
    """An sd and its 95 % interval for normal values (chi-squared), and whether the paper's is in it."""
    freedom = len(values) - 1
    if freedom < 1:
        return {"paper": paper, "sd": None, "low": None, "high": None, "inside": None}
    sd = float(pd.Series(values, dtype=float).std())
    low, high = (sd * math.sqrt(freedom / stats.chi2.ppf(q, freedom)) for q in (0.975, 0.025))
    return {"paper": paper, "sd": sd, "low": low, "high": high, "inside": bool(low <= paper <= high)}


def _stops(runs: StoreFrames, searches: pd.DataFrame) -> list[int]:
    """The epoch in which the rule stopped removal, of each search in which it did."""
    stops = []
    for _, search in searches.iterrows():
        rows = runs.training(search["search_id"], int(search["chosen_trial"]))
        fired = rows.loc[rows["ctl_stopped"] > 0, "epoch"]
        stops += [int(fired.iloc[0])] if len(fired) else []
    return stops


def _whole_epochs(searches: pd.DataFrame) -> pd.DataFrame:
    return searches.loc[[share_of_epoch(search) == 1 for _, search in searches.iterrows()]]


def _at_full_budget(runs: StoreFrames, dataset: str) -> dict[str, Any] | None:
    found = _whole_epochs(runs.of(RequiredRuns(f"ald-{dataset}", ("ald@64",))))
    found = found.loc[[is_full(share_of_budget(search)) for _, search in found.iterrows()]]
    if found.empty:
        return None
    return {"size": spread(found["latent_dim"].astype(int).tolist()), "stop": spread(_stops(runs, found))}


def _figure_2(curves: ALDCurves | None, dataset: str) -> dict[str, Any] | None:
    """Without the stop rule, over the seeds: the size at which the rule fires, and at which each metric is best.

    behind: what the metrics lose at the stop against their best, by column; FIDs as a ratio, the NLL in nats.
    """
    rows = [row for row in curves.rows if row.dataset == dataset] if curves else []
    if not rows:
        return None
    lines = [line for line in rows[0].trainings if line.stop is not None]
    found: dict[str, Any] = {"seeds": len(rows[0].trainings), "fired": len(lines)}
    found["size"] = spread([line.sizes[line.epochs.index(line.stop)] for line in lines if line.stop is not None])
    for k, metric in enumerate(PANEL_METRICS):
        if metric.better == "lower":
            found[metric.column] = _best(lines, k, is_fid=metric.is_fid)
    return found


def _best(lines: Sequence[TrainingLine], k: int, is_fid: bool) -> dict[str, Any]:
    """The size of metric k's lowest mean over the last epochs, and how much more it is at the stop."""
    sizes, behind = [], []
    for line in lines:
        rolling = pd.Series(line.values[k]).rolling(LAST_EPOCHS).mean()
        means = {epoch: mean for epoch, mean in zip(line.epochs, rolling, strict=True) if not math.isnan(mean)}
        best = min(means, key=means.__getitem__)
        sizes.append(line.sizes[line.epochs.index(best)])
        if line.stop is not None:
            behind.append(means[line.stop] / means[best] if is_fid else means[line.stop] - means[best])
    return {"size": spread(sizes), "behind": spread(behind)}


def _figure_3(curves: ALDCurves | None, dataset: str) -> dict[str, Any] | None:
    """By metric: ALD's mean over the last epochs less that of the training of fixed size, over the seeds."""
    rows = [row for row in curves.rows if row.dataset == dataset] if curves else []
    if not rows:
        return None
    found: dict[str, Any] = {}
    for k, metric in enumerate(PANEL_METRICS):
        last = {
            (line.name, line.seed): pd.Series(line.values[k]).tail(LAST_EPOCHS).mean() for line in rows[0].trainings
        }
        seeds = sorted({line.seed for line in rows[0].trainings})
        found[metric.column] = spread([float(last["ALD", seed] - last["fixed", seed]) for seed in seeds])
    return found


def geco(runs: StoreFrames) -> dict[str, Any]:
    """GECO/L0-ARM's figure 3: by tau the sizes over the seeds, beside the two that the paper's text gives.

    steps: batches of 64 images a training. met: of the trainings, those whose error fell to tau. inside: whether the
    sizes' range has the paper's, for the taus at which every training met its bound (the size is the start's before).
    conv: the sizes of the paper's own network, as far as it was run.
    """
    front = front_data(runs)
    if front is None:
        return {"points": {}, "paper": dict(PAPER_ENDS), "inside": {}, "conv": {}}
    points = {
        int(float(str(tau))): spread(sizes.astype(int).tolist())
        for tau, sizes in front.points.groupby("tau")["dimensions"]
    }
    found = runs.of(FIGURE_3)
    drawn = of_one_condition(found)
    trained = [runs.training(search["search_id"], int(search["chosen_trial"])) for _, search in drawn.iterrows()]
    met = pd.Series([bool((rows["ctl_error_average"] <= rows["ctl_tau"]).any()) for rows in trained])
    all_met = met.groupby([int(float(search["setting_tau"])) for _, search in drawn.iterrows()]).all()
    own = found[found["backbone"] == "geco-conv"]
    return {
        "about": front.about,
        "backbone": drawn["backbone"].iloc[0],
        "share": 100 * share_of_budget(drawn.iloc[0]),
        "steps": int(trained[0]["images_seen"].iloc[-1] / BATCH),
        "points": points,
        "paper": dict(PAPER_ENDS),
        "inside": {
            tau: points[tau]["min"] <= size <= points[tau]["max"] for tau, size in PAPER_ENDS if all_met.get(tau)
        },
        "met": int(met.sum()),
        "settled": int(drawn["settled"].fillna(False).astype(bool).sum()),
        "trainings": len(drawn),
        "conv": {float(search["setting_tau"]): int(search["latent_dim"]) for _, search in own.iterrows()},
        "conv_epochs": None if own.empty else int(own["epochs"].max()),
    }


def asperti(runs: StoreFrames) -> dict[str, dict[str, Any]]:
    """Inactive latents of tables I and II and of sections IV-B and V-A, by data set and network.

    inactive: over the seeds; paper; inside: whether the paper's is within their range; share: of our budget, %; early:
    the same counts after half of the epochs; sums: see `_sums`; scaled: the counts with
    `backbone.init = "scaled"` and the share of its budget, None where that was not run.
    """
    named = {
        "mnist_dense": asperti_base.MNIST_DENSE,
        "tiles_dense": asperti_base.TILES_DENSE,
        "mnist_conv": asperti_base.MNIST_CONV,
        "tiles_conv": asperti_base.TILES_CONV,
    }
    return {name: _asperti(runs, need) for name, need in named.items()}


def _asperti(runs: StoreFrames, need: RequiredRuns) -> dict[str, Any]:
    paper = {**PAPER_INACTIVE_DENSE, **PAPER_INACTIVE}[need]
    inits = [_init(runs, search) for _, search in runs.of(need).iterrows()]
    torch_start, scaled = (_with_init(runs, need, [init == name for init in inits]) for name in ("torch", "scaled"))
    return {"paper": paper, **_inactive(torch_start, need, paper), "scaled": _inactive(scaled, need, paper)}


def _init(runs: StoreFrames, search: pd.Series) -> str:
    """How the search's network starts, as the protocol that was kept with the results says."""
    text = runs.store.kept()[f"protocol-{search['protocol_hash']}.toml"]
    return str(parse_toml(text, "the protocol kept with the results").get("backbone", {}).get("init", "torch"))


def _with_init(runs: StoreFrames, need: RequiredRuns, chosen: list[bool]) -> StoreFrames:
    """The same store with these searches of a need alone."""
    only = StoreFrames(runs.store)
    only.searches = runs.of(need).loc[chosen]
    return only


def _inactive(runs: StoreFrames, need: RequiredRuns, paper: int) -> dict[str, Any]:
    found = asperti_base.find_runs(runs, need)
    counts, early, sums = [], [], []
    for run in found:
        latents = asperti_base.final_latents(runs, run)
        counts.append(int(latents["inactive"].sum()))
        sums += latents["sum"].tolist()
        rows = runs.training(run.search_id, run.trial)
        half = rows.iloc[len(rows) // 2 - 1]
        early.append(int(half["latent_dim"] - half["active_units"]))
    inactive = spread(counts)
    return {
        "inactive": inactive,
        "inside": bool(inactive["min"] <= paper <= inactive["max"]) if counts else None,
        "share": 100 * found[0].share if found else None,
        "early": spread(early),
        "sums": _sums(pd.Series(sums, dtype=float)),
    }


def _sums(sums: pd.Series[float]) -> dict[str, float] | None:
    """Of equation 13's sums over latents and seeds: mean, variance, and the share that is within `NEAR_ONE` of 1."""
    if sums.empty:
        return None
    near = float((sums - 1).abs().le(NEAR_ONE).mean())
    return {"mean": float(sums.mean()), "variance": float(sums.var(ddof=0)), "near": near}
