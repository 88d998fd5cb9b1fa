"""GECO/L0-ARM's figures and table from made-up stores whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_frames import Row, epochs, search, write_store

from benchmark.config.protocol import load_protocol
from benchmark.store import ResultsStore
from benchmark.suite.plan import make_searcher
from reports.drawing.style import STOP_RED, paper_style
from reports.papers.base import StoreFrames
from reports.papers.geco import (
    FIGURE_1,
    FIGURE_2,
    FIGURE_3,
    TABLE_1,
    TABLE_1_NEEDS,
    TAUS,
    draw_figure_1,
    draw_figure_2,
    draw_figure_3,
    figure_1_data,
    figure_2_data,
    figure_3_data,
    table_1_data,
)
from reports.papers.registry import PAPER_ITEMS
from searchers.base import Expected

Part = tuple[Row, list[Row]]


def gated(row: Row, gates: list[int], batches: int, trial: int = 0, **values: Any) -> list[Row]:
    """A training with these open gates, `batches` of 64 images between two rows."""
    return [
        epoch
        | {"images_seen": n * batches * 64, "ctl_open_gates": float(open_gates), "latent_dim": open_gates, **values}
        for n, (epoch, open_gates) in enumerate(zip(epochs(row, gates, trial=trial), gates, strict=True), start=1)
    ]


def store(root: Path, *parts: Part) -> StoreFrames:
    write_store(root, [row for row, _ in parts], [epoch for _, logged in parts for epoch in logged])
    return StoreFrames(ResultsStore(root))


def drawn(figure: Figure) -> Figure:
    with paper_style():
        figure.canvas.draw()
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


# --- figure 1


def watched(n_epochs: int = 100, **values: Any) -> Part:
    keys = {"dataset": "dsprites", "backbone": "geco-conv", "protocol": "geco-figure1", "protocol_hash": "f1"}
    row = search("geco-l0arm", latent_dim=5, **{**keys, **values})
    logged = gated(row, [10] * n_epochs, 500, ctl_tau=20.0)
    for n, epoch in enumerate(logged):
        mass, rate = {"ctl_gate_mass": 9.5 - 0.01 * n, "ctl_lambda": 1.0 / (n + 1)}, {"ctl_hit_rate": n / 200}
        epoch |= {"ctl_error_average": 500.0 / (n + 1), "recon_sse": -1.0, **mass, **rate}
    return row, logged


def test_figure_1_four_quantities_by_batches(tmp_path: Path) -> None:
    data = figure_1_data(store(tmp_path / "r", watched(seed=1), watched(seed=0, epochs=6)))
    assert data is not None and data.tau == 20 and data.about == "dSprites, geco-conv, seed 0"
    assert data.curves["batches"].tolist() == list(range(500, 50_001, 500))
    assert data.curves["mse"].tolist() == [500.0 / n for n in range(1, 101)]  # the training's, not the validation's
    figure = drawn(draw_figure_1(data))
    assert len(figure.axes) == 4 and [len(ax.lines) for ax in figure.axes] == [2, 1, 1, 1]
    bound = figure.axes[0].lines[1]
    assert bound.get_color() == STOP_RED and list(bound.get_ydata()) == [20, 20]
    rate = figure.axes[3].lines[0]
    assert np.asarray(rate.get_xdata())[[0, -1]] == pytest.approx([0.5, 50])  # thousand batches
    assert np.asarray(rate.get_ydata())[[0, -1]] == pytest.approx([0, 49.5])  # per cent
    frame = data.frame()
    assert len(frame) == 100 and set(frame["tau [squared error/image]"]) == {20}
    assert frame["mse [squared error/image]"][1] == 250 and frame["hit_rate [share of images]"][99] == 0.495


def test_figure_1_of_a_reduced_run_with_another_backbone(tmp_path: Path) -> None:
    data = figure_1_data(store(tmp_path / "r", watched(1, backbone="mlp", dataset="digits")))
    assert data is not None and data.about == "digits, mlp, seed 0, budget: 1 % of the paper's"
    figure = drawn(draw_figure_1(data))
    assert any("1 % of the" in text for text in texts(figure))
    assert figure.axes[0].lines[0].get_marker() == "."  # a line of one point would not be seen


# --- figure 2


def reconstructing(tau: int, size: int, **values: Any) -> Part:
    keys = {"dataset": "dsprites", "backbone": "geco-conv", "protocol": "geco-figure2", "protocol_hash": "f2"}
    row = search(f"geco-l0arm@tau{tau}", latent_dim=size, settings={"tau": float(tau)}, **{**keys, **values})
    return row, gated(row, [10] * 9 + [size], 5000)


def test_figure_2_rows(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", reconstructing(35, 3), reconstructing(25, 5))
    data = figure_2_data(runs)
    assert data is not None and data.about == "dSprites, geco-conv, seed 0"
    assert [name for name, _ in data.rows] == ["τ = 25\nsize 5\n(paper: 5)", "τ = 35\nsize 3\n(paper: 3)"]
    assert data.originals.shape == (8, 8, 8, 3)
    assert data.frame()["tau [squared error/image]"].tolist() == [25, 35]
    assert data.frame()["dimensions"].tolist() == [5, 3]
    figure = drawn(draw_figure_2(data))
    strips = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert len(strips) == 3 and (strips[0][:, :8] == data.originals[0]).all()
    assert (strips[0][:, 8] == 255).all() and (strips[2][:, 9:17] == data.rows[1][1][1]).all()


def test_figure_2_of_what_there_is(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", reconstructing(35, 1), reconstructing(25, 5))
    for row in runs.searches.to_dict("records"):
        if row["searcher"].endswith("25"):
            (runs.store.folder(row["search_id"]).path / "images.npz").unlink()
    data = figure_2_data(runs)
    assert data is not None and [name for name, _ in data.rows] == ["τ = 35\nsize 1\n(paper: 3)"]
    (runs.store.folder(str(data.runs["search_id"].iloc[0])).path / "images.npz").unlink()
    assert figure_2_data(runs) is None


def test_figure_2_names_the_protocols_budget(tmp_path: Path) -> None:
    row, logged = reconstructing(25, 5)
    data = figure_2_data(store(tmp_path / "r", (row, logged[:1])))
    assert data is not None and data.about.endswith("budget: 10 % of the protocol's")  # the paper gives none


# --- figure 3


def bounded(tau: int, size: int, seed: int = 0, **values: Any) -> Part:
    keys = {"dataset": "mnist", "backbone": "geco-conv", "protocol": "geco-figure3", "protocol_hash": "f3"}
    keys |= {"epochs": 2000, "settings": {"tau": float(tau)}, "settled": True}
    row = search(f"geco-l0arm@tau{tau}", seed, latent_dim=size, **{**keys, **values})
    return row, gated(row, [32, size], 843)


def label_galleries(runs: StoreFrames, labels: list[int]) -> None:
    """Gives each gallery these labels, images whose first pixel is their place, and tau added to it by the model."""
    for _, row in runs.searches.iterrows():
        path = runs.store.folder(row["search_id"]).path / "images.npz"
        images = np.zeros((len(labels), 1, 4, 4), np.uint8)
        images[:, 0, 0, 0] = np.arange(len(labels))
        reconstructed = images + np.uint8(float(row["setting_tau"]))
        np.savez(path, originals=images, reconstructions=reconstructed, samples=images, labels=np.array(labels))


def test_figure_3_front_and_the_seven(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", *(bounded(tau, 40 - tau) for tau in reversed(TAUS)))
    label_galleries(runs, [1, 2, 7, 7])
    data = figure_3_data(runs)
    assert data is not None and data.unfinished == () and data.about == "MNIST, geco-conv, seed 0"
    assert data.points["tau"].tolist() == list(TAUS)
    assert data.points["dimensions"].tolist() == [40 - tau for tau in TAUS]
    assert data.original is not None and data.original[0, 0, 0] == 2 and data.what == "a test image of class 7"
    assert list(data.images) == [3, 6, 10, 22, 30]
    assert [image[0, 0, 0] for image in data.images.values()] == [2 + 3, 2 + 6, 2 + 10, 2 + 22, 2 + 30]
    frame = data.frame()
    paper = frame[frame["source"] == "paper"]
    assert paper[["tau [squared error/image]", "dimensions"]].to_numpy().tolist() == [[3, 27], [30, 2]]
    figure = drawn(draw_figure_3(data))
    (front,) = (ax for ax in figure.axes if ax.get_xlabel())
    ours, printed = front.lines
    assert list(ours.get_xdata()) == list(TAUS) and list(printed.get_ydata()) == [27, 2]
    assert {"original", "τ = 3", "τ = 30", "reconstructions of a test image of class 7"} <= set(texts(figure))


def test_figure_3_without_labels_or_images(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", bounded(3, 20), bounded(14, 9))
    data = figure_3_data(runs)
    assert data is not None and data.what == "a test image" and list(data.images) == [3, 14]
    assert data.unfinished == (4, 6, 8, 10, 18, 22, 26, 30)
    assert any("no finished run at τ = 4, 6" in text for text in texts(drawn(draw_figure_3(data))))
    for search_id in runs.searches["search_id"]:
        (runs.store.folder(search_id).path / "images.npz").unlink()
    bare = figure_3_data(runs)
    assert bare is not None and bare.original is None and len(drawn(draw_figure_3(bare)).axes) == 1


def test_figure_3_with_no_seven(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", bounded(3, 20))
    label_galleries(runs, [4, 1])
    data = figure_3_data(runs)
    assert data is not None and data.what == "a test image of class 4"


def test_figure_3_reduced_and_of_another_backbone(tmp_path: Path) -> None:
    reduced = [bounded(tau, 9, backbone="mlp", epochs=100, protocol_hash="s") for tau in TAUS]
    data = figure_3_data(store(tmp_path / "r", *reduced, bounded(3, 20)))
    assert data is not None and len(data.points) == 10  # complete before one point of the full budget
    assert data.about == "MNIST, mlp, seed 0, budget: 5 % of the paper's"


def test_figure_3_over_seeds(tmp_path: Path) -> None:
    parts = [bounded(3, 20 + seed, seed=seed, settled=seed > 0) for seed in (0, 2, 4)] + [bounded(14, 9)]
    data = figure_3_data(store(tmp_path / "r", *parts))
    assert data is not None and data.about == "MNIST, geco-conv, seeds 0, 2, 4"
    points = [[3, 0, 20, False], [3, 2, 22, True], [3, 4, 24, True], [14, 0, 9, True]]
    assert data.points.to_numpy().tolist() == points
    (front,) = (ax for ax in drawn(draw_figure_3(data)).axes if ax.get_xlabel())
    assert np.asarray(front.lines[0].get_xydata()).tolist() == [[3, 22], [14, 9]]
    hollow = front.lines[1]
    assert np.asarray(hollow.get_xydata()).tolist() == [[3, 20]] and hollow.get_markerfacecolor() == "white"
    assert [bar.tolist() for bar in front.collections[0].get_segments()] == [[[3, 20], [3, 24]], [[14, 9], [14, 9]]]
    assert any("range of the seeds" in text for text in texts(front.figure))


# --- table I


def pruned(dataset: str, n: int, gates: list[int], batches: int, tau: float, **values: Any) -> Part:
    """Baseline and gated training; `batches` between two rows."""
    keys = {"dataset": dataset, "backbone": "geco-conv", "protocol": f"geco-table1-{dataset}", "protocol_hash": "t"}
    row = search(f"geco-l0arm@n{n}", n_trials=2, chosen_trial=1, settings={"tau": None}, **{**keys, **values})
    baseline = gated(row, [n] * (len(gates) // 2), batches, ctl_tau=0.0)
    return row, baseline + gated(row, gates, batches, trial=1, ctl_tau=tau)


def table(tmp_path: Path, *parts: Part) -> dict[tuple[str, int], Row]:
    made = table_1_data(store(tmp_path / "r", *parts))
    assert made is not None and len(made.frame()) == 15
    return {(row["dataset"], row["n"]): row for row in made.frame().to_dict("records")}


def test_table_1_reads_at_the_shares_of_the_budget(tmp_path: Path) -> None:
    gates = [20] * 19 + [14] + [13] * 9 + [12] + [11] * 9 + [10]  # 14 at 200K of 400K, 12 at 300K, 10 at the end
    rows = table(tmp_path, pruned("mnist", 10, gates, 10_000, 9.5))
    row = rows["MNIST", 10]
    assert [row[f"size ({at}), ours [dimensions]"] for at in ("200K", "300K", "400K")] == [14, 12, 10]
    assert [row[f"size ({at}), paper [dimensions]"] for at in ("200K", "300K", "400K")] == [10, 9, 9]
    assert row["MSE (200K), ours [squared error/image]"] == 9.5
    assert row["MSE (200K), paper [squared error/image]"] == 9.49
    assert row["run"] == "geco-conv, seed 0"
    other = rows["CIFAR-100", 30]
    assert other["MSE (200K), paper [squared error/image]"] == 147.8 and other["run"] == "not run"
    assert math.isnan(other["MSE (200K), ours [squared error/image]"])


def test_table_1_says_reduced_failed_and_running(tmp_path: Path) -> None:
    keys = {"dataset": "cars3d", "protocol": "geco-table1-cars3d"}
    failed = (search("geco-l0arm@n5", status="failed", **keys), [])
    running = (search("geco-l0arm@n10", status="running", **keys), [])
    mine = pruned("digits", 5, [4], 400_000, 1.0, protocol="geco-table1-cars3d")  # other images: no row of the table
    rows = table(tmp_path, failed, running, mine, pruned("dsprites", 5, [10, 8], 10_000, 9.0, backbone="mlp"))
    assert rows["dSprites", 5]["run"] == "mlp, seed 0, budget: 5 % of the paper's"
    assert [rows["dSprites", 5][f"size ({at}), ours [dimensions]"] for at in ("200K", "400K")] == [10, 8]
    assert [rows["Cars3D", n]["run"] for n in (5, 10, 30)] == ["failed", "running", "not run"]


def test_table_1_is_the_papers() -> None:
    """The bundled protocols take tau from its MSE column, and start from twice n."""
    for dataset, of_n in TABLE_1.items():
        need = TABLE_1_NEEDS[dataset]
        protocol = load_protocol(need.protocol)
        assert protocol.run == need.searchers and protocol.dataset.name == dataset
        assert protocol.searchers["geco-l0arm"]["tau"] == of_n[30][0]
        for n, (_, *sizes) in of_n.items():
            searcher = make_searcher("geco-l0arm", protocol.searchers[f"geco-l0arm@n{n}"])
            baseline, gated = searcher.expected(protocol.space, 400, seed=0)
            assert (baseline.latent_dim, baseline.epochs, gated.latent_dim) == (n, 200, 2 * n)
            assert sizes == sorted(sizes, reverse=True)


def test_nothing_of_it_is_there(tmp_path: Path) -> None:
    runs = store(tmp_path / "r", (search("grid"), []), (watched(1)[0] | {"status": "failed"}, []))
    assert figure_1_data(runs) is figure_2_data(runs) is figure_3_data(runs) is table_1_data(runs) is None


# --- registry and protocols


@pytest.mark.parametrize("name", ["geco-figure1", "geco-figure2", "geco-figure3", "geco-table1"])
def test_the_papers_protocols_make_every_run(name: str) -> None:
    item = PAPER_ITEMS[name]
    assert "2003.10901" in item.paper and (item.draw is None) == (name == "geco-table1")
    for need in item.needs:
        assert set(need.searchers) == set(load_protocol(need.protocol).run)


def test_the_new_protocols() -> None:
    one, two = load_protocol(FIGURE_1.protocol), load_protocol(FIGURE_2.protocol)
    assert one.dataset.name == two.dataset.name == "dsprites" and one.backbone.name == two.backbone.name == "geco-conv"
    watched_search = make_searcher("geco-l0arm", one.searchers["geco-l0arm"])
    assert watched_search.tau == 20 and watched_search.expected(one.space, 100, 0) == [Expected(10, 100)]
    training = one.training.with_epochs(663_552)  # dSprites without its test and validation images
    assert training.epochs == 100 and training.steps_per_epoch(663_552) == 500  # a hundred points
    assert [make_searcher(name, two.searchers[name]).tau for name in FIGURE_2.searchers] == [25, 35]
    three = load_protocol(FIGURE_3.protocol)
    assert [make_searcher(name, three.searchers[name]).tau for name in FIGURE_3.searchers] == list(TAUS)
