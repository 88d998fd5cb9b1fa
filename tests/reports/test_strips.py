"""Cost, chosen size and images of a group: what is drawn, in which unit, and what is said of what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_frames import group, search

from reports.drawing.strips import draw_strips
from reports.figures.cost import cost_data
from reports.figures.images import draw_images, images_data, to_rgb
from reports.figures.latent_dim import latent_dim_data


def test_cost_data_scales_units_and_counts_the_unfinished() -> None:
    searches = [search("grid", s, wall_seconds=w) for s, w in [(0, 7200.0), (1, 14400.0), (2, 10800.0)]]
    searches += [search("ald", 0, wall_seconds=36.0), search("ald", 1, "failed"), search("tpe", 0, "running")]
    strips = cost_data(group(searches))
    wall, device, flops, images = strips.panels
    assert [panel.label for panel in strips.panels] == [
        "wall-clock\n(h)",
        "CPU time\n(core-s)",
        "training FLOPs\n(GFLOP)",
        "images seen",
    ]
    assert wall.log and not flops.log
    grid, tpe, ald = wall.rows
    assert grid.values == (2.0, 4.0, 3.0)
    assert (grid.centre, grid.low, grid.high) == (3.0, 2.0, 4.0)  # of three values the range
    assert (tpe.values, tpe.absence) == ((), "none finished")
    assert ald.values == pytest.approx((0.01,))
    assert math.isnan(ald.low)
    assert device.rows[0].absence == "no value"  # the searches do not say how many threads they had
    assert [note.split(": ")[1] for note in strips.notes] == ["ALD (1).", "TPE (1)."]


def test_strips_frame_is_what_is_drawn() -> None:
    searches = [search("grid", s, wall_seconds=w) for s, w in [(4, 10.0), (7, 30.0), (9, 20.0)]]
    searches += [search("ald", 2, wall_seconds=5.0), search("tpe", status="running")]
    frame = cost_data(group(searches)).frame()
    wall = frame[frame["axis"] == "wall-clock (s)"]
    ids = [run["search_id"] for run in searches]
    drawn = wall[["searcher", "mark", "search_id", "value", "low", "high"]].fillna(-1.0).to_numpy().tolist()
    assert drawn == [
        ["grid", "seed", ids[0], 10.0, -1.0, -1.0],
        ["grid", "seed", ids[1], 30.0, -1.0, -1.0],
        ["grid", "seed", ids[2], 20.0, -1.0, -1.0],
        ["grid", "mean", "", 20.0, 10.0, 30.0],
        ["tpe", "none finished", "", -1.0, -1.0, -1.0],
        ["ald", "seed", ids[3], 5.0, -1.0, -1.0],
    ]
    assert wall["seed"].dropna().tolist() == [4, 7, 9, 2]


def test_device_time_counts_threads_and_never_adds_a_gpu_to_a_cpu() -> None:
    cpu = {"env_device": "cpu", "env_threads": 4}
    searches = [search("grid", 0, train_seconds=20.0, eval_seconds=5.0, **cpu)]
    assert group(searches).device_kinds == ("core",)
    gpu = {"env_device": "NVIDIA H200", "env_threads": 4}
    searches += [search("ald", 0, train_seconds=3.0, eval_seconds=1.0, **gpu)]
    found = group(searches)
    assert found.searches.set_index("searcher")["device_seconds"].to_dict() == {"grid": 100.0, "ald": 4.0}
    strips = cost_data(found)
    on_cpu, on_gpu = strips.panels[1:3]
    assert (on_cpu.label, on_gpu.label) == ("CPU time\n(core-s)", "GPU time\n(GPU-s)")
    assert [(row.values, row.absence) for row in on_cpu.rows] == [((100.0,), ""), ((), "other device")]
    assert [(row.values, row.absence) for row in on_gpu.rows] == [((), "other device"), ((4.0,), "")]
    assert "do not compare" in strips.notes[-1]
    assert len(draw_strips(strips).axes) == 6  # the last of them hidden


def test_a_seed_without_a_cost_is_named_beside_the_others() -> None:
    searches = [search("ald", seed, train_flops=math.nan if seed == 1 else 1e9) for seed in range(2)]
    strips = cost_data(group(searches))
    assert strips.notes == ("Finished without training FLOPs: ALD (1).",)


def test_below_six_seeds_the_line_is_the_range_of_the_seeds() -> None:
    searches = [search("ald", seed, wall_seconds=10.0 + seed) for seed in range(6)]
    few, many = (cost_data(group(searches[:n])).panels[0].rows[0] for n in (5, 6))
    assert (few.low, few.high) == (10.0, 14.0)
    half = 2.5705818 * math.sqrt(3.5) / math.sqrt(6)  # Student's t for 5 degrees of freedom
    assert (many.low, many.high) == pytest.approx((12.5 - half, 12.5 + half))
    lone = cost_data(group(searches[:1]))
    assert math.isnan(lone.panels[0].rows[0].low)
    texts = [
        text.get_text().replace("\n", " ") for text in draw_strips(cost_data(group(searches))).legends[0].get_texts()
    ]
    assert "mean, range of the seeds (from 6 seeds on 95 % t-interval)" in texts


def test_latent_dim_data_marks_the_median() -> None:
    searches = [search("ald", seed, latent_dim=n) for seed, n in enumerate([12, 30, 13])]
    (panel,) = latent_dim_data(group(searches)).panels
    assert panel.rows[0].values == (12.0, 30.0, 13.0)
    assert panel.rows[0].centre == 13.0
    assert math.isnan(panel.rows[0].low)


def test_images_show_the_first_done_seed_and_the_middle_frame() -> None:
    runs = [search("ald", 0, "failed"), search("ald", 1, latent_dim=5), search("grid", 0)]
    clips = np.arange(8 * 3 * 5 * 2 * 2, dtype=np.uint8).reshape(8, 3, 5, 2, 2)
    gallery = {"originals": clips, "reconstructions": clips, "samples": clips}
    rows = images_data(group(runs, galleries={runs[1]["search_id"]: gallery})).rows
    assert [(row.kind, row.searcher, row.seed, row.latent_dim) for row in rows] == [
        ("originals", "ald", 1, 5),
        ("reconstructions", "ald", 1, 5),
        ("samples", "ald", 1, 5),
    ]
    assert np.array_equal(rows[0].images, clips[:, :, 2].transpose(0, 2, 3, 1))
    assert images_data(group(runs)) is None


def test_images_of_other_test_data_come_with_their_originals() -> None:
    runs = [search("grid"), search("random"), search("ald"), search("tpe")]
    same, other = (np.full((10, 1, 2, 2), value, dtype=np.uint8) for value in (3, 200))
    kept = [dict.fromkeys(("originals", "reconstructions", "samples"), images) for images in (same, same, other)]
    galleries = {run["search_id"]: gallery for run, gallery in zip(runs, kept, strict=False)}
    data = images_data(group(runs, galleries=galleries))
    assert data is not None
    frame = data.frame()
    assert frame["searcher"].tolist() == ["grid"] * 3 + ["random"] * 2 + ["ald"] * 3
    assert frame.loc[frame["row"] == "originals", "searcher"].tolist() == ["grid", "ald"]
    assert set(frame["n_images"]) == {8}  # a gallery has more; a column has room for these
    assert data.notes == ("Finished without images: TPE.",)
    headings = [text.get_text() for text in draw_images(data).texts if "seed" in text.get_text()]
    assert headings == [f"{name}, size 8, seed 0" for name in ("Grid", "Random", "ALD")]


def test_an_images_heading_says_how_many_latents_are_in_use() -> None:
    run = search("ald", test_active_units=3)
    kept = dict.fromkeys(("originals", "reconstructions", "samples"), np.zeros((8, 1, 2, 2), np.uint8))
    data = images_data(group([run], galleries={run["search_id"]: kept}))
    assert data is not None and data.frame()["active_units"].tolist() == [3] * 3
    assert "ALD, size 8 (3 in use), seed 0" in [text.get_text() for text in draw_images(data).texts]


def test_images_of_an_unknown_size_are_shown() -> None:
    run = search("ald", latent_dim=math.nan)
    kept = dict.fromkeys(("originals", "reconstructions", "samples"), np.zeros((8, 1, 2, 2), np.uint8))
    data = images_data(group([run], galleries={run["search_id"]: kept}))
    assert data is not None and data.frame()["latent_dim"].isna().all()
    assert "ALD, size unknown, seed 0" in [text.get_text() for text in draw_images(data).texts]


def test_grey_images_become_rgb() -> None:
    grey = np.arange(8 * 4, dtype=np.uint8).reshape(8, 1, 2, 2)
    assert np.array_equal(to_rgb(grey)[..., 2], grey[:, 0])
