"""Claim files and stores of made-up searches that hold what they register."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config.protocol import load_protocol
from reports.claims.claim import Registered, read_claim
from reports.claims.evidence import BlockEvidence, Evidence, Search
from reports.claims.gather import conditions

Row = dict[str, Any]
SIZES = (2, 4, 8, 16, 32)
CURVE = {2: 0.6, 4: 0.3, 8: 0.0, 16: 0.05, 32: 0.1}  # the grid's loss at a size, in parts of the gap
NO_LATENTS, GAP = 30.0, 4.0
CLAIM = """
claim = "Sparsity is as good as the grid."
method = "sparsity"
rule = "smallest-good"
seeds = [0, 1, 2, 3, 4, 5]
"""
ONE_BLOCK = '\n[[blocks]]\nprotocol = "digits"\n'


def claim_file(folder: Path, text: str = CLAIM, blocks: str = ONE_BLOCK) -> Path:
    path = folder / "own.toml"
    path.write_text(text + blocks)
    return path


def registered(folder: Path, text: str = CLAIM, blocks: str = ONE_BLOCK) -> Registered:
    return read_claim(claim_file(folder, text, blocks))


class ClaimStore:
    """A store in memory: searches of a grid and a method, each with its trainings' test values."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.trainings: list[Row] = []
        self.tested: list[Row] = []

    def add(
        self, searcher: str, seed: int, loss: float, protocol: str = "digits", size: int = 8, **values: Any
    ) -> None:
        """A search whose chosen model loses `loss` parts of the gap to the grid's best size; values: its columns."""
        asked = load_protocol(protocol)
        row: Row = {
            **{"dataset": asked.dataset.name, "backbone": asked.backbone.name, "searcher": searcher, "seed": seed},
            **{"status": "done", "scale": 1.0, "epochs": asked.training.epochs, "protocol": asked.name},
            **{"data_fingerprint": "d1", "test_fid_features": "classifier:0123abcd", "execution": "sequential"},
            **{"latent_dim": size, "train_flops": 1e9 * size, "wall_seconds": 12.0, "no_latents_nll": NO_LATENTS},
            **{"rule": "smallest-good" if searcher == "grid" else "", "test_draws": 20},
            **{"test_elbo": -(NO_LATENTS - GAP + loss * GAP)},
            **{"env_latentbench": "0.3.0", "env_git_commit": "c0ffee" * 7},
        }
        row["test_iwae"] = row["test_elbo"] + 0.5
        planned = conditions(asked, (searcher,), pd.Series(row))
        assert planned is not None
        spec = planned[searcher]
        row |= {"protocol_hash": spec.protocol_hash, **{f"setting_{k}": str(v) for k, v in spec.settings.items()}}
        row["search_id"] = f"{protocol}-{searcher}-{seed}-{len(self.rows)}"
        row |= values
        if row["status"] == "failed":
            row |= {"test_elbo": math.nan, "test_iwae": math.nan, "latent_dim": None, "test_fid_features": None}
        self.rows.append(row)
        self._trials(row, loss)

    def _trials(self, row: Row, loss: float) -> None:
        grid = row["searcher"] == "grid"
        for trial, size in enumerate(SIZES if grid else (row["latent_dim"],)):
            elbo = -(NO_LATENTS - GAP + (CURVE[size] * GAP if grid else 0) + loss * GAP)
            keys = {"search_id": row["search_id"], "trial": trial}
            flops = 1e9 * (size or 1)
            self.trainings.append({**keys, "status": "done", "start_latent_dim": size, "train_flops": flops})
            for split in ("val", "test") if row["status"] == "done" else ():
                shift = 0.0 if split == "test" else 7.0
                values = {"elbo": elbo + shift, "iwae": elbo + 0.5 + shift if split == "test" else math.nan}
                self.tested.append({**keys, "split": split, "size": size, **values})

    def change(self, which: Callable[[Row], bool], **values: Any) -> None:
        for row in filter(which, self.rows):
            row |= values

    def searches(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def trials(self) -> pd.DataFrame:
        return pd.DataFrame(self.trainings)

    def curves(self) -> pd.DataFrame:
        return pd.DataFrame(self.tested)


def complete(losses: Sequence[float] = (0.01, -0.01, 0.0, 0.02, -0.02, 0.01), protocol: str = "digits") -> ClaimStore:
    """A store with both searchers in each seed; the grid's noise is its seed's, shared by all its trainings."""
    store = ClaimStore()
    for seed, loss in enumerate(losses):
        noise = 0.01 * math.sin(5 * seed)
        store.add("grid", seed, noise, protocol)
        store.add("sparsity", seed, noise + loss, protocol)
    return store


def evidence(
    losses: Mapping[tuple[str, str], Sequence[float]],
    sizes: Sequence[float] = (8,),
    flops: float = 1.0,
    controls: tuple[float, float] = (0.3, 0.2),
) -> Evidence:
    """Evidence made of losses by (block, data set) and seed, in parts of a gap of 2 nats.

    controls: the losses of the smallest size and of half the grid's; a little scattered over seeds.
    """
    blocks = []
    for number, ((name, dataset), values) in enumerate(losses.items()):
        method = {s: Search(10 + 2 * d, sizes[s % len(sizes)], flops, 1.0) for s, d in enumerate(values)}
        reference = {s: Search(10.0, 8, 5.0, 5.0) for s in method}
        scatter = {s: 0.01 * ((s + number) % 3) for s in method}
        trained = {
            s: {2: 10 + 2 * (controls[0] + x), 4: 10 + 2 * (controls[1] + x), 8: 10.0, 16: 10.1}
            for s, x in scatter.items()
        }
        blocks.append(BlockEvidence(name, dataset, "hash", 2.0, True, method, reference, trained, 1.0))
    return Evidence(tuple(blocks), True, (20,), 0, ("latentbench 0.3.0",))
