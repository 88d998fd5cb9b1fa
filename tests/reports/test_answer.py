"""The table of verdicts, and the sentences on how a group was measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from report_frames import Row, assessed, group, search

from reports.analysis.analysis import GroupAnalysis, analyse
from reports.analysis.answer import answer_rows
from reports.analysis.effects import Effect
from reports.analysis.verdicts import Verdict
from reports.data.measured import measured
from reports.page.tables import answer_table, searches_table

SENTENCE = "said elsewhere"


def rows_of(name: str, sizes: list[int], flops: float = 2.948e11, **values: Any) -> list[Row]:
    return [search(name, seed, latent_dim=size, train_flops=flops, **values) for seed, size in enumerate(sizes)]


def analysed(verdicts: list[Verdict]) -> GroupAnalysis:
    rows = rows_of("grid", [8, 16, 16], as_good=[8, 16, 24]) + rows_of("ald", [9, 9, 10], 1.2e11, as_good=[])
    rows += [*rows_of("tpe", [8, 8], 3e11), search("tpe", 2, "failed", error="x")]
    (of,) = analyse([group(rows)]).groups
    return replace(of, verdicts=tuple(verdicts))


def test_a_row_a_method_with_what_is_shown_and_its_cost() -> None:
    ald = Verdict("ald", Effect(3, 0.012, -0.021, 0.045), 3.2, 0, "equivalent", True, SENTENCE)
    tpe = Verdict("tpe", Effect(3, 0.4, math.nan, math.nan), 3.2, 1, "not shown", False, SENTENCE)
    found = {row.searcher: row for row in answer_rows(analysed([ald, tpe]))}
    assert list(found) == ["grid", "tpe", "ald"]
    grid = ("16 (8–16); 8–24 as good", "–", "–", "the measure", "295 GFLOP (1.00x)", "0 of 3")
    assert found["grid"].cells == grid and found["grid"].shown == ""
    shown = "loses less than 5 % of the gap: the cheapest of these"
    assert found["ald"].cells == ("9 (9–10)", "+0.04", "+1.2 % (−2.1 to 4.5 %)", shown, "120 GFLOP (0.41x)", "0 of 3")
    assert found["tpe"].cells == ("8", "+1.3", "+40 % (no interval)", "not shown", "300 GFLOP (1.02x)", "1 of 3")


def test_a_method_that_is_worse() -> None:
    table = answer_table(analysed([Verdict("ald", Effect(3, 0.2, 0.1, 0.3), 3.2, 0, "worse", False, SENTENCE)]))
    ((_, *grid), (method, *cells)) = table.rows
    assert (method.searcher, cells[1].text, cells[2].text) == ("ald", "+0.64", "+20 % (10 to 30 %)")
    assert (cells[3].text, cells[3].status, grid[3].status) == ("worse", "worse", "")


def test_larger_sizes_stand_beside_the_verdict() -> None:
    larger = Verdict("ald", Effect(3, 0.01, 0.0, 0.02), 3.2, 0, "equivalent", False, SENTENCE, size_ratio=3.03)
    (_, row) = answer_rows(analysed([larger]))
    assert row.cells[3] == "loses less than 5 % of the gap, with 3.0 times the grid’s latents"


def test_without_verdicts_there_is_no_table() -> None:
    assert answer_rows(analysed([])) == []
    assert answer_table(analysed([])).rows == ()


def test_how_it_was_measured() -> None:
    how = {"test_fid_images": 360, "test_fid_samples": 10_000, "test_draws": 50, "test_silhouette_noise": 0.1034}
    rows = [search("grid", seed, test_fid_real=11.62 + seed, **how) for seed in (0, 1)]
    fid, draws, noise = measured(group(rows, curves=[assessed(rows[0], 8)]))
    assert fid == (
        "FID on classifier features (360 real images; 10,000 samples of each model; training images in their place "
        "have 11.6 to 12.6). So few images make every FID too high: it compares within this table only."
    )
    assert draws.startswith("ELBO, NLL and errors: mean of 50 draws of z an image")
    assert "is 0.10;" in noise


def test_many_images_need_no_warning_and_old_results_say_what_they_lack() -> None:
    old = search("grid", 0, test_fid_images=5000, test_elbo=math.nan, test_iwae=math.nan)
    fid, absent = measured(group([old]))
    assert fid == "FID on classifier features (5,000 real images; what real images have is unknown)."
    assert absent == "No search has: ELBO; IWAE bound; quality against size."
    assert measured(group([search("grid", 0, "failed", error="x")])) == ()


def test_the_rule_and_the_digits_stand_where_the_size_does() -> None:
    rows = rows_of("grid", [8, 16], rule="smallest-good", test_elbo_error=0.02) + rows_of("ald", [9, 9])
    rows[0]["test_elbo"] = -23.98596
    found = group(rows)
    assert found.rules == ("Rule of choice among trainings: smallest-good (Grid).",)
    assert found.rules[0] in found.conditions
    table = searches_table([found])
    places = {column.heading: place for place, column in enumerate(table.columns)}
    assert [row[places["rule of choice"]].text for row in table.rows] == [*["smallest-good"] * 2, "–", "–"]
    assert table.rows[0][places["ELBO (nats/image) ↑"]].text == "-23.99"
    assert group(rows_of("ald", [9])).rules == ()
