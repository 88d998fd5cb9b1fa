"""Regret against the size that the grid's other seeds show to be best: known by hand, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from fits import assert_fits
from report_frames import Row, assessed, group, search

from reports.analysis.losses import retraining_sd, seed_levels
from reports.data.quantities import QUALITY_METRICS
from reports.drawing.base import Marks
from reports.drawing.style import paper_style
from reports.figures.regret import draw_regret, known_best, regret_data

ELBO, NLL, FID, _ = (metric.heading("classifier") for metric in QUALITY_METRICS)
# Losses of the grid's sizes 4, 8, 16 in three seeds; the means over seeds are 12, 10 and 11, the luckiest value is 8.
BY_SIZE = {4: (11.0, 12.0, 13.0), 8: (9.0, 11.0, 10.0), 16: (12.0, 13.0, 8.0)}


def grid_curves(rows: list[Row], by_size: dict[int, tuple[float, ...]] = BY_SIZE) -> list[Row]:
    """Assessments of the grid's trainings on both splits; the validation values say nothing."""
    return [
        assessed(row, size, trial, split, elbo=-values[row["seed"]] if split == "test" else 0.0)
        for row in rows
        for trial, (size, values) in enumerate(by_size.items())
        for split in ("val", "test")
    ]


def by_hand() -> Marks:
    grid = [search("grid", seed, test_elbo=-loss, latent_dim=8) for seed, loss in enumerate((12.0, 11.0, 10.0))]
    ald = [search("ald", seed, test_elbo=-loss, latent_dim=9) for seed, loss in enumerate((9.5, 10.0, 10.0))]
    data = regret_data(group([*grid, *ald], curves=grid_curves(grid)))
    assert data is not None
    return data


def values(frame: pd.DataFrame, metric: str, mark: str) -> dict[str, list[float]]:
    rows = frame[(frame["metric"] == metric) & (frame["mark"] == mark)]
    return {str(searcher): own["regret"].tolist() for searcher, own in rows.groupby("searcher")}


def test_the_size_known_best_is_that_of_the_other_seeds() -> None:
    # Sums of the others: seed 0 25, 21, 21 (8 first); seed 1 24, 19, 20 (8); seed 2 23, 20, 25 (8, not the lucky 16).
    assert known_best(pd.DataFrame(BY_SIZE)).tolist() == [9.0, 11.0, 10.0]
    lucky = pd.DataFrame({4: (5.0, 9.0), 8: (9.0, 5.0)})
    assert known_best(lucky).tolist() == [9.0, 9.0]  # what was luck in one seed is not so in the other
    gap = pd.DataFrame({4: (11.0, math.nan), 8: (12.0, 12.0)})
    assert known_best(gap).tolist() == [12.0, 12.0]
    assert known_best(pd.DataFrame({4: (math.nan, 1.0)})).isna().all()


def test_regret_known_by_hand() -> None:
    frame = by_hand().frame()
    assert values(frame, ELBO, "seed") == {"grid": [3.0, 0.0, 0.0], "ald": [0.5, -1.0, 0.0]}
    means = values(frame, ELBO, "mean")
    assert means["grid"] == [1.0] and means["ald"] == pytest.approx([-0.5 / 3])
    ald = frame[(frame["searcher"] == "ald") & (frame["mark"] == "seed") & (frame["metric"] == ELBO)]
    assert set(ald["seed"]) == {0, 1, 2} and set(ald["latent_dim"]) == {9}
    mean = frame[(frame["metric"] == ELBO) & (frame["mark"] == "mean") & (frame["searcher"] == "ald")].iloc[0]
    assert (mean["low"], mean["high"]) == (-1.0, 0.5)  # the range of the seeds


def test_the_band_is_what_retraining_the_best_size_costs() -> None:
    frame = by_hand().frame()
    (band,) = frame[(frame["mark"] == "retraining") & (frame["metric"] == ELBO)].to_dict("records")
    assert band["latent_dim"] == 8
    # What the means of seeds and of sizes 8 and 16 leave over: 7 as its sum of squares, of 2 degrees of freedom.
    assert (band["low"], band["high"]) == pytest.approx((-math.sqrt(7), math.sqrt(7)))


def test_the_band_holds_no_more_than_retraining() -> None:
    """Seeds with other images differ by far more than two trainings of a size in one seed do."""
    rng = np.random.default_rng(0)
    trainings = pd.DataFrame(rng.normal(0, 0.1, (200, 5)) + rng.normal(0, 1, (200, 1)) + [3, 1, 0, 0, 0.1])
    assert retraining_sd(trainings) == pytest.approx(0.1 * math.sqrt(2), rel=0.1)
    assert math.isnan(retraining_sd(trainings[[0]]))
    level = seed_levels(trainings)
    assert level.mean() == pytest.approx(0, abs=1e-9) and level.std() > 0.5
    assert seed_levels(pd.DataFrame({4: [1.0, math.nan]})).tolist() == [0.0, 0.0]


