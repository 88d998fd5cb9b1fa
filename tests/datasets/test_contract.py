"""latentbench's own data sets that need no download keep the contract, and the contract finds those that do not."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmark.datasets import DATASETS, load_dataset
from benchmark.datasets.base import Dataset, make_dataset, split_dataset
from benchmark.testing import DatasetContract
from searchers.testing.contract import failures

GENERATED = ("tiles", "manifold", "linear", "sphere", "torus", "shapes2d", "shuffled", "noise")
FEW = {"n_images": 200}


@pytest.mark.parametrize("name", ["digits", *GENERATED])
def test_a_generated_data_set_keeps_the_contract(name: str) -> None:
    options = FEW if name not in ("digits", "tiles") else {}
    contract = type("Contract", (DatasetContract,), {"load": staticmethod(DATASETS[name].load()), "options": options})
    assert {what: error for what, error in failures(contract) if error is not None} == {}


def test_a_folder_keeps_the_contract(tmp_path: Path) -> None:
    for value in range(40):
        Image.new("L", (8, 8), value).save(tmp_path / f"{value}.png")
    load = partial(load_dataset, f"folder:{tmp_path}", size=8)
    contract = type("Contract", (DatasetContract,), {"load": staticmethod(load)})
    assert {what: error for what, error in failures(contract) if error is not None} == {}


IMAGES, LABELS = torch.arange(60, dtype=torch.uint8).reshape(60, 1, 1, 1), torch.zeros(60, dtype=torch.int64)
COUNT: Iterator[int] = iter(range(10**6))


def _good() -> Dataset:
    return make_dataset("good", IMAGES, LABELS, IMAGES[:20] + 1, LABELS[:20], 1)


def _overlapping() -> Dataset:
    whole = split_dataset("overlapping", IMAGES, LABELS, 1)
    return replace(whole, drawn=(), test=replace(whole.test, rows=whole.train.rows[:6]))


def _changing() -> Dataset:
    return split_dataset("changing", IMAGES + next(COUNT) % 7, LABELS, 1)


def _global() -> Dataset:
    return split_dataset("global", torch.randint(0, 255, (60, 1, 2, 2), dtype=torch.uint8), LABELS, 1)


def _labels() -> Dataset:
    return replace(_good(), n_classes=0)


@pytest.mark.parametrize(
    "load, whats",
    [
        (_good, []),
        (_overlapping, ["its splits share no row"]),
        (_changing, ["it is the same when loaded again"]),
        (_global, ["it is the same when loaded again", "it leaves the global random generator alone"]),
        (_labels, ["it loads a data set"]),
    ],
)
def test_a_fault_is_found(load: object, whats: list[str]) -> None:
    contract = type("Contract", (DatasetContract,), {"load": staticmethod(load)})
    assert [what for what, error in failures(contract) if error is not None] == whats
