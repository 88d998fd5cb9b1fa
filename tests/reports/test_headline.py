"""Headlines with known answers: who is best, who ties, what is too little to say so, and each against the grid."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from page_store import seeds
from report_frames import Row, group, search

from reports.analysis.analysis import analyse
from reports.analysis.headline import Headline, interval


def told(searches: list[Row]) -> Headline:
    return analyse([group(searches)]).groups[0].headline


def test_interval_is_students() -> None:
    found = interval(pd.Series([1.0, 2.0, 3.0, math.nan]))
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom at 97.5 %, sd 1
    assert (found.n, found.mean) == (3, 2.0)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert found.overlaps(interval(pd.Series([4.0, 4.0, 4.0])))
    assert not found.overlaps(interval(pd.Series([5.0, 5.0, 5.0])))
    assert found.overlaps(interval(pd.Series([9.0])))  # a single value has no interval to be apart


def test_sentences_against_the_grid() -> None:
    grid = seeds("grid", [20.0, 20.1, 20.2], (16, 16, 16))
    ald = seeds("ald", [22.1, 22.2, 22.3], (12, 14, 17), flops=2.1e9)
    near = seeds("tpe", [20.1, 20.2, 20.0], (9, 9, 9))
    sentences = dict(told([*grid, *ald, *near]).searchers)
    assert sentences["grid"] == "Grid found 16 latents in each of 3 seeds, for 10 GFLOP of training and 30 s of " + (
        "wall-clock a search."
    )
    assert sentences["ald"] == (
        "ALD found 14 latents (12–17 over 3 seeds) at 0.21x the grid’s training cost (FLOPs) and 1.00x its wall-clock; "
        "its test reconstruction NLL is 2.1 nats/image above the grid’s."
    )
    assert sentences["tpe"].endswith("its test reconstruction NLL is equal to the grid’s.")


def test_a_difference_within_the_spread_is_called_that() -> None:
    sentences = dict(told([*seeds("grid", [20.0, 21.0, 22.0]), *seeds("ald", [19.9, 21.0, 21.8])]).searchers)
    assert sentences["ald"].endswith("is 0.10 nats/image below the grid’s, which is within the seeds’ spread.")


@pytest.mark.parametrize(
    ("rows", "lead"),
    [
        ([search("ald", 0, "running"), search("grid", 0, "failed")], "No search has finished yet: nothing can be said"),
        (seeds("ald", [1.0, 1.0, 1.0]), "No two searchers have finished the same seed with test metrics"),
        (
            [*seeds("ald", [1.0, 1.0]), *seeds("grid", [2.0, 2.0])],
            "ALD has the lowest mean rank over the test metrics (1.1 of 2 searchers, 1 is best), but 2 seeds are too",
        ),
        (
            [*seeds("ald", [1.0]), *seeds("grid", [2.0])],
            "ALD has the lowest mean rank over the test metrics (1.1 of 2 searchers, 1 is best), but a single seed is",
        ),
        (
            [*seeds("grid", [1.0, 1.0, 1.0]), *seeds("ald", [2.0, 2.0, 2.0]), *seeds("tpe", [3.0, 3.0, 3.0])],
            "Grid has the best mean rank over the test metrics (1.2 of 3 searchers, 1 is best); the next is ALD (2.0), "
            "and their 95 % intervals over 3 seeds do not overlap.",
        ),
        (
            [*seeds("grid", [1.0, 2.0, 1.0]), *seeds("ald", [2.0, 1.0, 2.0], flops=5e9), search("tpe", 0, "failed")],
            "Grid and ALD tie for the best mean rank over the test metrics: the 95 % intervals over 3 seeds overlap. "
            "Of these ALD trains with the fewest FLOPs, at 0.50x the grid’s. Not ranked, for want of finished seeds",
        ),
    ],
)
def test_lead(rows: list[Row], lead: str) -> None:
    assert told(rows).lead.startswith(lead)


def test_troubles_are_said() -> None:
    rows = [
        *seeds("grid", [1.0, 1.0, 1.0]),
        *seeds("ald", [1.0]),
        search("tpe", 0, "running"),
        search("ald", 1, "failed"),
    ]
    blind = [search("sparsity", seed, test_recon_nll=math.nan) for seed in range(3)]
    found = told([*rows, *blind])
    sentences = dict(found.searchers)
    assert sentences["tpe"] == "TPE has no finished search (1 running)."
    assert sentences["sparsity"].endswith("; it has no test reconstruction NLL.")
    assert sentences["ald"].endswith("(too few seeds for a claim).")
    assert any(note.startswith("Some searches failed: ALD (1).") for note in found.notes)
    assert any(note.startswith("Some searches are still running: TPE (1).") for note in found.notes)
    assert any(note.startswith("Fewer than 3 finished seeds: tpe (0), ald (1).") for note in found.notes)
    assert "no finished grid search to compare it with" in dict(told(seeds("ald", [1.0])).searchers)["ald"]
