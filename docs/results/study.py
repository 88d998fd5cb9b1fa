"""The study's searches as one tidy frame, and what it says of each method: losses, sizes and costs against the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.errors import InputError
from benchmark.store import ResultsStore
from docs.results.plan import PLAN, Block
from reports.analysis.across import Across, Compared, across
from reports.analysis.effects import Effect, effect
from reports.analysis.losses import counted, grid_trainings, losses_of
from reports.analysis.verdicts import verdicts_of
from reports.claims.claim import read_claim
from reports.claims.gather import gather
from reports.claims.verdict import ClaimVerdict, verdict
from reports.data.groups import Group, read_groups
from reports.data.names import GRID, SIZE_ONLY, in_order
from reports.data.quantities import ELBO
from reports.data.size_only import with_size_only
from reports.data.truth import signed_errors
from reports.papers.runs import printed_name
from searchers import SEARCHERS

ROOT = Path(__file__).parents[2]
# The methods of most data sets.
CORE = ("grid", "tolerance", "halving", "ald", "geco-l0arm", "sparsity", "ard", "nested", "pca", "twonn")
CLAIMS = (ROOT / "claims" / "nested.toml", *sorted((ROOT / "claims" / "methods").glob("*.toml")))


@dataclass(frozen=True)
class Study:
    """The study's file, its groups, and frames of it."""

    store: ResultsStore

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """One of each protocol with a finished grid, in the plan's order."""
        order = [block.name for block in PLAN]
        found = [group for group in read_groups(self.store, "the study") if group.grids]
        return tuple(sorted(found, key=lambda group: order.index(block_name(group))))

    @cached_property
    def searches(self) -> pd.DataFrame:
        """One row a search that ended: `block`, `dataset`, `searcher`, `seed`, `failed`, and as far as known

        loss: of the test ELBO against the grid of its seed, in parts of the gap. alone: the same of a plain training of
        the size found. size, in_use, grid_size. cost: training FLOPs in full trainings of the largest size.
        within: whether the size is a right one (NaN where none is known).
        unsettled, still_learning, unused_latents, worse_than_pca: the doubts of `benchmark.store.doubts`, 0 or 1.
        """
        rows = pd.concat([_rows(group) for group in self.groups], ignore_index=True)
        return rows.assign(log_ratio=np.log(rows["size"] / rows["grid_size"]), gain=rows["loss"] - rows["alone"])

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The searchers, in the fixed order."""
        return tuple(in_order(self.searches["searcher"]))

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks."""
        return tuple(dict.fromkeys(self.searches["block"]))

    @cached_property
    def across(self) -> dict[str, Across]:
        """Each method's loss over the data sets, with Holm's correction."""
        compared = [Compared(group, verdicts_of(group)) for group in self.groups]
        return {one.searcher: one for one in across(compared)}

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(dict.fromkeys(self.searches["dataset"]))

    @property
    def n_searches(self) -> int:
        """Searches that ended."""
        return len(self.searches)

    def of(self, searcher: str, block: str | None = None) -> pd.DataFrame:
        """The finished searches of a method, in one block or in all, by block and seed."""
        rows = self.searches[(self.searches["searcher"] == searcher) & ~self.searches["failed"]]
        return rows if block is None else rows[rows["block"] == block].sort_values("seed")

    def over_datasets(self, searcher: str, column: str, settled: bool = False) -> pd.Series[float]:
        """Means of a column by data set: of the seeds, then of its blocks. settled: without unsettled searches."""
        rows = self.searches[self.searches["searcher"] == searcher]  # a failed one has a loss, and nothing else
        rows = rows[rows["unsettled"] != 1] if settled else rows
        means: pd.Series[float] = rows.groupby(["dataset", "block"])[column].mean().groupby("dataset").mean().dropna()
        return means

    def by_block(self, searcher: str, column: str) -> pd.Series[float]:
        """Means of a column over the seeds, by block."""
        rows = self.searches[self.searches["searcher"] == searcher]
        return rows.groupby("block", sort=False)[column].mean().dropna()

    def loss_in(self, searcher: str, block: str) -> Effect:
        """A method's loss in one block, over its seeds; failed searches count as models without latents."""
        rows = self.searches[(self.searches["searcher"] == searcher) & (self.searches["block"] == block)]
        return effect(rows["loss"].dropna().tolist())

    def worst(self, searcher: str) -> tuple[str, float]:
        """The block in which a method loses most, and that loss."""
        losses = self.by_block(searcher, "loss")
        return str(losses.idxmax()), float(losses.max())

    def paired(self, column: str, searcher: str, other: str, block: str) -> list[tuple[float, float]]:
        """A column's values of two methods in a block, by seed, where both are there."""
        ours, theirs = (self.of(name, block).set_index("seed")[column] for name in (searcher, other))
        return list(pd.concat([ours, theirs], axis=1, join="inner").dropna().itertuples(index=False, name=None))

    def common(self, searchers: Sequence[str], column: str = "size", least: int = 1) -> pd.DataFrame:
        """A column [(block, seed), searchers] of the blocks and seeds for which all of some methods have it.

        least: seeds that a block is to have then.
        """
        rows = self.searches[self.searches["searcher"].isin(searchers) & ~self.searches["failed"]]
        wide = rows.pivot(index=["block", "seed"], columns="searcher", values=column).dropna()
        counts = wide.groupby("block").size()
        order = [name for name in self.blocks if counts.get(name, 0) >= least]
        return wide.reindex(order, level="block")[list(searchers)]

    def spread(self, searchers: Sequence[str]) -> pd.Series[float]:
        """Standard deviation of log2(size) over seeds by searcher, pooled over common blocks of two seeds or more."""
        of_block = self.common(searchers, least=2).map(np.log2).groupby("block")
        free = of_block.size() - 1
        variances: pd.Series[float] = of_block.var().mul(free, axis=0).sum() / free.sum()
        return variances**0.5

    @cached_property
    def by_loss(self) -> list[str]:
        """The methods by their mean loss over data sets."""
        return sorted(self.methods, key=lambda name: float(self.over_datasets(name, "loss").mean()))

    def cost(self, searcher: str) -> float:
        """A search's training FLOPs in full trainings of the largest size, mean over data sets."""
        return float(self.over_datasets(searcher, "cost").mean())

    def size_ratio(self, searcher: str, settled: bool = False) -> float:
        """The method's size in units of the grid's: geometric mean over data sets."""
        return float(np.exp(self.over_datasets(searcher, "log_ratio", settled).mean()))

    def group(self, block: str) -> Group:
        """The group of a block."""
        (found,) = (group for group in self.groups if block_name(group) == block)
        return found

    def gap(self, block: str) -> float:
        """What latents are worth in a block, nats an image."""
        losses = losses_of(self.group(block))
        return losses.gap if losses else float("nan")

    def as_good(self, block: str) -> tuple[int, ...]:
        """The sizes that the grid calls as good as the chosen one in most seeds, the chosen ones among them."""
        return self.group(block).as_good(GRID)

    @cached_property
    def at_smallest(self) -> list[str]:
        """The blocks where the grid chose the smallest size of its list in most seeds: fewer may do as well."""
        found = []
        for block in self.blocks:
            if (self.of(GRID, block)["size"] == _listed(self.group(block)).min()).mean() > 0.5:
                found.append(block)
        return found

    @cached_property
    def below_pca(self) -> list[str]:
        """The blocks where in most seeds the model of the grid is worse than PCA."""
        return [block for block in self.blocks if self.mostly(GRID, "worse_than_pca", block)]

    @cached_property
    def without_right_size(self) -> list[str]:
        """The blocks of known answer where the grid's list holds no right size."""
        found = []
        for group in self.groups:
            ends = _right(group)
            if ends and not _listed(group).between(ends[0], ends[1]).any():
                found.append(block_name(group))
        return found

    def right(self, block: str) -> tuple[float, ...]:
        """The smallest and the largest right size in a block; empty where none is known."""
        return _right(self.group(block))

    def loss_of_size(self, times: float) -> pd.Series[float]:
        """What the grid's training of so many times its chosen size loses against that, mean over seeds by block.

        Of the sizes that it trained the nearest on a log scale, on the asked side of the chosen one; seeds without one
        (it chose the smallest) are left out. times = inf: the largest size.
        """
        found = []
        for block in self.blocks:
            group = self.group(block)
            trained = grid_trainings(group, ELBO.column, group.of(GRID, "done")["search_id"]) / -self.gap(block)
            of_grid = self.of(GRID, block)
            for seed, chosen in zip(of_grid["seed"], of_grid["size"], strict=True):
                losses = trained.loc[seed].dropna()
                others = losses[losses.index < chosen if times < 1 else losses.index > chosen]
                if len(others):
                    asked = min(times * chosen, others.index.max())
                    size = min(others.index, key=lambda s: abs(np.log(s / asked)))
                    found.append({"block": block, "loss": losses[size] - losses[chosen]})
        return pd.DataFrame(found).groupby("block", sort=False)["loss"].mean()

    def count(self, searcher: str, column: str, block: str | None = None) -> tuple[int, int]:
        """Of how many finished searches a column (`within`, `unsettled`) holds, and for how many it is known."""
        rows = self.of(searcher, block)[column].dropna()
        return int(rows.sum()), len(rows)

    def mostly(self, searcher: str, column: str, block: str) -> bool:
        """Whether a column holds of more than half of a method's searches in a block."""
        held, of = self.count(searcher, column, block)
        return 2 * held > of

    def runs(self, planned: Block) -> dict[str, float]:
        """Of a planned block: searches `done` and `failed`, `methods` and `seeds` of those, `hours` that they took,

        `left` out, and the hours `to_go` that these are estimated to take (of training and scoring, one core).
        """
        n_planned = len(SEARCHERS) * len(planned.seeds)
        if planned.name not in self.blocks:
            empty = dict.fromkeys(("done", "failed", "methods", "seeds", "hours"), 0)
            return {**empty, "left": n_planned, "to_go": planned.hours * len(planned.seeds)}
        rows = self.group(planned.name).searches
        rows = rows[rows["status"].isin(["done", "failed"])]
        counts = {status: int((rows["status"] == status).sum()) for status in ("done", "failed")}
        counts |= {"methods": rows["searcher"].nunique(), "seeds": rows["seed"].nunique()}
        left = n_planned - len(rows)
        hours = hours_of(rows)
        return {**counts, "hours": hours, "left": left, "to_go": planned.hours * left / len(SEARCHERS)}

    def made_with(self) -> str:
        """The versions, machines and commits of all searches, a list each."""
        rows = self.store.searches()
        names = {"latentbench": "latentbench", "git_commit": "commit", "torch": "torch", "python": "Python"}
        names |= {"platform": "platform", "cpu": "CPU", "device": "device", "threads": "threads a search"}
        texts = {
            name: sorted(rows[f"env_{key}"].dropna().astype(str).str[:100].unique()) for key, name in names.items()
        }
        return "; ".join(f"{name} {', '.join(text)}" for name, text in texts.items())

    def claims(self) -> dict[str, ClaimVerdict | str]:
        """The verdict on each registered claim, by its file's name; a line on what is missing where there is none."""
        found: dict[str, ClaimVerdict | str] = {}
        for path in CLAIMS:
            registered = read_claim(path)
            try:
                found[path.stem] = verdict(registered, gather(registered, [self.store]))
            except InputError as error:
                found[path.stem] = str(error)
        return found


