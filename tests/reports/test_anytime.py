"""The best mean rank so far: candidates, ranks, costs and mean curves known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fits import assert_fits
from report_frames import Row, epochs, group, search

from reports.analysis.stats import mean_interval
from reports.data.groups import Group
from reports.drawing.base import Marks
from reports.drawing.style import paper_style
from reports.figures.anytime import anytime_data, candidates, draw_anytime

FLOPS, SECONDS = "training FLOPs", "wall-clock (s)"


def training(of: Row, values: list[float], trial: int = 0, begin: float = 0.0, flops: float = 1.0) -> list[Row]:
    """A training whose four metrics all rank its epochs as `values` do (lower is better); an epoch costs a FLOP.

    begin: wall-clock at its start; an epoch takes 10 s.
    """
    rows = epochs(of, [8] * len(values), trial)
    for n, (row, value) in enumerate(zip(rows, values, strict=True), start=1):
        row.update(dict.fromkeys(("recon_nll", "fid_recon", "fid_gen"), value), silhouette=-value)
        row.update(train_flops=flops * n, wall_seconds=begin + 10.0 * n)
    return rows


def ranked(found: Group, search_id: str) -> list[float]:
    done = found.searches[found.searches["status"] == "done"]
    rows = candidates(done, found.epochs)
    return rows.loc[rows["search_id"] == search_id, "mean_rank"].tolist()


def curve(data: Marks | None, searcher: str, axis: str = FLOPS, line: str = "seed") -> list[list[float]]:
    assert data is not None
    frame = data.frame()
    rows = frame[(frame["searcher"] == searcher) & (frame["axis"] == axis) & (frame["line"] == line)]
    return rows[["cost", "best_rank"]].values.tolist()


def by_hand() -> tuple[list[Row], list[Row]]:
    """Candidates' means: grid 10, 8 and 4, 6; ald 9, 7; geco 3, after a baseline that is not one."""
    grid = search("grid", pareto=[0, 1], chosen_trial=1, train_flops=4.0, wall_seconds=45.0)
    ald = search("ald", pareto=[], train_flops=2.0, wall_seconds=21.0)
    geco = search("geco-l0arm", pareto=[], chosen_trial=1, train_flops=11.0, wall_seconds=70.0)
    logged = [
        *(*training(grid, [10.0, 6.0]), *training(grid, [4.0, 8.0], 1, begin=20.0)),
        *training(ald, [9.0, 5.0]),
        *(*training(geco, [0.0] * 5, flops=2.0), *training(geco, [3.0], 1, begin=50.0)),
    ]
    return [grid, ald, geco], logged


def test_curves_known_by_hand() -> None:
    data = anytime_data(group(*by_hand()))
    assert curve(data, "grid") == [[1, 1], [2, pytest.approx(4 / 6)], *[[c, pytest.approx(1 / 6)] for c in (3, 4)]]
    assert curve(data, "ald") == [[1, pytest.approx(5 / 6)], [2, 0.5]]
    assert curve(data, "geco-l0arm") == [[11, 0]]  # its baseline cost 10 before the first candidate


def test_wall_clock_ends_with_the_search() -> None:
    data = anytime_data(group(*by_hand()))
    assert [cost for cost, _ in curve(data, "grid", SECONDS)] == [10, 20, 30, 45]
    assert [cost for cost, _ in curve(data, "geco-l0arm", SECONDS)] == [60, 70]


def test_trainings_that_overlap_in_time_are_in_the_order_of_the_clock() -> None:
    """Of a spread search all trainings begin together: the best so far never gets worse."""
    own = search("grid", pareto=[0, 1], chosen_trial=0, wall_seconds=40.0, train_flops=6.0)
    logged = [*training(own, [9.0, 7.0, 1.0]), *training(own, [5.0, 2.0, 2.0], 1, begin=5.0)]
    assert [row["wall_seconds"] for row in logged] == [10, 20, 30, 15, 25, 35]
    data = anytime_data(group([own], logged))
    # The candidates' means are 9, 8, 17/3 and 5, 3.5, 3, so their ranks 1, 0.8, 0.6 and 0.4, 0.2, 0.
    assert curve(data, "grid", SECONDS) == [
        [c, pytest.approx(r)] for c, r in ((10, 1), (15, 0.4), (25, 0.2), (35, 0), (40, 0))
    ]
    assert curve(data, "grid", FLOPS) == [
        [c, pytest.approx(r)] for c, r in ((1, 1), (2, 0.8), (3, 0.6), (4, 0.4), (5, 0.2), (6, 0))
    ]


