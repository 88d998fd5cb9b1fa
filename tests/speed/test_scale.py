"""The simulation of the papers' suite: its literal table agrees with the loaders, and its tables with the costs."""

import os
from pathlib import Path

import pytest
import torch

from benchmark.datasets import load_dataset
from benchmark.datasets.base import make_dataset, split_dataset
from benchmark.suite.forecast import Placement
from tests.speed import scale
from tests.speed.scale import IMAGES, experiments, hours_cells, limit, markdown, paper_protocols, suite_cells

REAL = Path(os.environ.get("LATENTBENCH_DATA", "/nonexistent"))
OFFICIAL = {"mnist": 60_000, "fashionmnist": 60_000, "cifar100": 50_000, "tiles": 10_000}  # training images
WHOLE = {"eurosat": 27_000, "sprites": 11_664, "dsprites": 737_280, "shapes3d": 480_000, "cars3d": 17_568}
NAMES = ("ald-mnist", "asperti-mnist-3d")


@pytest.mark.parametrize("name", IMAGES)
def test_the_table_has_what_the_splits_leave(name: str) -> None:
    n_rows = OFFICIAL.get(name) or WHOLE[name]
    images, labels = torch.zeros(n_rows, 1, 1, 1, dtype=torch.uint8), torch.zeros(n_rows, dtype=torch.int64)
    if name in OFFICIAL:
        dataset = make_dataset(name, images, labels, images[:2], labels[:2], 1, "no content")
    else:
        dataset = split_dataset(name, images, labels, 1, "no content")
    assert len(dataset.train) == IMAGES[name][1]


def test_the_table_agrees_with_a_generated_dataset() -> None:
    dataset = load_dataset("tiles")
    assert (dataset.image_shape, len(dataset.train)) == IMAGES["tiles"]


@pytest.mark.skipif(not (REAL / "MNIST" / "raw").is_dir(), reason="LATENTBENCH_DATA names no folder with MNIST")
def test_the_table_agrees_with_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_DATA", str(REAL))
    dataset = load_dataset("mnist")
    assert (dataset.image_shape, len(dataset.train)) == IMAGES["mnist"]


def test_every_protocol_of_the_papers_is_in_the_suite() -> None:
    names = paper_protocols()
    assert len(names) > 15 and not {"digits", "manifold", "folder"} & set(names)
    suite = experiments(names)
    assert all({spec.seed for spec in experiment.specs} == set(scale.SEEDS) for experiment in suite)
    assert next(e for e in suite if e.protocol == "geco-table1-dsprites").specs[0].training.epochs == 43


def test_tables_add_up() -> None:
    suite = experiments(NAMES)
    speed = {experiment.network: 1e15 for experiment in suite}
    header, *lines, total = suite_cells(suite, speed)
    assert [line[0] for line in lines] == list(NAMES) and {len(line) for line in lines} == {len(header)}
    assert total[:2] == ["all", "40"]
    hours = [sum(experiment.hours(1e15, spread)) for experiment in suite for spread in (False, True)]
    assert hours[0] == pytest.approx(hours[1]) and hours[2] == pytest.approx(hours[3])
    petaflops = float(total[2])
    assert float(total[3]) == pytest.approx(petaflops * 1.09 / 3600, rel=0.01)
    assert len(suite[0].hours(1e15)) == 30 and len(suite[0].hours(1e15, spread=True)) == 25 + 5 * 6


def test_spread_searches_end_sooner_on_many_workers_and_assumed_gpus_are_faster_cores() -> None:
    suite = experiments(NAMES)
    header, *lines = hours_cells(suite, {experiment.network: 1e12 for experiment in suite})
    by_name = {line[0]: line for line in lines}
    assert len(by_name) == 9 and "64 GPUs, if one is 25 cores" in by_name and "1 CPU core" in by_name
    whole, spread = header.index("whole searches: hours"), header.index("spread: hours")
    many, one = by_name["64 CPU cores"], by_name["1 CPU core"]
    assert float(many[spread]) < float(many[whole]) < float(one[whole])
    assert float(by_name["64 GPUs, if one is 100 cores"][whole]) == pytest.approx(float(many[whole]) / 100, rel=0.01)
    assert one[whole + 2] == "total work" and many[whole + 2] == "longest task"


@pytest.mark.parametrize(
    "placement, word",
    [
        (Placement(10.0, 1.0, 1.0, 10.0), "total work"),
        (Placement(10.0, 0.3, 10.0, 10.0), "longest task"),
        (Placement(10.0, 0.7, 5.0, 7.0), "coarse tasks"),
    ],
)
def test_what_limits_is_said(placement: Placement, word: str) -> None:
    assert limit(placement) == word


def test_the_command_writes_what_it_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scale, "paper_protocols", lambda: NAMES)
    monkeypatch.setattr(scale, "ROUNDS", 1)
    monkeypatch.setattr("benchmark.suite.estimate.MEASURED_SECONDS", 0.01)
    scale.main(["--markdown", str(tmp_path / "scale.md")])
    written = (tmp_path / "scale.md").read_text()
    assert written in capsys.readouterr().out
    assert "assumed, not measured" in written and "| ald-mnist | 30 |" in written and "| 64 CPU cores |" in written


def test_markdown_aligns_numbers_to_the_right() -> None:
    assert markdown("t", [["", "n"], ["a", "1"]]) == "**t**\n\n|  | n |\n| --- | --: |\n| a | 1 |"
