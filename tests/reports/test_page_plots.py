"""The page's plots: they agree with the figures' data, show text as it is, and look as the searchers do in print."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from page_store import seeds
from report_frames import Frames, assessed, epochs, group

from reports.data.groups import Group, read_groups
from reports.drawing.contrast import contrast, on_dark
from reports.drawing.style import _OTHER_COLORS, _OTHER_MARKERS
from reports.drawing.traces import MOST_POINTS, SYMBOLS, Choice, folded, json_text, numbers, plain, thinned
from reports.figures.learning import learning_data
from reports.figures.registry import GROUP_FIGURES
from reports.figures.regret import regret_data
from reports.figures.tradeoff import tradeoff_data
from reports.page.style import markers_svg
from searchers import SEARCHERS


def contents(figure: str, data: Any, most_runs: int = 60) -> dict[str, Any]:
    interactive = GROUP_FIGURES[figure].interactive
    assert interactive is not None
    return {choice.label: choice for choice in interactive(data, most_runs)}


@pytest.fixture(scope="module")
def compared() -> Group:
    rows = [*seeds("grid", [20.0, 21.0, 22.0], (4, 4, 8)), *seeds("ald", [22.0, math.nan], (12, 14), flops=2e9)]
    logged = [epoch for row in rows for epoch in epochs(row, [20, 10, int(row["latent_dim"])])]
    return group(rows, logged)


def test_tradeoff_plot_has_the_frames_points(compared: Group) -> None:
    data = tradeoff_data(compared)
    assert data is not None
    front, grid_seeds, grid_mean, ald_seed, ald_mean = contents("tradeoff", data)["reconstruction NLL"].data
    assert (grid_seeds["x"], grid_seeds["y"]) == ([10.0, 10.0, 10.0], [20.0, 21.0, 22.0])
    assert (grid_mean["x"], grid_mean["y"]) == ([10.0], [21.0])
    assert (ald_seed["x"], ald_seed["y"]) == ([2.0], [22.0])
    assert grid_seeds["text"][2] == "Grid, seed 2<br>latent size 8<br>digits-3fa2c19b77-grid-2"
    assert grid_mean["text"] == ["Grid, mean over seeds"]
    assert ald_mean["text"] == ald_seed["text"]  # under the large marker there is one search
    assert (front["x"], front["y"]) == ([2.0, 10.0], [22.0, 21.0])
    assert [trace["name"] for trace in (grid_mean, ald_mean)] == ["Grid", "ALD"]
    assert (grid_mean["meta"]["light"], ald_mean["marker"]["symbol"]) == ("#000000", "circle")


def test_regret_plot_names_each_searcher_in_its_row(compared: Group) -> None:
    rows = compared.searches.to_dict("records")
    trained = {2: {4: 19.0, 8: 21.0}, 3: {4: 20.0, 8: 22.0}, 4: {4: 21.0, 8: 23.0}}  # the grid's three, by size
    models = [assessed(rows[place], size, recon_nll=nll) for place, of in trained.items() for size, nll in of.items()]
    found = read_groups(Frames(rows, None, None, None, models), "results")[0]
    data = regret_data(found)
    assert data is not None
    choice = contents("regret", data)["reconstruction NLL"]
    assert choice.layout["yaxis"]["ticktext"] == ["Grid", "ALD"]
    grid_seeds, grid_mean, *ald = choice.data
    assert (grid_seeds["x"], grid_mean["x"]) == ([1.0, 1.0, 1.0], [1.0])  # each less its seed's training of size 4
    assert ald[0]["x"] == [3.0]  # 22 - 19; the other seed has no NLL
    assert all(0.5 < y < 1.5 for y in ald[0]["y"])


def test_learning_plot_has_means_and_runs(compared: Group) -> None:
    data = learning_data(compared)
    assert data is not None
    found = contents("learning", data)["reconstruction NLL"]
    sizes = [trace for trace in found.data if trace.get("yaxis") == "y2"]
    grid = [trace for trace in sizes if trace["legendgroup"] == "grid"]
    said = [(trace.get("hovertemplate", "").removesuffix("<extra></extra>"), trace["y"]) for trace in grid]
    epoch = "<br>epoch %{x}: %{y:.5~g}"
    runs = [
        f"Grid, seed {seed}<br>latent size {size}<br>digits-3fa2c19b77-grid-{seed}" for seed, size in ((0, 4), (2, 8))
    ]
    assert (runs[0] + epoch, [20.0, 10.0, 4.0]) in said
    assert (runs[1] + epoch, [20.0, 10.0, 8.0]) in said
    assert (f"Grid, mean of 3 seeds{epoch}", [20.0, 10.0, 5.3333]) in said
    assert all((trace["x0"], trace["dx"]) == (1.0, 1.0) for trace in grid)
    named = [trace["name"] for trace in found.data if trace["showlegend"]]
    assert named == ["Grid", "ALD"]  # once each, though every searcher has many lines


def test_few_runs_are_drawn_where_there_are_many(compared: Group) -> None:
    data = learning_data(compared)
    traces = contents("learning", data, most_runs=2)["reconstruction NLL"].data
    said = {trace["hovertemplate"].split("<br>")[0] for trace in traces if "hovertemplate" in trace}
    assert said == {"Grid, seed 0", "Grid, mean of 3 seeds", "ALD, seed 0", "ALD, mean of 2 seeds"}


def test_lines_are_thinned_to_their_ends() -> None:
    kept = thinned(pd.DataFrame({"epoch": range(1, 1001)}))["epoch"].tolist()
    assert (len(kept), kept[0], kept[-1]) == (MOST_POINTS, 1, 1000)
    assert len(thinned(pd.DataFrame({"epoch": range(7)}))) == 7
    assert numbers(pd.Series([1.234567, math.nan, np.inf])) == [1.2346, None, None]


def test_text_in_plots_and_json_is_inert() -> None:
    assert plain("<b>&lt;\n%{y}") == "&lt;b&gt;&amp;lt; &#37;{y}"
    assert folded("a" * 30).replace("<br>", "") == "a" * 30
    trace = {"name": "</script><!--\u2028&"}
    text = json_text([Choice("x", [trace], {}), Choice("y", [dict(trace)], {})])
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == {
        "traces": [trace],  # once
        "choices": [{"shown": [0], "layout": {}}, {"shown": [0], "layout": {}}],
    }


# ---- colours and markers


def test_colours_can_be_seen_on_both_themes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert on_dark("#000000") == "#ffffff"
    for color in [*(entry.colour for entry in SEARCHERS.values()), *_OTHER_COLORS]:
        assert contrast(on_dark(color), "#14171a") >= 3.0
    assert on_dark("#56b4e9") == "#56b4e9"  # no lighter than it has to be


def test_every_marker_is_drawn() -> None:
    markers = {entry.marker for entry in SEARCHERS.values()} | set(_OTHER_MARKERS)
    assert markers <= set(SYMBOLS)
    _, square = markers_svg(["grid"])["grid"]
    assert square == "M-1.000 1.000L1.000 1.000L1.000 -1.000L-1.000 -1.000Z"
    assert "C" in markers_svg(["ald"])["ald"][1]