def test_a_cost_is_unknown_after_a_training_of_unknown_cost() -> None:
    searches, logged = by_hand()
    for row in logged:
        if row["searcher"] == "geco-l0arm" and row["trial"] == 0:
            row["train_flops"] = math.nan
    data = anytime_data(group(searches, logged))
    assert curve(data, "geco-l0arm") == []
    assert len(curve(data, "geco-l0arm", SECONDS)) == 2


def test_only_the_chosen_training_of_a_search_without_a_front_is_a_candidate() -> None:
    own = search("mine:Search", chosen_trial=1, train_flops=6.0)
    logged = [*training(own, [1.0, 1.0]), *training(own, [5.0, 1.0], 1), *training(own, [1.0, 1.0], 2)]
    assert curve(anytime_data(group([own], logged)), "mine:Search") == [[3, 1], [4, 0], [6, 0]]


def test_a_value_is_the_mean_of_the_last_five_epochs_of_its_training() -> None:
    generator = np.random.default_rng(0)
    one = search("grid", pareto=[0])
    values = generator.normal(size=(2, 9))
    logged = [row for n in range(2) for row in training(one, values[n].tolist(), n)]
    means = np.array([[values[n, max(0, k - 4) : k + 1].mean() for k in range(9)] for n in range(2)]).ravel()
    expected = np.argsort(np.argsort(means)) / 17
    assert ranked(group([one], logged), one["search_id"]) == pytest.approx(expected)


def test_metrics_are_ranked_apart_and_averaged() -> None:
    one, two = search("ald"), search("sparsity")
    first, second = training(one, [1.0])[0], training(two, [2.0])[0]
    first["fid_gen"], second["fid_gen"] = 5.0, 4.0
    found = group([one, two], [first, second])
    assert ranked(found, one["search_id"]) == [0.25]  # best in three metrics, worst in one
    assert ranked(found, two["search_id"]) == [0.75]


def test_ties_share_their_rank_and_one_candidate_is_the_best() -> None:
    one, two = search("ald"), search("sparsity")
    found = group([one, two], [*training(one, [2.0, 2.0]), *training(two, [2.0])])
    assert ranked(found, one["search_id"]) == [0.5, 0.5]
    assert ranked(group([one], training(one, [2.0])), one["search_id"]) == [0.0]


def test_nan_ranks_last_and_a_metric_that_nobody_has_does_not_count() -> None:
    one, two = search("ald"), search("sparsity")
    logged = [*training(one, [1.0, math.nan, 1.0]), *training(two, [3.0, 3.0])]
    for row in logged:
        row["silhouette"] = math.nan
    found = group([one, two], logged)
    assert ranked(found, one["search_id"]) == [0.0, 3.5 / 4, 3.5 / 4]  # a NaN stays in the mean for five epochs
    assert ranked(found, two["search_id"]) == [1.5 / 4, 1.5 / 4]


def test_seeds_are_ranked_apart() -> None:
    searches = [search(name, seed) for name in ("ald", "sparsity") for seed in (0, 1)]
    logged = [row for k, one in enumerate(searches) for row in training(one, [[1.0], [100.0], [2.0], [50.0]][k])]
    found = group(searches, logged)
    assert [ranked(found, one["search_id"]) for one in searches] == [[0.0], [1.0], [1.0], [0.0]]


def seeds(n: int) -> tuple[list[Row], list[Row]]:
    """Grid searches of which the first has values 3, 2, 1 (ranks 1, 0.5, 0), the others 1, 1, 4 at twice the cost."""
    searches = [search("grid", s, pareto=[0, 1, 2], train_flops=3.0 + 3.0 * (s > 0)) for s in range(n)]
    logged = []
    for one in searches:
        values = [1.0, 1.0, 4.0] if one["seed"] else [3.0, 2.0, 1.0]
        logged += [row for k, v in enumerate(values) for row in training(one, [v], k, flops=1.0 + (one["seed"] > 0))]
    return searches, logged


def test_the_mean_starts_where_all_have_a_candidate_and_keeps_what_has_ended() -> None:
    data = anytime_data(group(*seeds(2)))
    # Steps at 1, 2, 3 (1, 0.5, 0; ends at 3) and at 2 (0.25; ends at 6).
    assert curve(data, "grid", line="mean") == [[2, 0.375], [3, 0.125], [6, 0.125]]
    assert data is not None
    frame = data.frame()
    assert set(frame["line"]) == {"mean", "seed"}  # two seeds have no interval, so that each is drawn
    assert frame["low"].isna().all()


