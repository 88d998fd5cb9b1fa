"""Chosen sizes against those that are right, in the frame, its CSV file and the page's table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from report_frames import Frames, Row, group, search, write_store

from benchmark.store import ResultsStore
from reports.analysis.analysis import analyse
from reports.data.groups import read_groups
from reports.data.truth import signed_errors, truth
from reports.page.tables import truth_table

KNOWN = {"true_low": 4, "true_high": 6, "space_high": 16}


def known(name: str, seed: int, size: int, **values: Any) -> Row:
    return search(name, seed, latent_dim=size, **{**KNOWN, **values})


def test_errors_are_signed_and_0_inside() -> None:
    errors = signed_errors(pd.Series([2.0, 4.0, 5.0, 6.0, 9.0]), 4, 6)
    assert errors.tolist() == [-2, 0, 0, 0, 3]


def test_a_row_a_searcher() -> None:
    rows = [known("grid", seed, size, settled=seed != 2) for seed, size in enumerate([2, 5, 8])]
    rows += [known("ald", 0, 4, test_active_units=1), search("ald", 1, "failed", error="x")]  # failed before the data
    rows += [search("tpe", 0, "running", **KNOWN)]
    table = truth([group(rows)]).set_index("searcher")
    grid, ald, tpe = (table.loc[name] for name in ("grid", "ald", "tpe"))
    assert grid["group"] == "digits, mlp" and (grid["true_low"], grid["true_high"]) == (4, 6)
    assert (grid["n_within"], grid["error_mean"], grid["n_unsettled"]) == (1, 0, 1)  # -2, 0 and 2
    assert (grid["latent_dim_median"], grid["latent_dim_min"], grid["latent_dim_max"]) == (5, 2, 8)
    assert (ald["n_within"], ald["n_done"], ald["n_failed"], ald["n_doubted"]) == (1, 1, 1, 1)
    assert (tpe["n_running"], tpe["n_within"]) == (1, 0) and math.isnan(tpe["error_mean"])
    shown = {row[1].text: [cell.text for cell in row[2:]] for row in truth_table(table.reset_index()).rows}
    assert shown["Grid"] == ["4–6", "5 (2–8)", "0", "1 of 3", "1 of 3", "–", "1 not settled"]
    assert shown["ALD"] == ["4–6", "4", "0", "1 of 2", "1 of 1", "–", "1 failed"]
    assert shown["TPE"] == ["4–6", "–", "–", "0 of 0", "0 of 0", "–", "1 running"]


def test_the_drift_with_the_start() -> None:
    """From 16, the space's largest, 7 and 8 latents; from 8 they are 5 and 5; seed 2 has one start only."""
    sizes = {"ard": [7, 8, 9], "ard@8": [5, 5]}
    starts = {"ard": "None", "ard@8": "8"}
    rows = [
        known(name, seed, size, setting_start_latent_dim=starts[name])
        for name, found in sizes.items()
        for seed, size in enumerate(found)
    ]
    table = truth([group([*rows, known("grid", 0, 4)])]).set_index("searcher")
    assert table.loc["ard", "start_drift"] == table.loc["ard@8", "start_drift"] == 2.5
    assert math.isnan(table.loc["grid", "start_drift"])
    other = [{**row, "searcher": "ard@soft", "setting_share": 0.5} for row in rows if row["searcher"] == "ard@8"]
    table = truth([group([*rows, *other])]).set_index("searcher")
    assert table.loc["ard", "start_drift"] == 2.5 and math.isnan(table.loc["ard@soft", "start_drift"])
    assert math.isnan(truth([group(rows[:3])])["start_drift"].item())


def test_data_without_a_known_answer_have_no_row() -> None:
    rows = [search("grid"), known("grid", 0, 4, dataset="torus", protocol_hash="bb")]
    found = analyse(read_groups(Frames(rows), "results")).truth
    assert found["group"].tolist() == ["torus, mlp"]
    assert analyse([group([search("grid")])]).truth.empty


def test_the_store_reads_what_a_search_wrote(tmp_path: Path) -> None:
    write_store(tmp_path, [known("grid", 0, 4), search("ald")], [])
    frame = ResultsStore(tmp_path).searches().set_index("searcher")
    assert frame.loc["grid", ["true_low", "true_high"]].tolist() == [4, 6]
    assert frame.loc["ald", ["true_low", "true_high"]].isna().all()
