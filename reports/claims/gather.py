"""From results folders to a claim's evidence; refuses results that do not hold what was registered."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd

from benchmark.config.protocol import LikelihoodName, Protocol
from benchmark.errors import InputError
from benchmark.suite.plan import SearchSpec, plan
from benchmark.text import features_kind
from reports.claims.claim import Registered, RegisteredBlock
from reports.claims.evidence import BlockEvidence, Evidence, Search, measured_gap
from reports.claims.stored import Frames, Store, read_frames
from reports.claims.wording import listed


def gather(registered: Registered, stores: Sequence[Store]) -> Evidence:
    """The evidence on a claim. Raises InputError, with the command that makes what is missing, where it is incomplete.

    Failed searches are evidence; what is not registered is left out and counted.
    """
    frames = read_frames(stores)
    found = [_Found.of(block, registered, frames) for block in registered.blocks]
    problems = [problem for one in found if (problem := one.problem())]
    if problems:
        more = f" (and so for {len(problems) - 1} more blocks)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
    rows = pd.concat([one.rows for one in found])
    n_ignored = len(frames.searches) - rows["search_id"].nunique()
    method = rows[(rows["searcher"] == registered.claim.method) & (rows["status"] == "done")]
    decides_by_itself = not (method["rule"] == registered.claim.rule).any()
    draws = tuple(sorted(set(rows["test_draws"].dropna().astype(int))))
    return Evidence(tuple(one.evidence() for one in found), decides_by_itself, draws, n_ignored, _versions(rows))


def conditions(protocol: Protocol, searchers: tuple[str, ...], row: pd.Series) -> dict[str, SearchSpec] | None:
    """The searches that the protocol plans for a row's data, FID features and likelihood; None for other features.

    A row of an earlier version has no likelihood, which was the default then.
    """
    asked = protocol.evaluation.features
    features, likelihood = row["test_fid_features"], row.get("likelihood")
    is_resolved = protocol.likelihood == "auto" and isinstance(likelihood, str) and likelihood != ""
    if asked != "auto" and features != asked and features_kind(features) != asked:
        return None
    epochs = protocol.training.epochs if protocol.training.batches is None else int(row["epochs"])
    resolved = replace(
        protocol,
        evaluation=replace(protocol.evaluation, features=features),
        training=replace(protocol.training, epochs=epochs),
        likelihood=cast(LikelihoodName, likelihood) if is_resolved else protocol.likelihood,
    )
    return {spec.searcher: spec for spec in plan(resolved, row["data_fingerprint"], searchers, (0,))}


@dataclass(frozen=True)
class _Found:
    """What the results hold of one block. near: its searchers' searches of these data, under whatever conditions.

    rows: the registered searches, each once.
    """

    block: RegisteredBlock
    registered: Registered
    frames: Frames
    near: pd.DataFrame
    rows: pd.DataFrame

    @classmethod
    def of(cls, block: RegisteredBlock, registered: Registered, frames: Frames) -> _Found:
        claim, searches = registered.claim, frames.searches
        searchers = (claim.reference, claim.method)
        near = searches[
            searches["dataset"].eq(block.protocol.dataset.name)
            & searches["searcher"].isin(searchers)
            & searches["seed"].isin(block.seeds)
        ].sort_values("execution", key=lambda column: column != "sequential", kind="stable")
        key = ["data_fingerprint", "test_fid_features", "epochs"]
        settings: dict[tuple[str, str], dict[str, str]] = {}  # by protocol hash and searcher
        for _, row in near[near["status"] == "done"].dropna(subset=["epochs"]).drop_duplicates(key).iterrows():
            for name, spec in (conditions(block.protocol, searchers, row) or {}).items():
                settings[spec.protocol_hash, name] = {k: str(value) for k, value in spec.settings.items()}
        fits = [settings.get((row["protocol_hash"], row["searcher"])) == row["settings"] for _, row in near.iterrows()]
        rows = near[np.array(fits, dtype=bool)].drop_duplicates(["protocol_hash", "searcher", "seed"])
        return cls(block, registered, frames, near, rows)

    def problem(self) -> str:
        """What speaks against a verdict on this block, with a remedy; empty where nothing does."""
        claim, hashes = self.registered.claim, sorted(set(self.rows["protocol_hash"]))
        if len(hashes) > 1:
            return (
                f"block {self.block.name}: its searches have protocol hashes {', '.join(hashes)} (other "
                "data, or other features of the FIDs); expected one: give results folders with one of them"
            )
        lacking = self._lacking()
        if lacking:
            reasons = dict.fromkeys(lacking.values())
            said = [self._said(reason, [key for key, why in lacking.items() if why == reason]) for reason in reasons]
            return f"block {self.block.name}: {'; '.join(said)}; run: {self._command(lacking)}"
        if all(search.failed for search in self._searches(claim.reference).values()):
            command = self._command((claim.reference, seed) for seed in self.block.seeds)
            return f"block {self.block.name}: all searches of {claim.reference} failed; see why, and run: {command}"
        if not self._gap() > 0:
            return (
                f"block {self.block.name}: latents are worth {self._gap():.3g} nats over none; expected above 0, as no "
                "model of the grid has learned: choose another protocol, or set the block's gap"
            )
        return ""

    def _command(self, keys: Iterable[tuple[str, int]]) -> str:
        """The command that makes these searches."""
        pairs = list(keys)
        searchers = " ".join(dict.fromkeys(searcher for searcher, _ in pairs))
        seeds = " ".join(map(str, sorted({seed for _, seed in pairs})))
        protocol = shlex.quote(self.block.argument)
        return f"latentbench run --protocol {protocol} --searchers {searchers} --seeds {seeds}"

    def _said(self, reason: str, keys: Iterable[tuple[str, int]]) -> str:
        by_searcher: dict[str, list[int]] = {}
        for searcher, seed in keys:
            by_searcher.setdefault(searcher, []).append(seed)
        named = [f"{name} (seed{'s' * (len(seeds) > 1)} {listed(seeds)})" for name, seeds in by_searcher.items()]
        verb, _, rest = reason.partition(" ")
        return f"{' and '.join(named)} {'are' if verb == 'is' and len(by_searcher) > 1 else verb} {rest}"

    def _lacking(self) -> dict[tuple[str, int], str]:
        """What is wrong with each registered search that is no evidence, by searcher and seed."""
        claim = self.registered.claim
        found = {(row["searcher"], int(row["seed"])): row for _, row in self.rows.iterrows()}
        lacking = {}
        for searcher in (claim.reference, claim.method):
            for seed in self.block.seeds:
                row = found.get((searcher, seed))
                reason = self._absent(searcher, seed) if row is None else self._unfit(row)
                if reason:
                    lacking[searcher, seed] = reason
        return lacking

    def _absent(self, searcher: str, seed: int) -> str:
        """Why there is no search of this kind, from the ones that are nearest to it."""
        near = self.near[(self.near["searcher"] == searcher) & (self.near["seed"] == seed)]
        same = near[near["backbone"] == self.block.protocol.backbone.name]
        if same.empty:
            return "is missing"
        if (same["scale"] < 1).all():
            return f"is there at scale {same['scale'].max():g} only, which is a smoke run"
        if (same["status"] == "running").all():
            return "is still running"
        if not (self.near["status"] == "done").any():
            return "has failed, and no search of the block is done"
        hashes = ", ".join(sorted(set(same["protocol_hash"])))
        return f"is there under other conditions or settings only (protocol hash {hashes})"

    def _unfit(self, row: pd.Series) -> str:
        claim = self.registered.claim
        if row["status"] == "running":
            return "is still running"
        if row["status"] != "done":
            return ""
        tests = self.frames.tests
        rows = tests[tests["search_id"] == row["search_id"]]
        if pd.isna(row["test_draws"]) or pd.isna(row["no_latents_nll"]) or rows.empty:
            return "lacks the test values of its trainings (an earlier version's; use a new results folder)"
        by_itself = row["searcher"] == claim.method and row["rule"] == ""  # it does not choose among trainings
        if row["rule"] != claim.rule and not by_itself:
            return f"chose by {row['rule'] or 'no rule'} in place of {claim.rule} (set it in the protocol)"
        return ""

    # --- the numbers, where there is no problem

    def evidence(self) -> BlockEvidence:
        """The block's numbers."""
        claim, block = self.registered.claim, self.block
        method, reference = self._searches(claim.method), self._searches(claim.reference)
        keys = (block.name, block.dataset, self.rows["protocol_hash"].iloc[0], self._gap(), block.gap is not None)
        return BlockEvidence(*keys, method, reference, self._trained(), self._full_flops())

    def _gap(self) -> float:
        if self.block.gap is not None:
            return self.block.gap
        no_latents = float(self.rows["no_latents_nll"].mean())
        return measured_gap(self._searches(self.registered.claim.reference), self._trained(), no_latents)

    def _searches(self, searcher: str) -> dict[int, Search]:
        metric = f"test_{self.registered.claim.metric}"
        rows = self.rows[self.rows["searcher"] == searcher]
        return {
            int(row["seed"]): Search(
                -row[metric] if row["status"] == "done" else float("nan"),
                row["latent_dim"],
                row["train_flops"],
                row["wall_seconds"],
            )
            for _, row in rows.iterrows()
        }

    def _reference_ids(self) -> dict[str, int]:
        rows = self.rows[self.rows["searcher"] == self.registered.claim.reference]
        return dict(zip(rows["search_id"], rows["seed"].astype(int), strict=True))

    def _trained(self) -> dict[int, dict[int, float]]:
        seeds, tests = self._reference_ids(), self.frames.tests
        rows = tests[tests["search_id"].isin(seeds)].dropna(subset=[self.registered.claim.metric, "size"])
        trained: dict[int, dict[int, float]] = {}
        for _, row in rows.iterrows():
            values = trained.setdefault(seeds[row["search_id"]], {})
            values[int(row["size"])] = -float(row[self.registered.claim.metric])
        return trained

    def _full_flops(self) -> float:
        trials = self.frames.trials
        rows = trials[trials["search_id"].isin(self._reference_ids())]
        largest = rows[rows["start_latent_dim"] == rows["start_latent_dim"].max()]
        return float(largest["train_flops"].median())


def _versions(rows: pd.DataFrame) -> tuple[str, ...]:
    """The versions that made the searches: `latentbench 0.3.0 (commit 0123456789)`."""
    pairs = sorted(set(zip(rows["env_latentbench"], rows["env_git_commit"], strict=True)))
    return tuple(
        f"latentbench {version or 'of an unknown version'}" + (f" (commit {commit[:10]})" if commit else "")
        for version, commit in pairs
    )