def test_from_three_seeds_on_the_mean_has_an_interval_and_stands_alone() -> None:
    data = anytime_data(group(*seeds(4)))
    assert data is not None
    frame = data.frame()
    assert set(frame["line"]) == {"mean"}
    assert set(frame["n"]) == {4}
    start = frame[frame["axis"] == FLOPS].iloc[0]
    assert (start["cost"], start["best_rank"]) == (2, (0.5 + 3 * 0.25) / 4)
    assert (start["low"], start["high"]) == mean_interval([0.5, 0.25, 0.25, 0.25])
    assert start["low"] < start["high"]


def test_a_long_mean_curve_is_thinned_to_its_ends() -> None:
    searches = [search("grid", seed, pareto=[0], train_flops=500.0) for seed in range(3)]
    logged = [row for one in searches for row in training(one, np.linspace(9, 1, 400).tolist())]
    mean = curve(anytime_data(group(searches, logged)), "grid", line="mean")
    assert len(mean) <= 100
    assert (mean[0], mean[-1]) == ([1, 1], [500, 0])


def test_searches_without_a_curve_are_named() -> None:
    searches = [search("grid", 0), search("ald", 0), search("ald", 1, "failed"), search("tpe", 0, "running")]
    searches += [search("sparsity", 0)]
    logged = [*training(searches[0], [1.0]), *training(searches[2], [0.5]), *training(searches[3], [0.5])]
    unmetered = training(searches[4], [2.0])
    for row in unmetered:
        row["train_flops"] = math.nan
    data = anytime_data(group(searches, logged + unmetered))
    assert data is not None
    assert data.notes == (
        "Not drawn, failed: ALD (1).",
        "Not drawn, running: TPE (1).",
        "Finished without ranked epochs or their training FLOPs: ALD (1), Sparsity (1).",
        "Finished without ranked epochs or their wall-clock: ALD (1).",
    )
    frame = data.frame()
    assert set(frame.loc[frame["axis"] == SECONDS, "searcher"]) == {"grid", "sparsity"}
    assert set(frame.loc[frame["axis"] == FLOPS, "searcher"]) == {"grid"}


def test_nothing_to_show() -> None:
    running, done = search("grid", 0, "running"), search("ald")
    assert anytime_data(group([running], training(running, [1.0]))) is None
    assert anytime_data(group([done])) is None
    assert anytime_data(group([done], training(done, [math.nan]))) is None
    assert anytime_data(group([{**done, "chosen_trial": None}], training(done, [1.0]))) is None


def test_an_axis_without_costs_says_so() -> None:
    one = search("grid")
    logged = training(one, [2.0, 1.0])
    for row in logged:
        row["train_flops"] = math.nan
    data = anytime_data(group([one], logged))
    assert data is not None
    assert [text.get_text() for text in draw_anytime(data).axes[0].texts] == ["no training FLOPs known"]


def test_lines_and_bands_are_drawn_where_the_frame_says() -> None:
    searches, logged = seeds(3)
    lone = search("ald", train_flops=1.0)
    data = anytime_data(group([*searches, lone], [*logged, *training(lone, [5.0])]))
    assert data is not None
    panel = draw_anytime(data).axes[0]
    grid, _, ald, _ = panel.lines  # each with its end's marker
    assert grid.get_drawstyle() == "steps-post"
    assert grid.get_xydata().tolist() == curve(data, "grid", line="mean")
    assert ald.get_xydata().tolist() == curve(data, "ald")
    mean = data.frame()
    mean = mean[(mean["axis"] == FLOPS) & (mean["line"] == "mean")]
    heights = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (mean["low"].min(), mean["high"].max())


def test_seven_searchers_with_long_names_fit() -> None:
    names = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    searches = [search(name, seed, train_flops=30e9) for name in names for seed in range(3)]
    generator = np.random.default_rng(0)
    logged = [row for one in searches for row in training(one, generator.normal(size=30).tolist(), flops=1e9)]
    searches += [search(name, 3, status) for name, status in zip(names, ["failed", "running"] * 4, strict=False)]
    with paper_style():
        data = anytime_data(group(searches, logged))
        assert data is not None
        assert_fits(draw_anytime(data))
