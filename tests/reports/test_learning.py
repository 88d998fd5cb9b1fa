"""Learning curves: known means and bands over the chosen trainings, and what is said of those that have none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from report_frames import Row, epochs, group, search

from reports.drawing.style import paper_style
from reports.figures.learning import Learning, draw_learning, learning_data


def rising(of: Row, n_epochs: int, offset: float, trial: int = 0, **values: Any) -> list[Row]:
    """Epochs whose reconstruction NLL is the epoch's number plus `offset`, of the same size throughout."""
    rows = epochs(of, [4] * n_epochs, trial, **values)
    return [{**row, "recon_nll": row["epoch"] + offset} for row in rows]


def line(data: Learning, metric: str, searcher: str) -> pd.DataFrame:
    lines = data.lines[(data.lines["metric"] == metric) & (data.lines["searcher"] == searcher)]
    return lines.set_index("epoch")


def test_mean_and_band_are_over_the_seeds_still_running() -> None:
    runs = [search("ald", seed) for seed in range(3)]
    logged = rising(runs[0], 3, 0.0) + rising(runs[1], 3, 6.0) + rising(runs[2], 2, 3.0)
    data = learning_data(group(runs, logged))
    assert data is not None
    nll = line(data, "recon_nll", "ald")
    assert nll["mean"].to_dict() == {1: 4.0, 2: 5.0, 3: 6.0}  # 1, 7, 4; 2, 8, 5; 3, 9
    assert nll["low"].tolist() == [1.0, 2.0, 3.0]
    assert nll["high"].tolist() == [7.0, 8.0, 9.0]
    assert nll["n_seeds"].tolist() == [3, 3, 2]
    assert any("end at different epochs" in note for note in data.notes)


def test_sizes_are_averaged_like_the_metrics() -> None:
    runs = [search("ald", seed) for seed in range(2)]
    data = learning_data(group(runs, epochs(runs[0], [9, 9, 6]) + epochs(runs[1], [9, 7, 7])))
    assert data is not None
    assert line(data, "latent_dim", "ald")["mean"].tolist() == [9.0, 8.0, 6.5]
    assert not any("different epochs" in note for note in data.notes)


def test_only_the_chosen_training_counts() -> None:
    run = search("grid", n_trials=3, chosen_trial=2)
    logged = [row for trial in range(3) for row in rising(run, 2, 10.0 * trial, trial)]
    data = learning_data(group([run], logged))
    assert data is not None
    assert line(data, "recon_nll", "grid")["mean"].tolist() == [21.0, 22.0]
    assert "One seed each." in data.notes


def test_missing_values_leave_gaps_and_are_counted() -> None:
    runs = [search("ald", 0), search("ald", 1), search("grid", 0)]
    logged = rising(runs[0], 3, 0.0) + rising(runs[1], 3, 2.0) + rising(runs[2], 3, 0.0, fid_gen=math.nan)
    logged[1]["recon_nll"] = math.inf  # ald, seed 0, epoch 2
    logged[2]["recon_nll"] = logged[5]["recon_nll"] = math.nan
    data = learning_data(group(runs, logged))
    assert data is not None
    nll = line(data, "recon_nll", "ald")
    assert nll["n_seeds"].tolist() == [2, 1, 0]
    assert nll["mean"].tolist()[:2] == [2.0, 4.0]
    assert math.isnan(nll["mean"].iloc[2])
    assert "Without FID, samples: Grid (1)." in data.notes


def test_searches_without_a_finished_training_are_named() -> None:
    runs = [search("ald"), search("tpe", status="running"), search("grid", status="failed"), search("sparsity")]
    logged = [row for run in runs[:3] for row in epochs(run, [4, 4])]
    data = learning_data(group(runs, logged))
    assert data is not None
    assert set(data.lines["searcher"]) == {"ald"}
    text = " ".join(data.notes)
    assert "failed: Grid (1)" in text and "running: TPE (1)" in text
    assert "Finished without a logged training: Sparsity (1)." in text
    assert learning_data(group(runs[1:], logged)) is None


def test_frame_is_every_point_with_its_unit() -> None:
    run = search("ald")
    data = learning_data(group([run], rising(run, 2, 0.0)))
    assert data is not None
    frame = data.frame()
    assert len(frame) == 5 * 2
    assert set(frame["metric"]) == {
        "FID, reconstructions (classifier features)",
        "FID, samples (classifier features)",
        "ELBO (nats/image)",
        "reconstruction NLL (nats/image)",
        "latent size (dimensions)",
    }
    assert list(frame.columns) == ["metric", "searcher", "epoch", "n_seeds", "mean", "low", "high"]


def test_drawn_lines_are_the_data_and_variants_differ_by_dashes() -> None:
    runs = [search(name) for name in ("ald@80", "ald@100", "my.package:AVeryLongNameOfASearcherOfOnesOwn")]
    logged = [row for n, run in enumerate(runs) for row in rising(run, 4, float(n))]
    data = learning_data(group(runs, logged))
    assert data is not None
    with paper_style():
        figure = draw_learning(data)
        figure.canvas.draw()
    nll = figure.axes[1]
    assert nll.get_title(loc="left") == "reconstruction NLL (nats/image) ↓"
    first, second, own = nll.get_lines()
    assert np.array_equal(np.asarray(second.get_ydata()), [2.0, 3.0, 4.0, 5.0])
    assert first.get_color() == second.get_color() != own.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= 0
