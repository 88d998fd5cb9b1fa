"""The figures and tables of 1812.07238: known answers from a made-up store, and all of them drawn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import load_model
from benchmark.backbones.build import build_vae
from benchmark.backbones.model_file import save_model
from benchmark.config.protocol import load_protocol
from benchmark.store import ResultsStore
from benchmark.store.remote import open_results
from benchmark.store.rows import EPOCH_COLUMNS
from benchmark.store.sources.study_file import write_study_file
from reports.drawing.images import mosaic
from reports.drawing.style import paper_style
from reports.papers.asperti.base import MNIST_CONV, MNIST_DENSE, TILES_CONV, TILES_DENSE, find_run, pixels
from reports.papers.asperti.cube import SAMPLED, SLICES, UNSAMPLED, cube_data
from reports.papers.asperti.curves import RHOS, draw_variances, kl_at_ratio, ratio_data, variances_data
from reports.papers.asperti.images import (
    draw_pictures,
    too_many_tiles,
    zeroed_data,
)
from reports.papers.asperti.noise import NOISE, draw_noise, noise_data
from reports.papers.asperti.plane import MNIST_2D, positions_data, trajectories_data
from reports.papers.asperti.tables import table_1_data, table_2_data
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.registry import PAPER_ITEMS
from reports.papers.write import write_papers
from searchers.base import SearchSpace
from searchers.experiments.unsampled import Unsampled, UnsampledGrid
from searchers.parts.objectives import kl_per_dim
from searchers.testing import ToyProblem

ITEMS = [name for name in PAPER_ITEMS if name.startswith("asperti-")]
SHAPE = (1, 28, 28)
ACTIVE = np.array([0.9, 0.001, 0.7, 0.0])  # var(mean) of the four latents of most made-up runs
RNG = np.random.default_rng(0)


class Store:
    """A results folder that grows search by search."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "searches").mkdir(parents=True)

    @property
    def runs(self) -> StoreFrames:
        return StoreFrames(ResultsStore(self.root))

    def add(
        self, need: RequiredRuns, rows: list[dict[str, Any]], epochs: int = 100, seed: int = 0, **search: Any
    ) -> Path:
        """A finished search of one training with a gallery; its folder."""
        name = f"{need.protocol}-{len(list((self.root / 'searches').iterdir()))}"
        folder = ResultsStore(self.root).folder(name)
        of = load_protocol(need.protocol)
        keys = {"search_id": name, "dataset": of.dataset.name, "backbone": of.backbone.name, "seed": seed}
        keys["searcher"] = need.searchers[0]
        done = {"status": "done", "protocol": need.protocol, "epochs": epochs, "chosen_trial": 0, "scale": 1.0}
        folder.path.mkdir()
        folder.update(**{**keys, **done, **search})
        folder.trial(0).path.mkdir(parents=True)
        blank = dict.fromkeys(EPOCH_COLUMNS, 1.0)
        numbered = [{**blank, "trial": 0, "epoch": n, **row} for n, row in enumerate(rows, start=1)]
        folder.trial(0).write_rows(numbered)
        images = RNG.integers(0, 256, (10, *SHAPE), dtype=np.uint8)
        np.savez(folder.path / "images.npz", originals=images, reconstructions=255 - images, samples=images)
        return folder.path

    def add_model(self, need: RequiredRuns, rows: list[dict[str, Any]], latent_dim: int, **search: Any) -> Path:
        """The same with a model."""
        path = self.add(need, rows, **search)
        vae = build_vae("mlp", {"hidden": [8]}, SHAPE, latent_dim, seed=1)
        save_model(path / "model.pt", vae, "mlp", {"hidden": [8]}, SHAPE)
        return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def latents(variances: np.ndarray = ACTIVE, seen: int = 1280) -> dict[str, Any]:
    """A row with latents of these variances of the mean, all sums 1.02."""
    return {
        "images_seen": seen,
        "latent_id": np.arange(len(variances)),
        "latent_mean_variance": variances,
        "latent_variance_mean": 1.02 - variances,
        "latent_kl": np.ones(len(variances)),
    }


def probes(labels: list[int], n_latents: int, seen: int, shift: float = 0.0) -> dict[str, Any]:
    """A row with an image for each label: mean (image + shift, ...), variances 0.1, 0.2, ..."""
    n = len(labels)
    mean = np.repeat(np.arange(n)[:, None], n_latents, axis=1) + shift
    variance = np.tile(0.1 * np.arange(1, n_latents + 1), (n, 1))
    return {"images_seen": seen, "probe_label": np.array(labels), "probe_mean": mean, "probe_variance": variance}


