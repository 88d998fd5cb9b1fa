"""ALD-VAE's figures and numbers from made-up stores whose answers are known, and from one small real run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import TINY, benchmark
from matplotlib.figure import Figure
from report_frames import Row, epochs, search, write_store

from benchmark.config.protocol import load_protocol
from benchmark.store import ResultsStore
from reports.drawing.style import STOP_RED, paper_style
from reports.papers import ald as paper_ald
from reports.papers.ald import (
    FULL,
    PAPER_SD,
    RETRAINED,
    draw_figure_2,
    draw_figure_3,
    draw_figure_4,
    figure_2_data,
    figure_3_data,
    figure_4_data,
    seeds_data,
)
from reports.papers.base import StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.papers.write import write_papers

SHRINKING = [8] * 5 + [5] * 5 + [3] * 5 + [2] * 5
STOPPED = [0.0] * 9 + [1.0] * 11  # after epoch 10, at size 5


def of(dataset: str, searcher: str, seed: int = 0, **values: Any) -> Row:
    keys = {"dataset": dataset, "protocol": f"ald-{dataset}", "protocol_hash": f"h-{dataset}", "epochs": 200}
    settings = {"start_latent_dim": 64, "stop_rule": searcher != FULL, "retrain": searcher == RETRAINED}
    return search(searcher, seed, **{**keys, "settings": settings, **values})


def full(dataset: str, seed: int = 0, **values: Any) -> tuple[Row, list[Row]]:
    row = of(dataset, FULL, seed, latent_dim=2, **values)
    logged = epochs(row, SHRINKING)
    for n, (epoch, stopped) in enumerate(zip(logged, STOPPED, strict=True)):
        epoch |= {"ctl_stopped": stopped, "recon_nll": 100.0 - n, "silhouette": seed + 0.01 * n}
    return row, logged


def store(root: Path, *parts: tuple[Row, list[Row]]) -> StoreFrames:
    write_store(root, [row for row, _ in parts], [epoch for _, logged in parts for epoch in logged])
    return StoreFrames(ResultsStore(root))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def red_lines(figure: Figure) -> list[float]:
    lines = (line for ax in figure.axes for line in ax.lines if line.get_color() == STOP_RED)
    return [float(np.asarray(line.get_xdata())[0]) for line in lines]


# --- figure 2


def test_figure_2_says_where_the_rule_would_stop(tmp_path: Path) -> None:
    data = figure_2_data(store(tmp_path / "r", full("mnist", seed=1)))
    assert data is not None
    (row,) = data.rows
    assert (row.dataset, row.fid_features) == ("MNIST", "classifier")
    assert row.about == ("mlp, seed 1", "size 8 → 2", "rule fires at 5")  # the paper's budget
    (line,) = row.trainings
    assert (line.seed, line.stop) == (1, 10)
    assert line.sizes == tuple(SHRINKING) and line.epochs == tuple(range(1, 21))
    assert line.values[3] == tuple(100.0 - n for n in range(20))
    frame = data.frame()
    assert frame["rule_has_fired"].tolist() == [False] * 9 + [True] * 11
    assert frame["recon_nll [nats/image]"].tolist() == list(line.values[3])
    assert frame["silhouette"].tolist() == pytest.approx([1 + 0.01 * n for n in range(20)])
    assert "pale: other seeds" not in texts(draw_figure_2(data))


def test_figure_2_shows_every_seed_of_one_condition(tmp_path: Path) -> None:
    late, logged = full("mnist", seed=2)
    logged = [epoch | {"ctl_stopped": float(epoch["epoch"] >= 15)} for epoch in logged]
    never, unfired = full("mnist", seed=3)
    unfired = [epoch | {"ctl_stopped": 0.0, "latent_dim": 8} for epoch in unfired]
    smaller = full("mnist", seed=0, epochs=20, protocol_hash="small")
    data = figure_2_data(store(tmp_path / "r", full("mnist", seed=1), (late, logged), (never, unfired), smaller))
    assert data is not None
    (row,) = data.rows
    assert row.about == ("mlp, seeds 1, 2, 3", "size 8 → 2, 2, 8", "rule fires at 5, 3, never")
    assert [(line.seed, line.stop) for line in row.trainings] == [(1, 10), (2, 15), (3, None)]
    assert data.frame().groupby("seed")["rule_has_fired"].sum().to_dict() == {1: 11, 2: 6, 3: 0}
    figure = draw_figure_2(data)
    assert red_lines(figure) == [10.0, 15.0] * 4 and "pale: other seeds" in texts(figure)
    drawn = [line for line in figure.axes[0].lines if line.get_color() != STOP_RED]
    assert [line.get_alpha() for line in drawn] == [1.0, 0.4, 0.4]  # the size above is the first one's
    assert drawn[0].get_zorder() > drawn[1].get_zorder()


def test_figure_2_as_drawn(tmp_path: Path) -> None:
    data = figure_2_data(store(tmp_path / "r", full("mnist"), full("sprites", backbone="video", epochs=300)))
    assert data is not None
    with paper_style():
        figure = draw_figure_2(data)
        figure.canvas.draw()
    assert red_lines(figure) == [10.0] * 8  # four metrics of two datasets
    panel = figure.axes[2]
    assert panel.get_title() == "silhouette ↑"
    assert np.asarray(panel.lines[0].get_ydata()).tolist() == pytest.approx([0.01 * n for n in range(20)])
    (sizes,) = panel.child_axes
    labels = [label.get_text() for label in sizes.get_xticklabels()]
    assert labels[0] == "8" and labels[-1] == "2" and set(labels) <= {"8", "5", "3", "2"}


def test_figure_2_of_a_rule_that_did_not_fire(tmp_path: Path) -> None:
    row, logged = full("mnist")
    logged = [epoch | {"ctl_stopped": 0.0} for epoch in logged[:7]]
    data = figure_2_data(store(tmp_path / "r", (row, logged)))
    assert data is not None and data.rows[0].trainings[0].stop is None
    assert data.rows[0].about[1:] == ("size 8 → 5", "rule did not fire")
    figure = draw_figure_2(data)
    assert not red_lines(figure) and "the rule would have stopped removal" not in texts(figure)


def test_datasets_come_in_the_papers_order_and_any_protocol_counts(tmp_path: Path) -> None:
    own = full("digits", protocol="mine", epochs=20)
    data = figure_2_data(store(tmp_path / "r", own, full("sprites", epochs=300), full("eurosat"), full("mnist")))
    assert data is not None
    assert [row.dataset for row in data.rows] == ["MNIST", "EuroSAT", "SPRITES", "digits"]
    assert all("budget" not in line for row in data.rows for line in row.about)  # digits has no paper's budget


@pytest.mark.parametrize("name, share", [("mnist", "10"), ("sprites", "6.67")])
def test_a_reduced_budget_is_named(tmp_path: Path, name: str, share: str) -> None:
    data = figure_2_data(store(tmp_path / "r", full(name, epochs=20, scale=0.1)))
    assert data is not None and f"budget: {share} % of the paper's" in data.rows[0].about
    assert any(f"budget: {share} %" in text for text in texts(draw_figure_2(data)))


def test_short_epochs_are_a_reduced_budget(tmp_path: Path) -> None:
    line = "70,000 images, grey 28x28; splits: 54,000 train, 6,000 validation, 10,000 test"
    short = {"data": line, "n_epochs": 310, "images_seen": 310 * 5400, "protocol_hash": "short"}
    data = figure_2_data(store(tmp_path / "short", full("mnist", **short)))
    assert data is not None
    assert data.rows[0].about[1:3] == ("budget: 10 % of the paper's", "epochs of 10 % of the images")
    table = seeds_data(store(tmp_path / "seeds", start("mnist", 64, 15, **short)))
    assert table is not None and table.frame()["share of the paper's budget [%]"].tolist() == pytest.approx([10])
    whole = short | {"images_seen": 310 * 53_952, "protocol_hash": "a"}  # without the last, incomplete batch
    both = figure_2_data(store(tmp_path / "both", full("mnist", **short), full("mnist", seed=4, **whole)))
    assert both is not None and both.rows[0].about[:2] == ("mlp, seed 4", "size 8 → 2")


def test_the_larger_budget_is_drawn_then_inception(tmp_path: Path) -> None:
    small = full("mnist", protocol_hash="zz", epochs=20)
    large = full("mnist", protocol_hash="aa", seed=3)
    inception = full("mnist", protocol_hash="a0", seed=4, test_fid_features="inception", backbone="conv")
    for parts, about, name in (
        ([small, large], "mlp, seed 3", "first"),
        ([small, large, inception], "conv, seed 4", "second"),
    ):
        data = figure_2_data(store(tmp_path / name, *parts))
        assert data is not None and len(data.rows) == 1 and data.rows[0].about[0] == about


def test_features_that_differ_are_named_by_row(tmp_path: Path) -> None:
    data = figure_2_data(store(tmp_path / "r", full("mnist"), full("eurosat", test_fid_features="inception")))
    assert data is not None
    figure = draw_figure_2(data)
    assert figure.axes[0].get_title() == "FID, reconstructions ↓"
    labels = [ax.get_ylabel().splitlines()[-1] for ax in figure.axes if ax.get_ylabel()]
    assert labels == ["classifier features", "inception features"]


def test_missing_metrics_are_said_and_infinite_ones_drawn_around(tmp_path: Path) -> None:
    row, logged = full("mnist")
    for epoch in logged:
        epoch |= {"fid_gen": math.nan, "recon_nll": math.inf if epoch["epoch"] < 3 else 5.0}
    data = figure_2_data(store(tmp_path / "r", (row, logged)))
    assert data is not None
    with paper_style():
        figure = draw_figure_2(data)
        figure.canvas.draw()
    assert texts(figure).count("no values") == 1


# --- figure 3


def retrained(dataset: str, **values: Any) -> tuple[Row, list[Row]]:
    row = of(dataset, RETRAINED, latent_dim=5, n_trials=2, chosen_trial=1, **values)
    shrinking = epochs(row, [8] * 5 + [5] * 15, trial=0, fid_recon=7.0)
    for n, epoch in enumerate(shrinking):
        epoch["ctl_stopped"] = STOPPED[n]
    return row, shrinking + epochs(row, [5] * 20, trial=1, fid_recon=3.0)


def test_figure_3_compares_the_two_trainings_of_one_search(tmp_path: Path) -> None:
    data = figure_3_data(store(tmp_path / "r", retrained("fashionmnist")))
    assert data is not None
    (row,) = data.rows
    fixed, ald = row.trainings
    assert (fixed.name, set(fixed.sizes), set(fixed.values[0])) == ("fixed", {5}, {3.0})
    assert (ald.name, ald.sizes[0], ald.sizes[-1], set(ald.values[0])) == ("ALD", 8, 5, {7.0})
    assert row.about == ("mlp, seed 0", "final size 5") and fixed.stop == ald.stop == 10
    figure = draw_figure_3(data)
    styles = {line.get_linestyle() for line in figure.axes[0].lines[:2]}
    assert len(styles) == 2 and red_lines(figure) == [10.0] * 4  # never colour alone
    assert data.frame().groupby("line")["latent_dim"].first().to_dict() == {"ALD": 8, "fixed": 5}


def test_figure_3_shows_every_seed(tmp_path: Path) -> None:
    other, logged = retrained("mnist", seed=1)
    other["latent_dim"] = 6
    logged = [epoch | {"fid_recon": epoch["fid_recon"] + 1, "ctl_stopped": 0.0} for epoch in logged]
    data = figure_3_data(store(tmp_path / "r", retrained("mnist"), (other, logged)))
    assert data is not None
    assert data.rows[0].about == ("mlp, seeds 0, 1", "final size 5, 6", "rule fires at 5, never")
    figure = draw_figure_3(data)
    drawn = [line for line in figure.axes[0].lines if line.get_color() != STOP_RED]
    assert [(line.get_ydata()[0], line.get_alpha()) for line in drawn] == [(3, 1), (4, 0.4), (7, 1), (8, 0.4)]
    assert len({line.get_linestyle() for line in drawn[:2]}) == 1 and red_lines(figure) == [10.0] * 4


# --- figure 4


def start(dataset: str, size: int, final: int, seed: int = 0, **values: Any) -> tuple[Row, list[Row]]:
    settings = {"latent_dim": size, "stop_rule": True, "retrain": False}
    row = of(dataset, f"ald@{size}", seed, latent_dim=final, settings=settings, **values)
    return row, epochs(row, [size, size, final, final])


def test_figure_4_names_start_and_final_sizes(tmp_path: Path) -> None:
    parts = [start("fashionmnist", 64, 21), start("mnist", 80, 16), start("mnist", 64, 14), start("mnist", 100, 15)]
    data = figure_4_data(store(tmp_path / "r", *parts, full("mnist")))
    assert data is not None
    mnist, fashion = data.rows
    assert [line.name for line in mnist.trainings] == ["100 (Dim = 15)", "80 (Dim = 16)", "64 (Dim = 14)"]
    assert [line.name for line in fashion.trainings] == ["64 (Dim = 21)"]
    with paper_style():
        figure = draw_figure_4(data)
        figure.canvas.draw()
    left, right = figure.subfigs
    assert left.get_suptitle().startswith("MNIST") and right.get_suptitle().startswith("FashionMNIST")
    assert left.bbox.x0 < right.bbox.x0 and len(left.axes) == len(right.axes) == 4
    looks = [(line.get_color(), line.get_linestyle()) for line in left.axes[0].lines]
    assert len({color for color, _ in looks}) == len({dashes for _, dashes in looks}) == 3


def test_all_starts_at_a_smaller_budget_before_one_at_the_full(tmp_path: Path) -> None:
    reduced = [start("mnist", size, 10, epochs=20, protocol_hash="small") for size in (100, 80, 64)]
    runs = store(tmp_path / "r", *reduced, start("mnist", 64, 14))
    data = figure_4_data(runs)
    assert data is not None and len(data.rows[0].trainings) == 3
    assert data.rows[0].about == ("mlp, seed 0", "budget: 10 % of the paper's")


def test_one_seed_is_drawn_the_most_complete_then_the_lowest(tmp_path: Path) -> None:
    parts = [start("mnist", 64, 10 + seed, seed) for seed in (0, 1, 2)]
    parts += [start("mnist", 80, 20 + seed, seed) for seed in (1, 2)]
    data = figure_4_data(store(tmp_path / "r", *parts))
    assert data is not None and data.rows[0].about == ("mlp, seed 1",)
    names = ["80 (Dim = 21; seed 2: 22)", "64 (Dim = 11; seeds 0, 2: 10, 12)"]
    assert [line.name for line in data.rows[0].trainings] == names
    assert set(names) < set(texts(draw_figure_4(data)))


# --- section 5.2


def test_seeds_known_mean_and_sd(tmp_path: Path) -> None:
    parts = [start("mnist", 64, size, seed) for seed, size in enumerate((10, 12, 17))]
    failed = (of("mnist", "ald@64", 3, status="failed", settings=parts[0][0]["settings"]), [])
    table = seeds_data(store(tmp_path / "r", *parts, failed, full("mnist"), retrained("mnist")))
    assert table is not None
    (row,) = table.frame().to_dict("records")  # without the stop rule no size is chosen; a retrained one is no news
    assert (row["dataset"], row["searcher"], row["start size"]) == ("MNIST", "ald@64", 64)
    assert (row["seeds"], row["failed or running"], row["epochs"]) == (3, 1, 200)
    assert row["mean size [dimensions]"] == 13
    assert row["sd [dimensions]"] == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert row["paper's sd [dimensions]"] == 3 and row["share of the paper's budget [%]"] == 100


def test_seeds_of_other_datasets_and_settings(tmp_path: Path) -> None:
    def digits(seed: int, final: int, size: int = 32) -> tuple[Row, list[Row]]:
        settings = {"latent_dim": size, "stop_rule": True, "retrain": False}
        row = of("digits", "ald", seed, latent_dim=final, settings=settings, protocol="digits", epochs=150)
        return row | {"search_id": f"{row['search_id']}-{size}"}, []

    parts = [digits(0, 10), digits(1, 14), digits(0, 20, 64), digits(1, 20, 64), digits(0, 3, 8)]
    table = seeds_data(store(tmp_path / "r", *parts, start("eurosat", 64, 30)))
    assert table is not None
    frame = table.frame()
    assert frame["dataset"].tolist() == ["EuroSAT", "digits", "digits"]  # one seed of a start size of 8 is no spread
    assert frame["start size"].tolist() == [64, 32, 64]
    assert frame["mean size [dimensions]"].tolist() == [30, 12, 20]
    assert frame["sd [dimensions]"].tolist()[1:] == pytest.approx([math.sqrt(8), 0])
    assert math.isnan(frame["sd [dimensions]"][0]) and math.isnan(frame["paper's sd [dimensions]"][1])
    assert math.isnan(frame["share of the paper's budget [%]"][1])


def test_nothing_of_it_is_there(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", (search("grid"), []), (of("mnist", FULL, status="failed"), []))
    assert figure_2_data(runs) is figure_3_data(runs) is figure_4_data(runs) is seeds_data(runs) is None


# --- registry and protocols


@pytest.mark.parametrize("name", ["ald-figure2", "ald-figure3", "ald-figure4", "ald-seeds"])
def test_the_papers_protocols_make_every_run(name: str) -> None:
    item = PAPER_ITEMS[name]
    assert "2312.06280" in item.paper and item.needs
    for need in item.needs:
        protocol = load_protocol(need.protocol)
        assert protocol.dataset.name in PAPER_SD and set(need.searchers) <= set(protocol.run)
        assert protocol.seeds == (0, 1, 2, 3, 4)


def test_the_papers_protocols_can_reach_two_latents() -> None:
    for name in paper_ald.PROTOCOLS:
        protocol = load_protocol(name)
        settings = protocol.searchers[FULL]
        assert settings["stop_rule"] is False and protocol.searchers[RETRAINED]["retrain"] is True
        assert round(settings["budget"] * protocol.training.epochs) >= 5 * (settings["start_latent_dim"] - 2)


def test_from_a_real_run(tmp_path: Path) -> None:
    variants = f"""
[searchers."{RETRAINED}"]
start_latent_dim = 8
patience = 2
retrain = true
[searchers."{FULL}"]
start_latent_dim = 8
patience = 1
stop_rule = false
budget = 2.0
"""
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=4) + variants)
    arguments = ["--protocol", "tiny.toml", "--searchers", FULL, RETRAINED, "--seeds", 0]
    done = benchmark("run", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = StoreFrames(ResultsStore(tmp_path / "results"))
    names, out = ["ald-figure2", "ald-figure3"], tmp_path / "papers"
    assert list(write_papers(names, runs, out).written) == names and len(list(out.iterdir())) == 6
    shrinking, both = figure_2_data(runs), figure_3_data(runs)
    assert shrinking is not None and shrinking.rows[0].trainings[0].sizes == (8, 3, 2)  # and ends, with five to go
    assert both is not None and both.rows[0].trainings[0].sizes == (3,) * 4
    assert both.rows[0].trainings[1].sizes == (8, 8, 3, 3)
