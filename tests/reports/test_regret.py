"""Regret against the grid: differences known by hand, seeds without a grid, missing values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from fits import assert_fits
from report_frames import Frames, Row, search

from reports.analysis.stats import mean_interval
from reports.data.groups import read_groups
from reports.data.quantities import PANEL_METRICS
from reports.drawing.base import Marks
from reports.drawing.style import paper_style
from reports.figures.regret import draw_regret, regret_data

_, _, SILHOUETTE, NLL = (metric.heading("classifier") for metric in PANEL_METRICS)


def trial(of: Row, number: int, nll: float, silhouette: float = 0.0, fid: float = 1.0) -> Row:
    keys = {key: of[key] for key in ("search_id", "dataset", "backbone", "searcher", "seed")}
    return {**keys, "trial": number, "recon_nll": nll, "silhouette": silhouette, "fid_recon": fid, "fid_gen": fid}


def regret(searches: list[Row], trials: list[Row]) -> Marks | None:
    (found,) = read_groups(Frames(searches, trials=trials), "results")
    return regret_data(found)


def by_hand() -> Marks:
    grid = [search("grid", seed, chosen_trial=1) for seed in (0, 1)]
    ald = [search("ald", seed, latent_dim=9) for seed in (0, 1)]
    trials = [
        *(trial(grid[0], 0, 20.0, 0.5), trial(grid[0], 1, 22.0, 0.4), trial(grid[0], 2, 25.0, 0.1)),
        *(trial(grid[1], 0, 30.0, 0.2), trial(grid[1], 1, 29.0, 0.6)),
        *(trial(ald[0], 0, 21.5, 0.45), trial(ald[1], 0, 27.0, 0.9)),
    ]
    data = regret([*grid, *ald], trials)
    assert data is not None
    return data


def values(frame: pd.DataFrame, metric: str, mark: str) -> dict[str, list[float]]:
    rows = frame[(frame["metric"] == metric) & (frame["mark"] == mark)]
    return {str(searcher): own["regret"].tolist() for searcher, own in rows.groupby("searcher")}


def test_regret_known_by_hand() -> None:
    frame = by_hand().frame()
    assert values(frame, NLL, "seed") == {"grid": [2.0, 0.0], "ald": [1.5, -2.0]}
    assert values(frame, NLL, "mean") == {"grid": [1.0], "ald": [-0.25]}
    silhouette = values(frame, SILHOUETTE, "seed")
    assert silhouette["grid"] == pytest.approx([0.1, 0.0])
    assert silhouette["ald"] == pytest.approx([0.05, -0.3])
    ald = frame[(frame["searcher"] == "ald") & (frame["mark"] == "seed")]
    assert set(ald["seed"]) == {0, 1}
    assert set(ald["latent_dim"]) == {9}


def test_the_grid_itself_has_no_negative_regret() -> None:
    generator = np.random.default_rng(0)
    searches = [search("grid", seed, chosen_trial=int(generator.integers(5))) for seed in range(20)]
    trials = [trial(row, n, *generator.normal(size=3)) for row in searches for n in range(5)]
    data = regret(searches, trials)
    assert data is not None
    found = data.frame()["regret"]
    assert (found >= 0).all() and (found > 0).any() and (found == 0).any()


def test_an_interval_needs_three_seeds() -> None:
    assert by_hand().frame()["low"].isna().all()
    searches = [search(name, seed) for name in ("grid", "ald") for seed in range(3)]
    nll = {"grid": [1.0, 1.0, 1.0], "ald": [2.0, 3.0, 7.0]}
    data = regret(searches, [trial(row, 0, nll[row["searcher"]][row["seed"]]) for row in searches])
    assert data is not None
    frame = data.frame()
    mean = frame[(frame["metric"] == NLL) & (frame["mark"] == "mean") & (frame["searcher"] == "ald")].iloc[0]
    assert mean["regret"] == 3.0
    assert (mean["low"], mean["high"]) == mean_interval([1.0, 2.0, 6.0])
    assert mean["low"] < 3 < mean["high"]


def test_seeds_without_a_grid_are_named() -> None:
    searches = [search("grid", 0), search("grid", 1, "failed"), *(search("ald", seed) for seed in range(3))]
    data = regret(searches, [trial(row, 0, 5.0) for row in searches])
    assert data is not None
    assert values(data.frame(), NLL, "seed") == {"grid": [0.0], "ald": [0.0]}
    assert "Not drawn, without a finished grid of their seed: ALD (2)." in data.notes
    assert "Not drawn, failed: Grid (1)." in data.notes


def test_missing_values_are_named() -> None:
    searches = [search(name, seed) for name in ("grid", "ald", "tpe") for seed in (0, 1)]
    searches += [search("sparsity", 0, "running")]
    trials = [trial(row, 0, 5.0) for row in searches if row["searcher"] != "tpe"]
    trials[0]["silhouette"] = math.nan  # the grid's, seed 0
    trials[3]["recon_nll"] = math.inf  # ald's, seed 1
    data = regret(searches, trials)
    assert data is not None
    assert values(data.frame(), SILHOUETTE, "seed") == {"grid": [0.0], "ald": [0.0]}
    assert values(data.frame(), NLL, "seed") == {"grid": [0.0, 0.0], "ald": [0.0]}
    assert "Without silhouette, their own or their grid's: Grid (1), TPE (2), ALD (1)." in data.notes
    assert "Without reconstruction NLL, their own or their grid's: TPE (2), ALD (1)." in data.notes
    panel = draw_regret(data).axes[0]
    assert [text.get_text() for text in panel.texts] == ["no value", "no value"]
    assert [text.get_position()[1] for text in panel.texts] == [data.searchers.index(n) for n in ("tpe", "sparsity")]


def test_a_training_of_the_grid_without_a_value_is_not_its_best() -> None:
    searches = [search("grid"), search("ald")]
    trials = [trial(searches[0], 0, 5.0), trial(searches[0], 1, math.nan), trial(searches[1], 0, 6.0)]
    data = regret(searches, trials)
    assert data is not None
    assert values(data.frame(), NLL, "seed") == {"grid": [0.0], "ald": [1.0]}


def test_a_metric_that_nobody_has_leaves_its_panel_empty() -> None:
    searches = [search("grid"), search("ald")]
    data = regret(searches, [trial(row, 0, 1.0, math.nan) for row in searches])
    assert data is not None
    assert values(data.frame(), SILHOUETTE, "seed") == {}
    assert [text.get_text() for text in draw_regret(data).axes[2].texts] == ["no value", "no value"]


def test_nothing_without_a_finished_grid() -> None:
    searches = [search("grid", 0, "running"), search("ald")]
    assert regret(searches, [trial(row, 0, 1.0) for row in searches]) is None
    assert regret([search("grid")], []) is None


def test_dots_and_means_are_drawn_where_the_frame_says() -> None:
    data = by_hand()
    panel = draw_regret(data).axes[3]
    drawn = [line.get_xdata().tolist() for line in panel.lines if line.get_marker() in "so"]
    assert drawn == [[2.0, 0.0], [1.5, -2.0]]
    assert [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "|"] == [1.0, -0.25]


def test_seven_searchers_with_long_names_fit() -> None:
    names = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    searches = [search(name, seed) for name in names for seed in range(3)] + [search("ald", 3, "failed")]
    generator = np.random.default_rng(0)
    with paper_style():
        data = regret(searches, [trial(row, 0, *generator.normal(size=3)) for row in searches])
        assert data is not None
        assert_fits(draw_regret(data))
