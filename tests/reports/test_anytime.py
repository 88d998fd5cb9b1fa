"""The model that a search would deliver so far: candidates, choices, costs and mean curves known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fits import assert_fits
from report_frames import Row, assessed, epochs, group, search

from reports.data.groups import Group
from reports.drawing.base import Marks
from reports.drawing.style import paper_style
from reports.figures.anytime import anytime_data, candidates, draw_anytime

FLOPS, SECONDS = "training FLOPs", "wall-clock (s)"
WORTH = {"no_latents_nll": 20.0}  # the best loss below is 10, so that the gap is 10 nats


def training(of: Row, test: float, val: float | None = None, trial: int = 0, begin: float = 0.0, n: int = 2) -> Row:
    """A finished training of n epochs with its losses; an epoch costs a FLOP and 10 s, from `begin` on."""
    rows = epochs(of, [8] * n, trial)
    for k, row in enumerate(rows, start=1):
        row.update(train_flops=float(k), wall_seconds=begin + 10.0 * k)
    curves = [
        assessed(of, 8, trial, split, epoch=n, elbo=-loss)
        for split, loss in (("test", test), ("val", test if val is None else val))
    ]
    return {"epochs": rows, "curves": curves}


def made(searches: list[Row], trained: list[Row]) -> Group:
    logged = [row for one in trained for row in one["epochs"]]
    return group(searches, logged, curves=[row for one in trained for row in one["curves"]])


def curve(data: Marks | None, searcher: str, axis: str = FLOPS, line: str = "seed") -> list[list[float]]:
    assert data is not None
    frame = data.frame()
    rows = frame[(frame["searcher"] == searcher) & (frame["axis"] == axis) & (frame["line"] == line)]
    return [[cost, pytest.approx(loss)] for cost, loss in rows[["cost", "loss"]].to_numpy().tolist()]


def by_hand() -> Group:
    """The grid's sizes lose 12, 10 and 11 on the test split, and validation prefers them one after another."""
    grid = search(
        "grid", pareto=[0, 1, 2], chosen_trial=1, train_flops=6.0, wall_seconds=75.0, test_elbo=-10.0, **WORTH
    )
    ald = search("ald", pareto=[], train_flops=2.0, wall_seconds=21.0, test_elbo=-13.0, **WORTH)
    geco = search("geco-l0arm", pareto=[], chosen_trial=1, train_flops=7.0, wall_seconds=80.0, test_elbo=-9.0, **WORTH)
    trained = [
        training(grid, 12.0, 5.0),
        training(grid, 10.0, 4.0, 1, begin=20.0),
        training(grid, 11.0, 3.0, 2, begin=40.0),
        training(ald, 13.0),
        training(geco, 8.0, trial=0, n=5),
        training(geco, 9.0, trial=1, begin=50.0),
    ]
    for size, one in zip((4, 8, 16), trained, strict=False):
        for row in one["curves"]:
            row["size"] = size
    return made([grid, ald, geco], trained)


def test_curves_known_by_hand() -> None:
    data = anytime_data(by_hand())
    # What validation prefers is drawn, though the test loss rises; it ends with the model that the search delivered.
    assert curve(data, "grid") == [[2, 0.2], [4, 0.0], [6, 0.0]]
    assert curve(data, "ald") == [[2, 0.3]]
    assert curve(data, "geco-l0arm") == [[7, -0.1]]  # its baseline is no candidate, but cost 5


def test_validation_chooses_and_the_test_split_is_drawn() -> None:
    grid = search("grid", pareto=[0, 1], chosen_trial=0, train_flops=9.0, test_elbo=-10.0, **WORTH)
    trained = [training(grid, 10.0, 5.0), training(grid, 15.0, 4.0, 1), training(grid, 9.0, 6.0, 2)]
    for size, one in zip((4, 8, 16), trained, strict=False):
        for row in one["curves"]:
            row["size"] = size
    # Best means of a size: 9, 10, 15, so the gap is 11.
    assert curve(anytime_data(made([grid], trained)), "grid") == [[2, 1 / 11], [4, 6 / 11], [9, 1 / 11]]


