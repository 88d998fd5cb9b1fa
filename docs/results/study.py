"""The study's searches as one tidy frame, and what it says of each method: losses, sizes and costs against the grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from reports.data.names import GRID, in_order, is_size_only
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
        """One of each protocol with a finished grid, in the plan's order; the sizes alone too (`ald, size only`)."""
        order = [block.name for block in PLAN]
        found = [group for group in read_groups(self.store, "the study") if group.grids]
        return tuple(map(with_size_only, sorted(found, key=lambda group: order.index(block_name(group)))))

    @cached_property
    def searches(self) -> pd.DataFrame:
        """One row a search that ended: `block`, `dataset`, `searcher`, `seed`, `failed`, and as far as known

        loss: of the test ELBO against the grid of its seed, in parts of the gap. size, in_use, grid_size.
        cost: training FLOPs in full trainings of the largest size.
        within: whether the size is a right one (NaN where none is known).
        """
        rows = pd.concat([_rows(group) for group in self.groups], ignore_index=True)
        return rows.assign(log_ratio=np.log(rows["size"] / rows["grid_size"]))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The searchers with a model of their own, in the fixed order."""
        return tuple(in_order(_native(self.searches)["searcher"]))

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
        return len(_native(self.searches))

    def of(self, searcher: str, block: str | None = None) -> pd.DataFrame:
        """The finished searches of a method, in one block or in all, by block and seed."""
        rows = self.searches[(self.searches["searcher"] == searcher) & ~self.searches["failed"]]
        return rows if block is None else rows[rows["block"] == block].sort_values("seed")

    def over_datasets(self, searcher: str, column: str, of: Iterable[str] = ()) -> pd.Series[float]:
        """Means of a column by data set: of the seeds, then of its blocks. of: the data sets, all where empty."""
        rows = self.searches[self.searches["searcher"] == searcher]  # a failed one has a loss, and nothing else
        means = rows.groupby(["dataset", "block"])[column].mean().groupby("dataset").mean()
        return means[means.index.isin(list(of))] if of else means

    def loss_in(self, searcher: str, block: str) -> Effect:
        """A method's loss in one block, over its seeds; failed searches count as models without latents."""
        rows = self.searches[(self.searches["searcher"] == searcher) & (self.searches["block"] == block)]
        return effect(rows["loss"].dropna().tolist())

    def worst(self, searcher: str) -> tuple[str, float]:
        """The block in which a method loses most, and that loss."""
        losses = pd.Series({block: self.loss_in(searcher, block).mean for block in self.blocks})
        return str(losses.idxmax()), float(losses.max())

    def paired(self, column: str, searcher: str, other: str, block: str) -> list[tuple[float, float]]:
        """A column's values of two methods in a block, by seed, where both are there."""
        ours, theirs = (self.of(name, block).set_index("seed")[column] for name in (searcher, other))
        return list(pd.concat([ours, theirs], axis=1, join="inner").dropna().itertuples(index=False, name=None))

    def spread(self, searcher: str) -> float:
        """Standard deviation of log2(size) over the seeds of a block, pooled over the blocks with two seeds or more."""
        logs = self.of(searcher).assign(log=lambda rows: np.log2(rows["size"]))
        variances = logs.groupby("block")["log"].agg(["var", "count"]).dropna()
        free = variances["count"] - 1
        return float(np.sqrt((variances["var"] * free).sum() / free.sum()))

    @cached_property
    def by_loss(self) -> list[str]:
        """The methods by their mean loss over data sets."""
        return sorted(self.methods, key=lambda name: self.over_datasets(name, "loss").mean())

    def cost(self, searcher: str) -> float:
        """A search's training FLOPs in full trainings of the largest size, mean over data sets."""
        return float(self.over_datasets(searcher, "cost").mean())

    def size_ratio(self, searcher: str) -> float:
        """The method's size in units of the grid's: geometric mean over data sets."""
        return float(np.exp(self.over_datasets(searcher, "log_ratio").mean()))

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
            trials = self.group(block).trials
            smallest = trials.loc[trials["searcher"] == GRID, "latent_dim"].min()
            if (self.of(GRID, block)["size"] == smallest).mean() > 0.5:
                found.append(block)
        return found

    def loss_of_size(self, times: float) -> pd.Series[float]:
        """What the grid's training of so many times its chosen size loses against that, by data set.

        Of the sizes that it trained the nearest on a log scale, on the asked side of the chosen one; seeds without one
        (it chose the smallest) are left out. times = inf: the largest size.
        """
        found = []
        for block in self.blocks:
            group = self.group(block)
            trained = grid_trainings(group, ELBO.column, group.of(GRID, "done")["search_id"]) / -self.gap(block)
            grid = self.of(GRID, block).set_index("seed")["size"].to_dict()
            for seed, row in trained.to_dict("index").items():
                losses = {float(str(size)): loss for size, loss in row.items()}
                chosen = grid[seed]
                sizes = [size for size in losses if (size < chosen if times < 1 else size > chosen)]
                if sizes:
                    size = (
                        max(sizes) if times == np.inf else min(sizes, key=lambda s: abs(np.log(s / (times * chosen))))
                    )
                    loss = losses[size] - losses[chosen]
                    found.append({"dataset": group.dataset, "block": block, "loss": loss})
        rows = pd.DataFrame(found)
        means: pd.Series[float] = rows.groupby(["dataset", "block"])["loss"].mean().groupby("dataset").mean()
        return means

    def within(self, searcher: str) -> tuple[int, int]:
        """Of the searches on data with a known answer, how many found a right size, and how many there are."""
        rows = self.of(searcher)["within"].dropna()
        return int(rows.sum()), len(rows)

    def runs(self, planned: Block) -> dict[str, float]:
        """Of a planned block: searches `done` and `failed`, `methods` and `seeds` of those, `hours` that they took,

        `left` out, and the hours `to_go` that these are estimated to take (of training and scoring, one core).
        """
        n_planned = len(SEARCHERS) * len(planned.seeds)
        if planned.name not in self.blocks:
            empty = dict.fromkeys(("done", "failed", "methods", "seeds", "hours"), 0)
            return {**empty, "left": n_planned, "to_go": planned.hours * len(planned.seeds)}
        rows = _native(self.group(planned.name).searches)
        rows = rows[rows["status"].isin(["done", "failed"])]
        counts = {status: int((rows["status"] == status).sum()) for status in ("done", "failed")}
        counts |= {"methods": rows["searcher"].nunique(), "seeds": rows["seed"].nunique()}
        left = n_planned - len(rows)
        hours = float((rows["train_seconds"] + rows["eval_seconds"]).sum() / 3600)
        return {**counts, "hours": hours, "left": left, "to_go": planned.hours * left / len(SEARCHERS)}

    def failures(self) -> list[str]:
        """A line for each failed search, with its reason."""
        rows = self.store.searches()
        rows = rows[rows["status"] == "failed"]
        return [f"{row.protocol}, {row.searcher}, seed {row.seed}: {row.error}" for row in rows.itertuples()]

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


def _native(searches: pd.DataFrame) -> pd.DataFrame:
    """The searches themselves, without the scores of sizes alone."""
    return searches[~searches["searcher"].map(is_size_only)]


def _rows(group: Group) -> pd.DataFrame:
    rows = counted(group)
    losses = losses_of(group)
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
        }
    )
    low, high = (group.searches[column].max() for column in ("true_low", "true_high"))
    errors = signed_errors(found["size"], low, high)
    found["within"] = (errors == 0).astype(float).where(errors.notna())
    if losses is None:
        return found.assign(loss=np.nan, grid_size=np.nan)
    lost = {name: losses.against_grid(name) for name in map(str, losses.values)}
    found["loss"] = [lost[name].get(seed, np.nan) for name, seed in zip(found["searcher"], found["seed"], strict=True)]
    grid = found[(found["searcher"] == losses.grid) & ~found["failed"]].set_index("seed")["size"]
    return found.assign(grid_size=found["seed"].map(grid))


def sizes(values: Sequence[float] | pd.Series[float]) -> str:
    """`4`, or `3 to 5` where they differ."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