def noisy(phases: list[int]) -> list[dict[str, Any]]:
    """Rows of the noise experiment, the first of the plain training without the latent's traces."""
    rows: list[dict[str, Any]] = []
    for epoch, phase in enumerate(phases):
        names = ("noisy_latent", "recon_gain", "noisy_kl", "noisy_variance", "noisy_variance_mean")
        values = {f"ctl_{name}": float(epoch) for name in names} if phase else {}
        rows.append({**latents(), "ctl_phase": float(phase), "ctl_noise_sd": 0.5 * epoch, **values})
    return rows


# ---- which run


def test_the_run_is_that_of_the_largest_budget_then_the_lowest_seed(store: Store) -> None:
    assert find_run(store.runs, MNIST_DENSE) is None
    store.add(MNIST_DENSE, [latents()], epochs=10, seed=0)
    run = find_run(store.runs, MNIST_DENSE)
    assert run is not None and run.note == "seed 0, 10 % of the budget"
    for seed in (4, 2):
        store.add(MNIST_DENSE, [latents()], epochs=100, seed=seed)
    store.add(MNIST_DENSE, [latents()], epochs=100, seed=1, status="failed")
    run = find_run(store.runs, MNIST_DENSE)
    assert run is not None and run.note == "seed 2"
    for other in ({"dataset": "fashionmnist"}, {"backbone": "mlp"}):  # run with --dataset or --backbone
        store.add(MNIST_DENSE, [latents()], epochs=200, seed=0, **other)
    run = find_run(store.runs, MNIST_DENSE)
    assert run is not None and run.seed == 2
    store.add(MNIST_2D, [latents()], epochs=201)  # 4220 batches, a row every 21
    run = find_run(store.runs, MNIST_2D)
    assert run is not None and run.note == "seed 0"


# ---- tables


def _summary(table: pd.DataFrame, row: str, column: str) -> Any:
    found = table.loc[table["row"].str.startswith(row), column]
    assert len(found) == 1
    return found.iloc[0]


def test_table_1_has_the_papers_values_beside_ours(store: Store) -> None:
    variances = np.linspace(1.1, 0.0, 16)  # falling, so that sorting shows; the last alone is inactive
    store.add(MNIST_DENSE, [latents(np.ones(16)), latents(variances)], seed=3)
    data = table_1_data(store.runs)
    assert data is not None
    table = data.frame()
    assert list(table["row"][:16]) == [str(n) for n in range(1, 17)]
    assert list(table["paper no."][:3]) == [13, 2, 0] and list(table["ours no."][:3]) == [15, 14, 13]
    np.testing.assert_allclose(table["ours variance"][:16], variances[::-1])
    np.testing.assert_allclose(table["ours sum"][:16], 1.02)
    assert list(table["ours inactive"][:16]) == [1] + 15 * [0] and list(table["paper inactive"][:16]) == 8 * [1] + 8 * [
        0
    ]
    assert _summary(table, "inactive (seed 3)", "paper inactive") == 8
    assert _summary(table, "inactive (seed 3)", "ours inactive") == 1
    assert _summary(table, "inactive, conv. (ours: not run)", "paper inactive") == 3
    assert _summary(table, "mean of the sums, tables", "paper sum") == pytest.approx(0.997, abs=5e-4)
    assert _summary(table, "variance of the sums, tables", "paper sum") == pytest.approx(0.00048, abs=5e-6)
    assert _summary(table, "mean of the sums, this", "ours sum") == pytest.approx(1.02)
    assert np.isnan(_summary(table, "mean of the sums, tables", "ours sum"))  # tiles are not run
    assert table_2_data(store.runs) is None


def test_sums_are_over_both_tables_once_both_are_run(store: Store) -> None:
    store.add(MNIST_DENSE, [latents(np.full(16, 0.5))])
    tiles = {**latents(np.full(16, 0.5)), "latent_variance_mean": np.full(16, 0.46)}  # sums 0.96 beside 1.02
    store.add(TILES_DENSE, [tiles])
    store.add(TILES_CONV, [latents(np.array([0.5] * 13 + [0.0, 0.001, np.nan]))], epochs=10)
    first, second = table_1_data(store.runs), table_2_data(store.runs)
    assert first is not None and second is not None
    for table in (first.frame(), second.frame()):
        assert _summary(table, "mean of the sums, tables", "ours sum") == pytest.approx(0.99)
        assert _summary(table, "variance of the sums, tables", "ours sum") == pytest.approx(0.03**2)
    assert _summary(second.frame(), "inactive, conv. (seed 0, 10 % of the budget)", "ours inactive") == 3
    assert _summary(second.frame(), "inactive, conv.", "paper inactive") == 4