def test_the_level_of_a_seed_is_no_loss() -> None:
    """Another test split is 1 nat harder for every model: the curves of both seeds are the same."""
    searches, trained = [], []
    for seed in (0, 1):
        own = search(
            "grid", seed, pareto=[0, 1], chosen_trial=1, train_flops=4.0, test_elbo=-10.0 - seed, no_latents_nll=20.5
        )
        searches.append(own)
        trained += [training(own, 12.0 + seed), training(own, 10.0 + seed, trial=1)]
        for size, one in zip((4, 8), trained[-2:], strict=True):
            for row in one["curves"]:
                row["size"] = size
    found = curve(anytime_data(made(searches, trained)), "grid")
    assert found == [[2, 0.2], [4, 0.0]] * 2  # the gap is 20.5 - 10.5


def test_an_epoch_that_nobody_could_keep_is_no_candidate() -> None:
    """A minimum over the epochs of one training is not a model that one would get."""
    ald = search("ald", chosen_trial=0, train_flops=3.0, test_elbo=-14.0)
    one = training(ald, 14.0, n=3)
    one["epochs"][0]["elbo"] = -1.0
    one["curves"].append(assessed(ald, 8, 0, "val", epoch=1, elbo=-1.0))
    one["curves"].append(assessed(ald, 3, 0, "val", epoch=3, elbo=-1.0))  # with some of its latents only
    grid = search("grid", 0, train_flops=2.0, test_elbo=-10.0, **WORTH)
    found = made([grid, ald], [training(grid, 10.0), one])
    rows = candidates(found)
    assert rows.loc[rows["searcher"] == "ald", ["val", "test"]].to_numpy().tolist() == [[-14.0, -14.0]]
    assert curve(anytime_data(found), "ald") == [[3, 0.4]]


def test_wall_clock_ends_with_the_search() -> None:
    data = anytime_data(by_hand())
    assert [cost for cost, _ in curve(data, "grid", SECONDS)] == [20, 40, 60, 75]
    assert [cost for cost, _ in curve(data, "geco-l0arm", SECONDS)] == [70, 80]


def test_trainings_that_overlap_in_time_are_in_the_order_of_the_clock() -> None:
    own = search("grid", pareto=[0, 1], chosen_trial=0, wall_seconds=40.0, train_flops=5.0, test_elbo=-10.0, **WORTH)
    slow, quick = training(own, 10.0, n=3), training(own, 12.0, trial=1, begin=5.0)
    for row in quick["curves"]:
        row["size"] = 4
    data = anytime_data(made([own], [slow, quick]))
    assert curve(data, "grid", SECONDS) == [[25, 0.2], [30, 0.0], [40, 0.0]]
    assert curve(data, "grid", FLOPS) == [[3, 0.0], [5, 0.0]]


def test_a_cost_is_unknown_after_a_training_of_unknown_cost() -> None:
    grid = search("grid", pareto=[0, 1], chosen_trial=1, wall_seconds=50.0, test_elbo=-10.0, **WORTH)
    first, second = training(grid, 12.0), training(grid, 10.0, trial=1, begin=20.0)
    for row in first["epochs"]:
        row["train_flops"] = math.nan
    data = anytime_data(made([grid], [first, second]))
    assert data is not None
    assert FLOPS not in set(data.frame()["axis"])
    assert len(curve(data, "grid", SECONDS)) == 3


def seeds(n: int) -> Group:
    """Grid searches whose two trainings lose 14 and 10; the first seed's cost half as much."""
    searches, trained = [], []
    for seed in range(n):
        epochs_each = 1 if seed == 0 else 2
        own = search(
            "grid", seed, pareto=[0, 1], chosen_trial=1, train_flops=2.0 * epochs_each, test_elbo=-10.0, **WORTH
        )
        searches.append(own)
        for trial, loss in enumerate((14.0, 10.0)):
            one = training(own, loss + 0.5 * seed * (trial == 0), trial=trial, begin=20.0 * trial, n=epochs_each)
            for row in one["curves"]:
                row["size"] = 4 + trial
            trained.append(one)
    return made(searches, trained)


def test_the_mean_starts_where_all_have_a_candidate_and_keeps_what_has_ended() -> None:
    data = anytime_data(seeds(2))
    # Steps at 1 (0.4), 2 (0; it ends) and at 2 (0.45), 4 (0; it ends).
    assert curve(data, "grid", line="mean") == [[2, 0.225], [4, 0.0]]
    assert data is not None
    frame = data.frame()
    assert set(frame["line"]) == {"mean", "seed"}  # few seeds have no interval, so that each is drawn
    assert frame["low"].isna().all()