def only(group: Group, searchers: Sequence[str]) -> Group:
    """The group with the searches of some searchers alone."""
    return replace(group, searches=group.searches[group.searches["searcher"].isin(searchers)])


def block_label(block: str) -> str:
    """A block's name in figures and tables."""
    dataset, _, what = {"manifold": "manifold-5"}.get(block, block).partition("-")
    return f"{printed_name(dataset)} {what}".rstrip()


def block_name(group: Group) -> str:
    """The protocol's name without `study-`, as `manifold-8`; `manifold` and `digits` have their own."""
    (protocol,) = set(group.searches["protocol"])
    return str(protocol).removeprefix("study-")


def failures(stores: Sequence[ResultsStore]) -> list[str]:
    """A line for each failed search, with its reason."""
    rows = pd.concat([store.searches() for store in stores])
    rows = rows[rows["status"] == "failed"].sort_values(["protocol", "searcher", "seed"])
    return [f"{row.protocol}, {row.searcher}, seed {row.seed}: {row.error}" for row in rows.itertuples()]


def hours_of(searches: pd.DataFrame) -> float:
    """The hours that the training and scoring of searches took."""
    return float((searches["train_seconds"] + searches["eval_seconds"]).sum() / 3600)


def _listed(group: Group) -> pd.Series[float]:
    """The sizes that the grid trained, each as often as it did."""
    sizes: pd.Series[float] = group.trials.loc[group.trials["searcher"] == GRID, "latent_dim"]
    return sizes