def test_knowing_the_best_size_has_no_regret_on_average() -> None:
    """A fresh training of the best size: against the luckiest training of each seed it had 0.2 nats."""
    rng = np.random.default_rng(0)
    seeds, sizes, sd = 400, (4, 8, 16), 0.1
    losses = pd.DataFrame(10 + rng.normal(0, sd, (seeds, len(sizes))), columns=list(sizes))
    fresh = 10 + rng.normal(0, sd, seeds)
    regret = fresh - known_best(losses)
    assert abs(regret.mean()) < 4 * sd * math.sqrt(2 / seeds)
    assert (fresh - losses.min(axis=1)).mean() > 0.07


def test_validation_values_do_not_count() -> None:
    grid = [search("grid", seed, test_elbo=-10.0) for seed in (0, 1)]
    curves = [row for row in grid_curves(grid) if row["split"] == "val"]
    assert regret_data(group(grid, curves=curves)) is None


def test_seeds_without_a_grid_and_other_spaces_are_named() -> None:
    grid = [search("grid", seed, space="4 to 16") for seed in (0, 1)] + [search("grid", 2, "failed", space="4 to 16")]
    ald = [search("ald", seed, space="4 to 16") for seed in range(4)]
    tpe = [search("tpe", seed, space="2 to 64") for seed in range(2)]
    data = regret_data(group([*grid, *ald, *tpe], curves=grid_curves(grid[:2])))
    assert data is not None
    assert set(values(data.frame(), ELBO, "seed")) == {"grid", "ald"}
    assert len(values(data.frame(), ELBO, "seed")["ald"]) == 2
    assert "Not drawn, without a finished grid of their seed: ALD (2)." in data.notes
    assert "Not drawn, of other sizes than the grid's: TPE (2)." in data.notes
    assert "Not drawn, failed: Grid (1)." in data.notes


def test_missing_values_are_named() -> None:
    grid, ald = ([search(name, seed) for seed in (0, 1)] for name in ("grid", "ald"))
    ald[1]["test_recon_nll"] = math.inf
    data = regret_data(group([*grid, *ald, search("sparsity", 0, "running")], curves=grid_curves(grid)))
    assert data is not None
    assert values(data.frame(), NLL, "seed") == {"grid": [0.0, 0.0], "ald": [0.0]}
    assert "Without reconstruction NLL, their own or their grid's: ALD (1)." in data.notes
    panel = draw_regret(data).axes[0]
    assert [text.get_text() for text in panel.texts] == ["no value"]
    assert [text.get_position()[1] for text in panel.texts] == [data.searchers.index("sparsity")]


def test_a_metric_that_nobody_has_leaves_its_panel_empty() -> None:
    grid = [search("grid", seed, test_fid_recon=math.nan) for seed in (0, 1)]
    curves = [{**row, "fid_recon": math.nan} for row in grid_curves(grid)]
    data = regret_data(group(grid, curves=curves))
    assert data is not None
    assert values(data.frame(), FID, "seed") == {}
    assert [text.get_text() for text in draw_regret(data).axes[2].texts] == ["no value"]


def test_nothing_without_two_seeds_of_a_finished_grid() -> None:
    grid = [search("grid", seed) for seed in (0, 1)]
    assert regret_data(group(grid[:1], curves=grid_curves(grid[:1]))) is None
    assert regret_data(group(grid)) is None  # results of earlier versions
    assert regret_data(group([search("grid", 0, "running"), search("ald")])) is None


def test_dots_means_and_bands_are_drawn_where_the_frame_says() -> None:
    panel = draw_regret(by_hand()).axes[0]
    drawn = [line.get_xdata().tolist() for line in panel.lines if line.get_marker() in "so"]
    assert drawn == [[3.0, 0.0, 0.0], [0.5, -1.0, 0.0]]
    assert [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "|"] == pytest.approx([1.0, -0.5 / 3])
    (band,) = panel.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((-math.sqrt(7), 2 * math.sqrt(7)))  # type: ignore[attr-defined]


def test_seven_searchers_with_long_names_fit() -> None:
    names = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    rng = np.random.default_rng(0)
    searches = [search(name, seed, test_elbo=rng.normal()) for name in names for seed in range(3)]
    curves = grid_curves(searches[:3])
    with paper_style():
        data = regret_data(group([*searches, search("ald", 3, "failed")], curves=curves))
        assert data is not None
        assert_fits(draw_regret(data))