def test_from_six_seeds_on_the_mean_has_an_interval_and_stands_alone() -> None:
    assert set(anytime_data(seeds(5)).marks["line"]) == {"mean", "seed"}  # type: ignore[union-attr]
    data = anytime_data(seeds(6))
    assert data is not None
    frame = data.frame()
    assert set(frame["line"]) == {"mean"} and set(frame["n"]) == {6}
    start = frame[frame["axis"] == FLOPS].iloc[0]
    assert start["cost"] == 2 and start["low"] < start["loss"] < start["high"]


def test_a_long_mean_curve_is_thinned_to_its_ends() -> None:
    searches, trained = [], []
    for seed in range(6):
        own = search("grid", seed, pareto=[0], chosen_trial=149, train_flops=300.0, test_elbo=-10.0, **WORTH)
        searches.append(own)
        for trial in range(150):
            one = training(own, 10.0 + (149 - trial) / 50 + 0.001 * seed, trial=trial)
            for row in one["curves"]:
                row["size"] = trial
            trained.append(one)
    mean = curve(anytime_data(made(searches, trained)), "grid", line="mean")
    assert 50 < len(mean) <= 100
    assert (mean[0][0], mean[-1][0]) == (2, 300)


def test_searches_without_a_curve_are_named() -> None:
    grid = search("grid", 0, test_elbo=-10.0, **WORTH)
    searches = [grid, search("ald", 0), search("ald", 1, "failed"), search("tpe", 0, "running"), search("sparsity", 0)]
    unmetered = training(searches[4], 12.0)
    for row in unmetered["epochs"]:
        row["train_flops"] = math.nan
    data = anytime_data(made(searches, [training(grid, 10.0), training(searches[3], 11.0), unmetered]))
    assert data is not None
    assert data.notes == (
        "Not drawn, failed: ALD (1).",
        "Not drawn, running: TPE (1).",
        "Finished without a test loss of their trainings or their training FLOPs: ALD (1), Sparsity (1).",
        "Finished without a test loss of their trainings or their wall-clock: ALD (1).",
    )
    frame = data.frame()
    assert set(frame.loc[frame["axis"] == SECONDS, "searcher"]) == {"grid", "sparsity"}
    assert set(frame.loc[frame["axis"] == FLOPS, "searcher"]) == {"grid"}
    assert [text.get_text() for text in draw_anytime(data).axes[0].texts] == []


def test_nothing_to_show() -> None:
    grid = search("grid", test_elbo=-10.0, **WORTH)
    assert anytime_data(made([search("grid", 0, "running")], [])) is None
    assert anytime_data(made([grid], [])) is None  # results of earlier versions
    assert anytime_data(made([search("ald", **WORTH)], [training(search("ald"), 10.0)])) is None  # no grid, no gap
    assert anytime_data(made([grid], [training(grid, math.nan)])) is None


def test_an_axis_without_costs_says_so() -> None:
    grid = search("grid", test_elbo=-10.0, **WORTH)
    one = training(grid, 10.0)
    for row in one["epochs"]:
        row["train_flops"] = math.nan
    data = anytime_data(made([grid], [one]))
    assert data is not None
    assert [text.get_text() for text in draw_anytime(data).axes[0].texts] == ["no training FLOPs known"]


def test_lines_and_bands_are_drawn_where_the_frame_says() -> None:
    data = anytime_data(seeds(6))
    assert data is not None
    panel = draw_anytime(data).axes[0]
    grid, _ = panel.lines  # with its end's marker
    assert grid.get_drawstyle() == "steps-post"
    assert grid.get_xydata().tolist() == [
        [cost, pytest.approx(loss)] for cost, loss in curve(data, "grid", line="mean")
    ]
    mean = data.frame()
    mean = mean[(mean["axis"] == FLOPS) & (mean["line"] == "mean")]
    heights = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((mean["low"].min(), mean["high"].max()))


def test_seven_searchers_with_long_names_fit() -> None:
    names = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    rng = np.random.default_rng(0)
    searches = [search(name, seed, train_flops=30e9, **WORTH) for name in names for seed in range(3)]
    trained = [training(one, rng.normal(10, 1)) for one in searches]
    searches += [search(name, 3, status) for name, status in zip(names, ["failed", "running"] * 4, strict=False)]
    with paper_style():
        data = anytime_data(made(searches, trained))
        assert data is not None
        assert_fits(draw_anytime(data))
