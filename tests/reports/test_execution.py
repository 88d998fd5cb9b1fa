"""Searches of one searcher that were executed in different ways: told apart, and compared by what compares."""

from __future__ import annotations

import math
from typing import Any

import pytest
from report_frames import Row, assessed, epochs, group, search

from reports.analysis.analysis import analyse
from reports.analysis.comparison import ratio_or_dash
from reports.data.names import in_order, label, parts
from reports.data.quantities import TRAIN_FLOPS, WALL_SECONDS
from reports.drawing.style import searcher_style, searcher_styles
from reports.figures.anytime import anytime_data
from reports.figures.cost import cost_data
from reports.figures.regret import regret_data
from reports.tables.latex.comparison import comparison_latex
from reports.tables.markdown import comparison_page


def executed(searcher: str, execution: str, seed: int = 0, **values: Any) -> Row:
    row = search(searcher, seed, execution=execution, **values)
    return {**row, "search_id": f"{row['search_id']}-{execution}"}


ROWS = [
    row
    for seed in range(3)
    for row in (
        executed("grid", "sequential", seed, wall_seconds=100.0, train_flops=1e10),
        executed("grid", "stacked", seed, wall_seconds=40.0, train_flops=1e10),
        executed("random", "stacked", seed, wall_seconds=20.0, train_flops=5e9),
        executed("ald", "sequential", seed, wall_seconds=10.0, train_flops=2e9),
        executed("random", "spread", seed, wall_seconds=5.0, train_flops=5e9),
    )
]


def test_names_take_apart_what_they_are_made_of() -> None:
    assert parts("ald@100 (stacked)") == ("ald", "100", "stacked")
    assert parts("grid") == ("grid", "", "sequential")
    assert label("grid (stacked)") == "Grid (stacked)" and label("my.own:Thing (spread)") == "own:Thing (spread)"
    assert parts("my.own:<img (x) y>").base == "my.own:<img (x) y>"
    names = ["random", "grid (stacked)", "ald@80 (spread)", "grid", "ald@80"]
    assert in_order(names) == ["grid", "grid (stacked)", "random", "ald@80", "ald@80 (spread)"]


def test_an_execution_has_its_searchers_look_with_other_dashes() -> None:
    styles = searcher_styles(["grid", "grid (stacked)"])
    assert searcher_style("grid (stacked)").color == searcher_style("grid").color
    assert styles["grid"].linestyle == "-" and styles["grid (stacked)"].linestyle != "-"


def test_times_compare_within_an_execution_and_counts_across() -> None:
    analysis = analyse([group(ROWS)])
    rows = analysis.comparison.set_index("searcher", drop=False)
    times, flops = rows["wall_seconds_vs_grid"], rows["train_flops_vs_grid"]
    assert times.drop("random (spread)").to_dict() == {
        **{"grid": 1.0, "grid (stacked)": 1.0, "random (stacked)": 0.5, "ald": 0.1}
    }
    assert math.isnan(times["random (spread)"])
    assert flops.to_dict() == {
        **{"grid": 1.0, "grid (stacked)": 1.0, "random (stacked)": 0.5, "random (spread)": 0.5, "ald": 0.2}
    }
    assert ratio_or_dash(rows.loc["random (spread)"], WALL_SECONDS) == "–"
    assert ratio_or_dash(rows.loc["random (spread)"], TRAIN_FLOPS) == "0.50x"
    (of,) = analysis.groups
    note = next(note for note in of.cautions if note.startswith("Searches were executed in different ways"))
    assert "(sequential, stacked, spread)" in note and note.endswith("multiple of its times: Random (spread).")
    assert "(–)" not in comparison_page(analysis)
    assert r"Grid (stacked)" in comparison_latex(of)
    told = dict(of.headline.searchers)
    assert "at 0.50x the grid’s training FLOPs and 0.50x its wall-clock." in told["random (stacked)"]
    assert "at 0.50x the grid’s training FLOPs." in told["random (spread)"]


def test_one_execution_needs_no_word() -> None:
    for execution in ("sequential", "stacked", None):
        found = group([executed(name, execution, seed) for name in ("grid", "ald") for seed in range(6)])
        (of,) = analyse([found]).groups
        assert not of.cautions and set(of.rows["wall_seconds_vs_grid"]) == {1.0}


@pytest.mark.parametrize("first", ["sequential", "stacked"])
def test_regret_is_against_the_sequential_grid_or_else_any(first: str) -> None:
    rows = [
        executed(name, kind, n, test_elbo=-7.0)
        for n in (0, 1)
        for name, kind in (("grid", "stacked"), ("ald", "sequential"))
    ]
    rows += [executed("grid", "sequential", n, test_elbo=-7.0) for n in (0, 1)] if first == "sequential" else []
    best = {"sequential": 3.0, "stacked": 2.0}
    curves = [assessed(row, 8, elbo=-best[row["execution"]]) for row in rows if row["searcher"] == "grid"]
    data = regret_data(group(rows, curves=curves))
    assert data is not None
    marks = data.marks[(data.marks["metric"] == "ELBO (nats/image)") & (data.marks["mark"] == "mean")]
    assert marks.set_index("searcher")["regret"]["ald"] == 7.0 - best[first]


def test_figures_tell_executions_apart_and_say_that_times_do_not_compare() -> None:
    logged = [one | {"train_flops": 1e9, "wall_seconds": 5.0} for row in ROWS for one in epochs(row, [8] * 6)]
    rows = [{**row, "no_latents_nll": 9.0} for row in ROWS]
    curves = [assessed(row, 8, split=split) for row in ROWS for split in ("val", "test")]
    found = group(rows, logged, curves=curves)
    data = anytime_data(found)
    assert data is not None
    assert set(data.marks["searcher"]) == {"grid", "grid (stacked)", "random (stacked)", "random (spread)", "ald"}
    for notes in (data.notes, cost_data(found).notes):
        assert any("executed in different ways (sequential, stacked, spread)" in note for note in notes)


def test_the_space_is_said_where_it_is_known() -> None:
    found = group([search("grid", space="2..64: 4, 8, 16"), search("ald", space="2..64: 4, 8, 16")])
    assert found.space == (
        "Sizes to choose from: 2..64: 4, 8, 16 (regret and ranks compare searches of the same sizes only).",
    )
    assert found.space[0] in found.conditions and found.space[0] in comparison_page(analyse([found]))
    assert group([search("grid")]).space == ()
