"""The numbers of docs/results/papers.md from made-up stores, and its text, which must stand whatever has been run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from report_frames import Row, epochs, search, write_store

from benchmark.config.protocol import load_protocol
from benchmark.config.resolved import protocol_toml
from benchmark.store import ResultsStore
from docs.results import papers
from reports.papers.base import StoreFrames

FOLDER = Path(papers.__file__).parent
SHORT = {"data": "splits: 54,000 train, 6,000 validation, 10,000 test", "n_epochs": 200, "images_seen": 200 * 5400}
Part = tuple[Row, list[Row]]


def shrinking(searcher: str, seed: int, sizes: list[int], stop: int | None, **values: Any) -> Part:
    keys = {"dataset": "mnist", "protocol": "ald-mnist", "protocol_hash": "short", "epochs": 200, **SHORT}
    keys |= {"settled": stop is not None, "test_active_units": 6}
    row = search(searcher, seed, latent_dim=sizes[-1], **{**keys, **values})
    logged = epochs(row, sizes)
    for epoch in logged:
        epoch["ctl_stopped"] = float(stop is not None and epoch["epoch"] >= stop)
    return row, logged


def gated(tau: int, seed: int, size: int, error: float) -> Part:
    keys = {"dataset": "mnist", "protocol": "geco-figure3", "protocol_hash": "g", "epochs": 24, "settled": size < 32}
    row = search(f"geco-l0arm@tau{tau}", seed, latent_dim=size, settings={"tau": float(tau)}, **keys)
    logged = [epoch | {"ctl_tau": float(tau), "ctl_error_average": error} for epoch in epochs(row, [32, size])]
    return row, [epoch | {"images_seen": 64 * 10_000 * epoch["epoch"]} for epoch in logged]


def asperti(seed: int, inactive: list[int], protocol_hash: str = "torch", n: int = 100) -> Part:
    """A training of 16 latents with so many inactive in each epoch."""
    keys = {"dataset": "mnist", "backbone": "asperti-dense", "protocol": "asperti-mnist-dense", "epochs": n}
    row = search("grid@16", seed, latent_dim=16, protocol_hash=protocol_hash, **keys)
    logged = epochs(row, [16] * len(inactive))
    for epoch, count in zip(logged, inactive, strict=True):
        variances = [0.5] * (16 - count) + [0.0] * count
        epoch |= {"active_units": 16 - count, "latent_id": list(range(16)), "latent_mean_variance": variances}
        epoch |= {"latent_variance_mean": [1 - v for v in variances], "latent_kl": [1.0] * 16}
    return row, logged


def numbers(root: Path, *parts: Part) -> dict[str, Any]:
    write_store(root, [row for row, _ in parts], [epoch for _, logged in parts for epoch in logged])
    return papers.numbers(StoreFrames(ResultsStore(root)))


def page(found: dict[str, Any]) -> str:
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    text = (
        Environment(loader=FileSystemLoader(FOLDER), **options)
        .get_template("papers.md")
        .render(papers=found, figures={"ald-figure2"})
    )
    assert isinstance(text, str)
    return text


def test_sizes_of_ald(tmp_path: Path) -> None:
    parts = [shrinking("ald@64", seed, [64] * 5 + [end] * 5, stop) for seed, end, stop in ((0, 28, 6), (1, 30, 8))]
    parts += [shrinking("ald@64", 2, [64] * 5 + [32] * 5, None), shrinking("ald@100", 0, [100, 67], None)]
    parts += [shrinking("ald@64e", 0, [64, 12], 2), shrinking("ald@100e", 0, [100, 15], 2)]
    whole = {"images_seen": 200 * 53_952, "protocol_hash": "whole"}
    parts += [shrinking("ald@64", 0, [64] * 5 + [36] * 5, 7, **whole)]
    quick = {"images_seen": 40 * 53_952, "n_epochs": 40, "epochs": 40, "protocol_hash": "quick"}
    parts += [shrinking("ald@64e", 0, [64, 5], 2, **quick)]
    found = numbers(tmp_path / "r", *parts)
    one = found["ald"]["mnist"]
    assert one["share"] == pytest.approx(10) and one["unfired"] == (2, 4)
    assert one["sizes"][64]["values"] == [28, 30, 32] and one["sizes"][100]["values"] == [67]
    assert one["in_use"][64]["values"] == [6, 6, 6] and one["in_use_apart"]["values"] == [0]
    assert one["apart"]["values"] == [39] and one["every_epoch_apart"]["values"] == [3]
    assert {start: sizes["values"] for start, sizes in one["every_whole_epoch"].items()} == {64: [5]}
    assert one["sd"]["sd"] == 2 and one["sd"]["inside"] is True
    assert (one["sd"]["low"], one["sd"]["high"]) == (pytest.approx(1.0413, abs=1e-4), pytest.approx(12.57, abs=0.01))
    assert one["stop"]["values"] == [6, 8]  # the third never stopped
    assert one["full"]["size"]["values"] == [36] and one["full"]["stop"]["values"] == [7]
    text = page(found)
    assert "| sizes chosen from 64, by seed | not printed | 28, 30, 32 | not run |" in text
    assert "(5.2; from which start it does not say) | 2.0 (1.0 to 12.6): inside |" in text and "36 (7)" in text


def test_figures_2_and_3_of_ald(tmp_path: Path) -> None:
    sizes = [64] * 5 + [40] * 5 + [20] * 5 + [2] * 5
    row, logged = shrinking("ald@full", 0, sizes, 10)
    for epoch in logged:  # least at the end of size 20, in epoch 15
        epoch |= {"recon_nll": 90.0 + abs(epoch["epoch"] - 15), "fid_recon": 2.0 if epoch["latent_dim"] > 20 else 1.0}
    both, ald = shrinking("ald@retrain", 0, [64, 30], 2, n_trials=2, chosen_trial=1)
    ald = [epoch | {"recon_nll": 81.0} for epoch in ald]
    fixed = [epoch | {"recon_nll": 80.0} for epoch in epochs(both, [30, 30], trial=1)]
    found = numbers(tmp_path / "r", (row, logged), (both, ald + fixed))
    two, three = (found["ald"]["mnist"][name] for name in ("figure_2", "figure_3"))
    assert (two["seeds"], two["fired"], two["size"]["values"]) == (1, 1, [40])
    # Means over five epochs: least around epoch 15, 1.2 above its own lowest value; at the stop those of 6 to 10.
    assert two["recon_nll"]["size"]["values"] == [2]
    assert two["recon_nll"]["behind"]["values"] == [pytest.approx(7 - 1.2)]
    assert two["fid_recon"]["behind"]["values"] == [2]
    assert three["recon_nll"]["values"] == [1]
    assert "| MNIST (1 of 1 fired) | 40 |" in page(found)


def test_front_of_geco(tmp_path: Path) -> None:
    parts = [gated(30, seed, size, 29.0) for seed, size in ((0, 2), (1, 4))] + [gated(3, 0, 32, 8.0)]
    found = numbers(tmp_path / "r", *parts)
    geco = found["geco"]
    assert geco["points"][30]["values"] == [2, 4] and geco["inside"] == {30: True}
    assert (geco["met"], geco["settled"], geco["trainings"], geco["steps"]) == (2, 2, 3, 20_000)
    assert geco["share"] == pytest.approx(1.2) and geco["conv"] == {}
    assert "| 30 | 2 | 2, 4 | inside |" in page(found) and "| 3 | 27 | 32 | bound not reached |" in page(found)


def test_inactive_latents(tmp_path: Path) -> None:
    results = tmp_path / "r"
    parts = [asperti(0, [16, 12, 9, 9]), asperti(1, [16, 8, 10, 11])]
    parts += [asperti(seed, [7 + seed] * 4, "scaled", 30) for seed in (0, 1)]
    write_store(results, [row for row, _ in parts], [epoch for _, logged in parts for epoch in logged])
    (results / "protocols").mkdir()
    text = protocol_toml(load_protocol("asperti-mnist-dense"))
    (results / "protocols" / "protocol-torch.toml").write_text(text)
    scaled = text.replace('name = "asperti-dense"', 'name = "asperti-dense"\ninit = "scaled"')
    (results / "protocols" / "protocol-scaled.toml").write_text(scaled)
    found = papers.numbers(StoreFrames(ResultsStore(results)))
    one = found["asperti"]["mnist_dense"]
    assert (one["inactive"]["values"], one["paper"], one["inside"], one["share"]) == ([9, 11], 8, False, 100)
    assert one["early"]["values"] == [12, 8] and one["sums"] == {"mean": 1, "variance": pytest.approx(0), "near": 1}
    assert (one["scaled"]["inactive"]["values"], one["scaled"]["inside"]) == ([7, 8], True)
    assert "| MNIST, dense (table I) | 100 % | 8 | 9, 11 | outside | 12, 8 | 7, 8 (30 %): inside |" in page(found)
    (results / "protocols" / "protocol-scaled.toml").unlink()
    with pytest.raises(KeyError, match="protocol-scaled"):  # the start of such a run is not known
        papers.numbers(StoreFrames(ResultsStore(results)))


def test_the_text_stands_without_runs(tmp_path: Path) -> None:
    found = numbers(tmp_path / "r", (search("grid"), []))
    assert found["ald"]["fashionmnist"]["sd"]["inside"] is None and math.isclose(found["geco"]["paper"][3], 27)
    assert "not run" in page(found) and "None" not in page(found) and "nan" not in page(found)