def _right(group: Group) -> tuple[float, ...]:
    """The smallest and the largest right size; empty where none is known."""
    ends = [float(group.searches[column].max()) for column in ("true_low", "true_high")]
    return tuple(ends) if all(map(math.isfinite, ends)) else ()


def _rows(group: Group) -> pd.DataFrame:
    rows = counted(group)
    trials = group.trials
    full = trials[(trials["searcher"] == GRID) & (trials["latent_dim"] == group.searches["space_high"].max())]
    found = pd.DataFrame(
        {
            "block": block_name(group),
            "dataset": group.dataset,
            "searcher": rows["searcher"],
            "seed": rows["seed"].astype(int),
            "failed": rows["status"] == "failed",
            "size": rows["latent_dim"],
            "in_use": rows["test_active_units"],
            "cost": rows["train_flops"] / full["train_flops"].median(),
            "fid_gen": rows["test_fid_gen"],
            "unsettled": 1 - rows["settled"],
            "within": np.nan,
        }
    )
    for column in ("still_learning", "unused_latents", "worse_than_pca"):
        found[column] = rows[column].astype(float)
    if ends := _right(group):
        errors = signed_errors(found["size"], *ends)
        found["within"] = (errors == 0).astype(float).where(errors.notna())
    losses = losses_of(with_size_only(group))
    if losses is None:
        return found.assign(loss=np.nan, alone=np.nan, grid_size=np.nan)
    lost = {name: losses.against_grid(name) for name in map(str, losses.values)}
    keys = list(zip(found["searcher"], found["seed"], strict=True))
    found["loss"] = [lost[name].get(seed, np.nan) for name, seed in keys]
    # Where all models of a method are plain trainings there is no other score.
    found["alone"] = [lost.get(name + SIZE_ONLY, lost[name]).get(seed, np.nan) for name, seed in keys]
    grid = found[(found["searcher"] == losses.grid) & ~found["failed"]].set_index("seed")["size"]
    return found.assign(grid_size=found["seed"].map(grid))


def sizes(values: Sequence[float] | pd.Series[float]) -> str:
    """`4`, or `3 to 5` where they differ."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
