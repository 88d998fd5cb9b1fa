"""Quality against cost: fronts known by hand, what has no mark is named, and a figure that fits its column."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fits import assert_fits
from report_frames import Row, group, search

from reports.data.quantities import QUALITY_METRICS
from reports.drawing.base import Marks
from reports.drawing.style import paper_style
from reports.figures.tradeoff import draw_tradeoff, tradeoff_data

BOUND, NLL, _, FID = (metric.heading("classifier") for metric in QUALITY_METRICS)
SEARCHES = [
    search("grid", 0, train_flops=10e9, test_recon_nll=4.0, test_elbo=0.1, latent_dim=4),
    search("grid", 1, train_flops=20e9, test_recon_nll=6.0, test_elbo=0.3, latent_dim=8),
    search("ald", 0, train_flops=4e9, test_recon_nll=8.0, test_elbo=0.1),
    search("sparsity", 0, train_flops=5e9, test_recon_nll=9.0, test_elbo=0.3),
]


def tradeoff(searches: list[Row]) -> Marks:
    data = tradeoff_data(group(searches))
    assert data is not None
    return data


def test_marks_means_and_front_known_by_hand() -> None:
    frame = tradeoff(SEARCHES).frame()
    nll = frame[frame["metric"] == NLL]
    means = nll[nll["mark"] == "mean"].set_index("searcher")
    assert means["cost"].to_dict() == {"grid": 15e9, "ald": 4e9, "sparsity": 5e9}
    assert means["quality"].to_dict() == {"grid": 5.0, "ald": 8.0, "sparsity": 9.0}
    assert means["on_front"].to_dict() == {"grid": True, "ald": True, "sparsity": False}
    seeds = nll[nll["mark"] == "seed"]
    assert len(seeds) == 4
    grid = seeds[seeds["searcher"] == "grid"]
    columns = ["seed", "search_id", "latent_dim", "cost", "quality", "on_front"]
    assert grid[columns].values.tolist() == [
        [0, SEARCHES[0]["search_id"], 4, 10e9, 4.0, True],
        [1, SEARCHES[1]["search_id"], 8, 20e9, 6.0, True],
    ]


def test_a_higher_elbo_is_better() -> None:
    frame = tradeoff(SEARCHES).frame()
    means = frame[(frame["metric"] == BOUND) & (frame["mark"] == "mean")].set_index("searcher")
    assert means["on_front"].to_dict() == {"grid": False, "ald": True, "sparsity": True}


def test_the_drawn_front_steps_through_the_means_to_the_edges() -> None:
    figure = draw_tradeoff(tradeoff(SEARCHES))
    elbo, nll, *_ = figure.axes
    for ax, points, edge in ((nll, [[4, 8], [15, 5]], 1), (elbo, [[4, 0.1], [5, 0.3]], 0)):
        (front,) = (line for line in ax.lines if line.get_linestyle() == "--")
        assert front.get_drawstyle() == "steps-post"
        first, last = points[0], points[-1]
        expected = [[first[0], ax.get_ylim()[edge]], *points, [ax.get_xlim()[1], last[1]]]
        assert front.get_xydata() == pytest.approx(np.array(expected, dtype=float))


def test_log_axes_where_values_span_a_decade() -> None:
    scales = []
    for cost, fid in ((39e9, 9.0), (41e9, 11.0)):
        figure = draw_tradeoff(tradeoff([*SEARCHES, search("tpe", train_flops=cost, test_fid_recon=fid)]))
        scales.append((figure.axes[0].get_xscale(), figure.axes[2].get_yscale(), figure.axes[0].get_yscale()))
    assert scales == [("linear", "linear", "linear"), ("log", "log", "linear")]


def test_searches_without_a_mark_are_named() -> None:
    searches = [
        *SEARCHES,
        search("ald", 1, "failed", error="x"),
        search("ald", 2, "failed", error="x"),
        search("tpe", 0, "running"),
        search("random", 0, test_elbo=math.nan),
        search("geco-l0arm", 0, train_flops=math.nan),
    ]
    data = tradeoff(searches)
    assert data.notes[:2] == ("Not drawn, failed: ALD (2).", "Not drawn, running: TPE (1).")
    assert "Finished without ELBO or FLOPs: Random (1), GECO/L0-ARM (1)." in data.notes
    assert "Finished without FID, samples or FLOPs: GECO/L0-ARM (1)." in data.notes
    frame = data.frame()
    assert "random" not in set(frame.loc[frame["metric"] == BOUND, "searcher"])
    assert "random" in set(frame.loc[frame["metric"] == FID, "searcher"])
    assert not frame[["cost", "quality"]].isna().any().any()
    (legend,) = draw_tradeoff(data).legends
    assert "ALD (2)" in legend.get_title().get_text()


def test_a_metric_that_nobody_has_leaves_its_panel_empty() -> None:
    data = tradeoff([search("grid", test_elbo=math.nan), search("ald", test_elbo=math.nan)])
    panel = draw_tradeoff(data).axes[0]
    assert [text.get_text() for text in panel.texts] == ["no values"]
    assert not panel.lines


def test_nothing_to_show() -> None:
    assert tradeoff_data(group([search("ald", 0, "failed"), search("grid", 0, "running")])) is None
    assert tradeoff_data(group([search("ald", train_flops=math.nan)])) is None


def test_seven_searchers_with_long_names_fit() -> None:
    names = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "my_package.searchers:AVeryLongSearcherName"]
    searches = [search(name, seed, train_flops=1e9 * 3**k) for k, name in enumerate(names) for seed in range(3)]
    searches += [search(name, 3, status) for name, status in zip(names, ["failed", "running"] * 4, strict=False)]
    with paper_style():
        assert_fits(draw_tradeoff(tradeoff(searches)))