def test_every_seed_has_its_count(store: Store) -> None:
    for seed, n in ((1, 9), (0, 8), (2, 11)):
        store.add(MNIST_DENSE, [latents(np.array([0.5] * (16 - n) + [0.0] * n))], seed=seed)
    store.add(MNIST_DENSE, [latents(np.full(16, 0.5))], epochs=10, protocol_hash="less", seed=3)
    data = table_1_data(store.runs)
    assert data is not None
    counts = data.frame().set_index("row")["ours inactive"]
    assert [counts[f"inactive (seed {seed})"] for seed in (0, 1, 2)] == [8, 9, 11] and "inactive (seed 3" not in counts
    assert data.frame()["ours inactive"].iloc[:16].sum() == 8  # the latents are those of the lowest seed


def test_a_table_of_the_convolutional_run_alone_leaves_our_latents_blank(store: Store) -> None:
    store.add(MNIST_CONV, [latents(np.full(16, 0.5))])
    data = table_1_data(store.runs)
    assert data is not None
    table = data.frame()
    assert table["ours variance"].isna().all() and table["paper variance"].notna().sum() == 16
    assert _summary(table, "inactive (ours: not run)", "paper inactive") == 8
    assert _summary(table, "inactive, conv. (seed 0)", "ours inactive") == 0


# ---- figures 1 and 2


def test_trajectories_are_of_one_image_a_digit_in_the_first_epoch(store: Store) -> None:
    labels = [7, 7, *range(10)]
    store.add(MNIST_2D, [probes(labels, 2, seen, shift=seen) for seen in (2688, 53_760, 56_448)])
    data = trajectories_data(store.runs)
    assert data is not None
    points = data.frame()
    assert sorted(points["images_seen"].unique()) == [2688, 53_760] and len(points) == 20
    first = points[points["images_seen"] == 2688].set_index("digit")
    assert first.loc[7, "image"] == 0 and first.loc[0, "image"] == 2  # the first image of each digit
    assert (first["z1"] == first["image"] + 2688).all() and first["z2"].equals(first["z1"].rename("z2"))
    np.testing.assert_allclose(points["variance"], 0.15)  # the mean of 0.1 and 0.2
    assert "from 2,688 to 53,760" in data.note and "10 digits, 1 each" in data.note


def test_positions_are_of_the_last_row_and_say_where_a_digit_is_rare(store: Store) -> None:
    labels = [0] * 8 + [1] * 2
    store.add(MNIST_2D, [probes(labels, 2, 2688), probes(labels, 2, 108_000, shift=5)], epochs=20)
    data = positions_data(store.runs)
    assert data is not None
    assert data.frame()["digit"].value_counts().to_dict() == {0: 6, 1: 2} and data.frame()["z1"].min() == 5
    assert "After 2 epochs" in data.note and "2 digits, 2 to 6 each" in data.note and "9.95 % of" in data.note


# ---- figure 3


