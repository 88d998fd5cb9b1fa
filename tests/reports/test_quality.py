"""Quality against size: lines and marks known by hand, the range that is as good, and figures with room for all."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_frames import Row, assessed, group, search
from scipy.stats import t

from reports.data.quantities import FID_GEN, KL, RECON_NLL
from reports.drawing.style import paper_style, searcher_style
from reports.figures.quality import (
    LOSS,
    METRICS,
    Quality,
    draw_quality,
    interactive_quality,
    quality_data,
    rate_distortion,
)

LOSSES = {2: 10.0, 4: 6.0, 8: 5.0}


def grid(seed: int, chosen: int = 1, **values: Any) -> tuple[Row, list[Row]]:
    """A grid search of three sizes, whose loss rises by 0.1 a seed; without latents it is 15.0."""
    found = {"chosen_trial": chosen, "n_trials": 3, "latent_dim": [*LOSSES][chosen], "pareto": [1, 2]}
    of = search("grid", seed, **{**found, "no_latents_nll": 15.0, "test_elbo": -LOSSES[4] - 0.1 * seed, **values})
    models = [
        assessed(
            of,
            size,
            trial,
            split,
            elbo=-loss - 0.1 * seed - (split == "val"),
            recon_nll=loss - 1,
            kl=1.0 + seed,
            fid_recon=loss,
            fid_gen=loss,
        )
        for trial, (size, loss) in enumerate(LOSSES.items())
        for split in ("val", "test")
    ]
    return of, models


def one(name: str, seed: int, size: int, loss: float) -> tuple[Row, list[Row]]:
    """A search that hands over the last of its two trainings; the first one sets a bound only."""
    of = search(name, seed, latent_dim=size, chosen_trial=1, n_trials=2, no_latents_nll=15.0, test_elbo=-loss)
    return of, [assessed(of, 64, 0, elbo=-1.0), assessed(of, size, 1, elbo=-loss)]


def pruned(seed: int) -> tuple[Row, list[Row]]:
    """One training of 8 latents, assessed with fewer of them twice; then 4 are trained on."""
    of = search("my.own:Nested", seed, latent_dim=4, no_latents_nll=15.0)
    models = [
        assessed(of, size, 0, "val", epoch=epoch, elbo=-20.0 / size - (epoch == 3))
        for epoch in (3, 5)
        for size in (1, 2, 4, 8)
    ]
    return of, [*models, assessed(of, 4, 0, "val", elbo=-5.4), assessed(of, 4, 0, "test", elbo=-5.5)]


def quality(*searches: tuple[Row, list[Row]]) -> Quality:
    data = quality_data(group([of for of, _ in searches], curves=[model for _, models in searches for model in models]))
    assert data is not None
    return data


def marks(data: Quality, searcher: str, mark: str, line: str) -> pd.DataFrame:
    rows = data.of(LOSS)
    rows = rows[(rows["searcher"] == searcher) & (rows["mark"] == mark) & (rows["line"] == line)]
    return rows.sort_values(["size", "seed"])


def test_the_grid_has_a_line_over_its_sizes_on_the_test_split() -> None:
    data = quality(*map(grid, range(3)))
    seeds, means = marks(data, "grid", "seed", "trainings"), marks(data, "grid", "mean", "trainings")
    assert set(seeds["split"]) == {"test"}
    assert seeds["value"].tolist() == pytest.approx([10.1] * 3 + [6.1] * 3 + [5.1] * 3)  # without the seeds' levels
    assert (seeds["value"] + seeds["level"]).tolist() == pytest.approx([10, 10.1, 10.2, 6, 6.1, 6.2, 5, 5.1, 5.2])
    assert seeds.loc[seeds["chosen"].astype(bool), "size"].tolist() == [4, 4, 4]
    assert means[["size", "n", "value", "low", "high"]].to_numpy() == pytest.approx(
        np.array([[2, 3, 10.1, 10.1, 10.1], [4, 3, 6.1, 6.1, 6.1], [8, 3, 5.1, 5.1, 5.1]])
    )
    assert data.notes[0].startswith("Seeds have other images: a seed's level, the grid's mean over all sizes, is")
    kl = data.of(KL)
    assert set(kl.loc[kl["mark"] == "mean", "value"]) == {2.0}


def test_from_six_seeds_on_the_band_is_a_t_interval() -> None:
    searches = [grid(seed) for seed in range(6)]
    for seed, (_, models) in enumerate(searches):
        models[1]["elbo"] -= 0.3 * seed  # of size 2 on the test split, a tenth of which is the level of its seed
    band = marks(quality(*searches), "grid", "mean", "trainings").iloc[0]
    values = 10.25 + 0.75 + 0.2 * (np.arange(6) - 2.5)
    half = t.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
    assert (band["low"], band["high"]) == pytest.approx((11.0 - half, 11.0 + half))
    assert math.isnan(marks(quality(grid(0)), "grid", "mean", "trainings").iloc[0]["low"])


def test_a_method_of_one_training_is_points_of_what_it_handed_over() -> None:
    data = quality(grid(0), one("ald", 0, 6, 5.5), one("ald", 1, 7, 5.6))
    seeds = marks(data, "ald", "seed", "one training")
    assert seeds[["seed", "size", "value", "chosen"]].to_numpy().tolist() == [[0, 6, 5.5, True], [1, 7, 5.6, True]]
    assert marks(data, "ald", "mean", "one training").empty


def test_some_latents_of_one_model_are_a_line_of_their_own() -> None:
    data = quality(pruned(0), pruned(1))
    means = marks(data, "my.own:Nested", "mean", "parts")
    assert means["value"].tolist() == [20.0, 10.0, 5.0, 2.5]  # at the last epoch
    assert set(means["split"]) == {"val"}
    seeds = marks(data, "my.own:Nested", "seed", "parts")
    assert seeds.loc[seeds["chosen"].astype(bool), "size"].tolist() == [4, 4]
    assert marks(data, "my.own:Nested", "seed", "one training")["value"].tolist() == [5.5, 5.5]
    assert any("on validation data (own:Nested)" in note for note in data.notes)
    assert "parts" not in set(rate_distortion(data)["line"])


def test_what_is_as_good_and_the_limit_of_it() -> None:
    data = quality(grid(0, as_good=[4, 8]), grid(1, as_good=[2, 4]), one("ald", 0, 6, 5.5))
    assert data.as_good == ("Grid", 4, 4)  # in both seeds
    data = quality(*(grid(seed, as_good=sizes) for seed, sizes in enumerate(([2, 8], [4, 8], [4]))))
    assert data.as_good == ("Grid", 4, 8)  # 4 lies between 2 and 8
    data = quality(grid(0, as_good=[2, 4, 8]), one("ald", 0, 6, 5.5))
    assert data.as_good == ("Grid", 2, 8)
    of, models = pruned(0)
    assert quality((of | {"as_good": [4, 5]}, models)).as_good == ("own:Nested", 4, 5)  # without a grid
    assert data.reference is not None
    assert data.reference.best == pytest.approx(5.0)  # of size 8, mean over seeds
    assert data.reference.limit == pytest.approx(5.0 + 0.05 * (15.0 - 5.0))
    frame = data.frame()
    assert frame.loc[frame["mark"] == "as good", "size"].tolist() == [2, 8]
    limit = frame[frame["mark"] == "best + 5 % of the gap"]
    assert limit["value"].tolist() == pytest.approx([data.reference.limit])
    assert quality(one("ald", 0, 6, 5.5)).reference is None  # nothing says what latents are worth


def test_rate_against_distortion_pairs_the_two() -> None:
    plane = rate_distortion(quality(grid(0), grid(2)))
    means = plane[plane["mark"] == "mean"].sort_values("size")
    assert means[["size", "rate", "distortion"]].to_numpy().tolist() == [[2, 2, 9], [4, 2, 5], [8, 2, 4]]
    assert len(plane) == 3 + 6


def test_unfinished_searches_and_old_results_are_named_not_drawn() -> None:
    failed = search("ald", 1, "failed", error="x")
    data = quality(grid(0), (failed, [assessed(failed, 3, elbo=-1.0)]), (search("tpe", 0), []))
    assert set(data.of(LOSS)["searcher"]) == {"grid"}
    assert data.notes[0] == "Not drawn, failed: ALD (1)."
    assert data.notes[-1] == "Finished without an assessed model: TPE (1)."
    old = [{k: v for k, v in model.items() if k != "split"} for model in grid(0)[1]]
    assert quality_data(group([grid(0)[0]], curves=old)) is None  # without a split they are validation data
    assert quality_data(group([grid(0)[0]])) is None


def test_the_drawing_marks_chosen_sizes_and_the_limit() -> None:
    data = quality(*map(grid, range(3)), one("ald", 0, 6, 5.5))
    figure = draw_quality(data)
    loss = figure.axes[0]
    assert loss.get_xscale() == "log" and loss.get_title().startswith("loss, −ELBO")
    black = searcher_style("grid").color
    filled = [line for line in loss.lines if line.get_marker() == "s" and line.get_markerfacecolor() == black]
    assert [list(line.get_xdata()) for line in filled] == [[4, 4, 4]]
    (limit,) = (line for line in loss.lines if line.get_linestyle() == "--")
    assert data.reference is not None
    assert limit.get_ydata()[0] == data.reference.limit
    assert [text.get_text() for text in loss.texts] == ["best + 5 %"]  # 15 nats are far above the curve
    assert any("Without latents the loss is 15 nats/image; the best size is worth 9.9" in note for note in data.notes)


def test_without_latents_is_drawn_where_it_fits() -> None:
    texts = draw_quality(quality(grid(0, no_latents_nll=11.0))).axes[0].texts
    assert [text.get_text() for text in texts] == ["best + 5 %", "without latents"]


def test_the_page_has_a_choice_a_metric_and_the_plane() -> None:
    data = quality(*(grid(seed, as_good=[4, 8]) for seed in range(3)), one("ald", 0, 6, 5.5), pruned(0))
    choices = {choice.label: choice for choice in interactive_quality(data, 60)}
    assert list(choices) == [*(metric.label for metric in METRICS), "rate against distortion"]
    loss = choices[LOSS.label]
    assert loss.layout["xaxis"]["type"] == "log" and loss.layout["xaxis"]["ticktext"] == ["1", "2", "4", "8"]
    assert loss.layout["shapes"][0]["x0"] < 4 and loss.layout["shapes"][0]["x1"] > 8
    named = [trace["name"] for trace in loss.data if trace.get("showlegend", True)]
    assert named == ["best + 5 % of the gap", "Grid", "ALD", "own:Nested", "own:Nested, some latents<br>of one model"]
    texts = [text for trace in loss.data for text in trace.get("text", [])]
    assert "ALD, seed 0, size 6<br>chosen<br>digits-3fa2c19b77-ald-0" in texts
    assert not any("%" in trace["name"] for trace in choices[RECON_NLL.label].data)  # the limit is of the loss


def test_a_band_ends_where_a_size_has_one_seed() -> None:
    of, models = grid(1)
    data = quality(grid(0), (of, [model for model in models if model["size"] != 4]))
    (loss, *_) = interactive_quality(data, 60)
    assert not [trace for trace in loss.data if "fill" in trace]  # sizes 2 and 8 have a band, and are no neighbours
    (loss, *_) = interactive_quality(quality(grid(0), grid(1)), 60)
    (upper,) = (trace for trace in loss.data if "fill" in trace)
    assert upper["y"] == pytest.approx([10.05, 6.05, 5.05])


@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_everything_has_room(seeds: int) -> None:
    names = ["ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    searches = [grid(seed, as_good=[4, 8]) for seed in range(seeds)] + [pruned(seed) for seed in range(seeds)]
    searches += [one(name, seed, 3 + seed + k, 6.0) for k, name in enumerate(names) for seed in range(seeds)]
    with paper_style():
        figure = draw_quality(quality(*searches))
        FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    boxes = [legend.get_window_extent(), *(ax.get_tightbbox() for ax in figure.axes)]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    for a, b in combinations(boxes, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    assert all(ax.get_window_extent().width > 0.2 * figure.bbox.width for ax in figure.axes)


def test_a_metric_that_nobody_has_says_so() -> None:
    of, models = grid(0)
    data = quality((of, [model | {"fid_gen": math.nan} for model in models]))
    assert data.of(FID_GEN).empty
    panel = draw_quality(data).axes[3]
    assert [text.get_text() for text in panel.texts] == ["no values"]
    assert FID_GEN.label not in [choice.label for choice in interactive_quality(data, 60)]