def test_cube_decodes_a_grid_of_the_latent_space(store: Store) -> None:
    path = store.add_model(SAMPLED, [probes([0, 1], 3, 1), probes([0, 1, 2, 3], 3, 2)], 3, epochs=30)
    data = cube_data(store.runs)
    assert data is not None and [space.name for space in data.spaces] == ["(A) VAE"]
    (space,) = data.spaces
    assert list(space.encodings["digit"]) == [0, 1, 2, 3] and list(space.encodings["z3"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(space.spread, [np.sqrt(5), 0, 0], atol=1e-6)  # one direction: variance 3 * 5/3
    z = torch.tensor([[SLICES[0], SLICES[3], SLICES[4]]], dtype=torch.float32)
    with torch.inference_mode():
        image = torch.sigmoid(load_model(path / "model.pt").decode(z))[0, 0]
    np.testing.assert_allclose(space.slices[4, 3, 0], image, atol=1e-6)
    frame = data.frame()
    assert frame["mark"].value_counts().to_dict() == {"decoded image": 125, "encoding": 4}
    drawn = frame[frame["mark"] == "decoded image"]
    own = drawn[(drawn["z1"] == SLICES[0]) & (drawn["z2"] == SLICES[3]) & (drawn["z3"] == SLICES[4])]
    assert own["pixels"].tolist() == pixels(space.slices[4, 3, :1])


def test_pixels_and_mosaic_by_hand() -> None:
    assert pixels(np.array([[[0, 1], [0.5, 0.2]]], np.float32)) == ["00ff8033"]
    images = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    assert mosaic(images, 2).tolist() == [[0, 1], [2, 3]]
    assert mosaic(images, 2, gap=1).tolist() == [[0, 1, 1], [1, 1, 1], [2, 1, 3]]
    assert mosaic(images[:3], 2).tolist() == [[0, 1], [2, 1]]  # white at the end
    colours = np.arange(6, dtype=np.uint8).reshape(2, 1, 1, 3)
    assert mosaic(colours, 2, gap=1).tolist() == [[[0, 1, 2], [255, 255, 255], [3, 4, 5]]]


# ---- figures 5, 13 and 14


def test_variances_are_against_minibatches(store: Store) -> None:
    store.add(MNIST_DENSE, [latents(ACTIVE[::-1].copy(), 1280), latents(seen=2560)])
    data = variances_data(store.runs)
    assert data is not None
    points = data.frame().set_index(["no.", "minibatches"])
    assert points.loc[(0, 10), "variance"] == 0.0 and points.loc[(0, 20), "variance"] == 0.9
    assert points["inactive"].groupby("no.").first().tolist() == [False, True, False, True]
    figure = draw_variances(data)
    named = " ".join(text.get_text() for text in figure.legends[0].get_texts()).replace("\n", " ")
    assert named == "active at the end (2) inactive at the end (2)"
    lines = {line.get_linestyle() for line in figure.axes[0].lines}
    assert len(figure.axes[0].lines) == 4 and lines == {"-", "--"}


def test_kl_at_a_ratio_is_the_kl_and_least_where_equation_8_says() -> None:
    variance = np.array([0.01, 0.3, 1.5])
    mean = torch.tensor(np.sqrt(variance / 0.25))
    expected = kl_per_dim(mean[:, None], torch.tensor(variance).log()[:, None])[:, 0]
    np.testing.assert_allclose(kl_at_ratio(variance, 0.5), expected)
    points = ratio_data(None).frame()  # type: ignore[arg-type]  # it needs no run
    for rho in RHOS:
        own = points[points["rho"] == rho]
        least = own[own["is_minimum"]]
        assert len(least) == 1 and least["kl"].item() == own["kl"].min()
    assert least["variance"].item() == pytest.approx(0.8)  # rho = 2


@pytest.mark.parametrize(
    "phases, says",
    [
        ([0, 0], "The budget ended before any noise was added."),
        ([0, 0, 1, 1], "noise from epoch 3; the gain stayed above the KL to the end of the budget."),
        ([0, 0, 1, 1, 2, 3], "noise from epoch 3, raised until the gain was below the KL, in epoch 4."),
    ],
)
def test_noise_says_how_far_it_came(store: Store, phases: list[int], says: str) -> None:
    store.add(NOISE, noisy(phases))
    data = noise_data(store.runs)
    assert data is not None and says in data.note
    points = data.frame()
    assert len(points) == sum(phase > 0 for phase in phases)
    if len(points):
        assert points["epoch"].iloc[0] == 3 and points["phase"].iloc[0] == "noise raised"
        assert (points["recon_gain"] == points["epoch"] - 1).all() and (points["noise_sd"] == points["kl"] / 2).all()
    with paper_style():
        draw_noise(data).savefig(store.root / "noise.png")


# ---- images


def test_zeroed_shows_what_the_inactive_latents_do(store: Store) -> None:
    path = store.add_model(MNIST_DENSE, [latents()], 4)
    data = zeroed_data(store.runs)
    assert data is not None
    whole, zeroed = (block.images for block in data.blocks)
    vae = load_model(path / "model.pt")
    z = torch.tensor(np.random.default_rng(0).standard_normal((10, 4)), dtype=torch.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(vae.decode(z * torch.tensor([1, 0, 1, 0])))[:, 0]
    np.testing.assert_allclose(zeroed, expected, atol=1e-6)
    assert "the 2 inactive zeroed" in data.blocks[1].name
    assert data.blocks[1].name.endswith(f"by {np.abs(whole - zeroed).max():.2g} of 1 at most")
    with torch.no_grad():
        vae.decoder_in.weight[:, [1, 3]] = 0  # a decoder that neglects them
    save_model(path / "model.pt", vae, "mlp", {"hidden": [8]}, SHAPE)
    again = zeroed_data(store.runs)
    assert again is not None and again.blocks[1].name.endswith("by 0 of 1 at most")


def test_too_many_tiles() -> None:
    images = np.zeros((3, 28, 28), np.float32)
    images[0, :4, :12] = 1  # three tiles
    images[1, :4, :16] = 1  # four
    images[2, :8, :14] = 0.5  # as much white as three and a half
    assert too_many_tiles(images) == pytest.approx(1 / 3)


def test_images_of_tiles(store: Store) -> None:
    store.add_model(TILES_CONV, [latents()], 4)
    path = store.add(TILES_DENSE, [latents()], epochs=5)
    samples, inputs = (PAPER_ITEMS[f"asperti-figure{n}"].data(store.runs) for n in (12, 9))
    assert samples is not None and inputs is not None
    assert len(samples.frame()) == 20 and "of 1,000 samples" in samples.blocks[0].name
    originals, reconstructions = (block.images for block in inputs.blocks)
    np.testing.assert_allclose(originals + reconstructions, 1, atol=1e-6)
    assert "5 % of the budget" in inputs.blocks[0].name
    (path / "images.npz").unlink()
    assert PAPER_ITEMS["asperti-figure9"].data(store.runs) is None


# ---- all of them


def test_every_item_is_drawn_from_its_runs_and_none_without(store: Store, tmp_path: Path) -> None:
    report = write_papers(ITEMS, store.runs, tmp_path / "none")
    assert list(report.written) == ["asperti-figure13"]  # it alone needs no run
    for need in (MNIST_DENSE, MNIST_CONV, TILES_DENSE, TILES_CONV):
        store.add_model(need, [latents(RNG.uniform(0, 1, 16) ** 3, seen) for seen in (1280, 2560)], 16)
    labels = RNG.integers(0, 10, 60).tolist()
    store.add(MNIST_2D, [probes(labels, 2, seen, seen / 9e3) for seen in (2688, 8064, 53_760, 108_000)], epochs=201)
    for need in (SAMPLED, UNSAMPLED):
        store.add_model(need, [probes(labels, 3, 54_000)], 3, epochs=30)
    store.add(NOISE, noisy([0, 1, 1, 2, 2, 3, 3]))
    report = write_papers(ITEMS, store.runs, tmp_path / "papers")
    assert list(report.written) == ITEMS and not report.missing and len(ITEMS) == 15
    for name, files in report.written.items():
        assert {path.suffix for path in files} == ({".csv", ".tex"} if "table" in name else {".png", ".pdf", ".csv"})
        assert all(path.stat().st_size > 100 for path in files)


def test_pictures_keep_a_line_that_is_not_full(store: Store) -> None:
    store.add(TILES_DENSE, [latents()])
    data = PAPER_ITEMS["asperti-figure9"].data(store.runs)
    assert data is not None
    (ax, _) = draw_pictures(data).axes
    strip = np.asarray(ax.images[0].get_array())
    assert strip.shape == (28, 10 * 30 - 2)
    np.testing.assert_allclose(strip[:, 30:58], data.blocks[0].images[1], atol=1e-6)


# ---- training without sampling (figure 3 B)


def test_unsampled_loss_by_hand() -> None:
    vae = build_vae("mlp", {"hidden": [5]}, (1, 2, 2), 3, seed=0)
    x = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    mean, _ = vae.encode(x)
    p = torch.sigmoid(vae.decode(mean))
    nll = -(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
    loss = Unsampled().loss(vae, x, torch.Generator()).total
    torch.testing.assert_close(loss, (nll + 0.5 * mean.square().sum(1)).mean())
    loss.backward()
    assert vae.logvar_head.weight.grad is None and vae.mean_head.weight.grad is not None


def test_every_size_of_the_space_is_trained_without_sampling() -> None:
    toy = ToyProblem(epochs=1, space=SearchSpace(2, 3, (2, 3)))
    UnsampledGrid().search(toy)
    assert [asked[:3] for asked in toy.asked] == [(2, 1, "Unsampled"), (3, 1, "Unsampled")]


def test_of_a_studys_file_there_is_what_it_holds(store: Store, tmp_path: Path) -> None:
    store.add_model(MNIST_DENSE, [latents(), latents()], 4)
    store.add(TILES_DENSE, [latents()])
    store.add(MNIST_2D, [probes([3, 5], 2, 2688)])
    study = tmp_path / "study.parquet"
    write_study_file(store.runs.store, study)
    report = write_papers(ITEMS, StoreFrames(open_results([study])), tmp_path / "papers")
    assert set(report.written) == {"asperti-table1", "asperti-table2", "asperti-figure13"}
    assert {f"asperti-figure{n}" for n in (1, 2, 4, 5, 6, 9, 10)} < set(report.missing)
    table = pd.read_csv(report.written["asperti-table1"][0])
    assert table.set_index("row").loc["inactive (seed 0)", "ours inactive"] == 2
