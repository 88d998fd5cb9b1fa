"""The Sprites videos, from sheets that the test paints, and from the real sheets if LATENTBENCH_DATA has them."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.datasets import load_dataset
from benchmark.datasets.archives.download import RemoteFile
from benchmark.datasets.published import sprites
from benchmark.datasets.published.sprite_sheets import CHECKSUMS, LAYERS, SHEETS
from benchmark.datasets.published.sprites import characters, needed_cells
from benchmark.errors import InputError
from benchmark.paths import data_root

REAL = Path(os.environ.get("LATENTBENCH_DATA", "/nonexistent"))
SHEET = (1344, 832, 4)
# From the paper's description: label = 3 * action + direction, frames 0 to 7.
FIRST_CELLS = [131, 118, 144, 26, 13, 39, 182, 169, 195]
OFFSETS = [[7, 0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 4, 6], [0, 1, 2, 3, 4, 5, 4, 0]]


pytestmark = pytest.mark.usefixtures("no_network")


def _cells(sheet: np.ndarray) -> Image.Image:
    return needed_cells(Image.fromarray(sheet))


def _sheet(colour: tuple[int, int, int, int], first_column: int = 0) -> np.ndarray:
    """A sheet whose cells have one colour from a column on and are transparent to the left of it."""
    sheet = np.zeros(SHEET, np.uint8)
    sheet.reshape(1344, 13, 64, 4)[:, :, first_column:] = colour
    return sheet


def _numbered_sheet() -> np.ndarray:
    """A sheet in which cell i has the colour (i % 256, i // 256, 0)."""
    numbers = np.arange(273).reshape(21, 13).repeat(64, 0).repeat(64, 1)
    return np.stack([numbers % 256, numbers // 256, 0 * numbers, 0 * numbers + 255], -1).astype(np.uint8)


def test_frames_come_from_the_cells_of_the_design() -> None:
    (videos,) = characters([[_cells(_numbered_sheet())]])
    assert videos.shape == (9, 3, 8, 64, 64) and videos.dtype == np.uint8
    for label, first in enumerate(FIRST_CELLS):
        for frame, offset in enumerate(OFFSETS[label // 3]):
            pixels = videos[label, :, frame].reshape(3, -1)
            assert (pixels.T == [first + offset, 0, 0]).all(), (label, frame)
    assert np.array_equal(videos[6:, :, 7], videos[6:, :, 0])


def test_cells_are_not_mirrored_or_turned() -> None:
    sheet = _numbered_sheet()
    sheet[10, 64 + 20] = (1, 2, 3, 255)  # no video shows cell 1
    sheet[64 + 10, 20] = (7, 8, 9, 255)
    (videos,) = characters([[_cells(sheet)]])
    assert videos[4, :, 0, 10, 20].tolist() == [7, 8, 9]
    assert not (videos == 2).all(axis=1).any()


def test_layers_lie_in_their_order() -> None:
    """Layer k begins at column 8k, so that each layer shows in its own stripe and the last covers the rest."""
    layers = [[_cells(_sheet((50 + layer, 0, 0, 255), 8 * layer))] for layer in range(5)]
    (videos,) = characters(layers)
    expected = 50 + np.minimum(np.arange(64) // 8, 4)
    assert (videos[:, 0] == expected).all()
    assert LAYERS == ("body", "bottomwear", "topwear", "hair", "shoes")


def test_transparent_layers_are_blended_on_black() -> None:
    below, above = _cells(_sheet((200, 100, 0, 128))), _cells(_sheet((0, 0, 255, 64), 32))
    (videos,) = characters([[below], [above]])
    on_black = np.array([200, 100, 0]) * 128 / 255
    blended = np.array([0, 0, 255]) * 64 / 255 + on_black * (1 - 64 / 255)
    assert abs(videos[0, :, 0, 0, 0] - on_black).max() <= 1
    assert abs(videos[0, :, 0, 0, 63] - blended).max() <= 1


def test_every_combination_once_the_last_layer_fastest() -> None:
    reds = [_cells(_sheet((red, 0, 0, 255))) for red in (10, 20, 30)]
    greens = [_cells(_sheet((0, green, 0, 255), 32)) for green in (40, 50)]
    colours = [(videos[0, 0, 0, 0, 0], videos[0, 1, 0, 0, 63]) for videos in characters([reds, greens])]
    assert colours == [(10, 40), (10, 50), (20, 40), (20, 50), (30, 40), (30, 50)]


def _write_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the real sheets by two bodies, three hairs and one sheet of each other layer."""
    sheets = {}
    for number, layer in enumerate(LAYERS):
        sheets[layer] = []
        for variant in range({"body": 2, "hair": 3}.get(layer, 1)):
            path = f"sprites/{layer}/{variant}.png"
            file = data_root() / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_sheet((variant, number, 7, 255), 8 * number)).save(file, compress_level=1)
            checksum = hashlib.sha256(file.read_bytes()).hexdigest()
            sheets[layer].append(RemoteFile(path, f"https://example.org/{path}", checksum))
    monkeypatch.setattr(sprites, "SHEETS", sheets)


def test_dataset_of_painted_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    _write_sheets(monkeypatch)
    dataset = load_dataset("sprites")
    assert dataset.image_shape == (3, 8, 64, 64) and dataset.n_classes == 9
    images, labels = dataset.train.images, dataset.train.labels
    assert len(images) == 54 and labels.tolist() == list(range(9)) * 6
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [44, 5, 5]
    assert images[:, 0, 0, 0, 0].tolist() == [0] * 27 + [1] * 27  # the body
    assert images[::9, 0, 0, 0, 24].tolist() == [0, 1, 2] * 2  # the hair
    shutil.rmtree(data_root())  # the cache is enough now
    again = load_dataset("sprites")
    assert torch.equal(again.train.images, images) and again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("damage", ["truncated", "exchanged"])
def test_wrong_sheet(monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    _write_sheets(monkeypatch)
    sheet = data_root() / "sprites" / "hair" / "1.png"
    other = sheet.with_name("2.png")
    sheet.write_bytes(sheet.read_bytes()[:-1] if damage == "truncated" else other.read_bytes())
    with pytest.raises(InputError, match=r"hair/1\.png is truncated, damaged or another file.*sha256"):
        load_dataset("sprites")


def test_sheets_are_those_of_the_design() -> None:
    expected = {layer: list(range(6)) for layer in LAYERS} | {"shoes": [1]}
    assert {layer: list(numbers) for layer, numbers in CHECKSUMS.items()} == expected
    checksums = [sheet.checksum for layer in LAYERS for sheet in SHEETS[layer]]
    assert len(set(checksums)) == 25 and {len(checksum) for checksum in checksums} == {64}


@pytest.mark.skipif(
    not (REAL / "sprites" / "shoes" / "1.png").is_file(),
    reason="LATENTBENCH_DATA names no folder with the sheets of the Sprites in sprites/",
)
def test_real_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_DATA", str(REAL))
    dataset = load_dataset("sprites")
    videos = dataset.train.images
    assert videos.shape == (11_664, 3, 8, 64, 64) and dataset.train.labels.bincount().tolist() == [1296] * 9
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [9448, 1050, 1166]
    digests, slashes = set(), 0
    for character in videos.view(1296, 9, 3, 8, 64, 64):
        digests.add(hashlib.sha256(character.numpy().data).digest())
        slashes += torch.equal(character[6:, :, 7], character[6:, :, 0])
        assert (character[:, :, 1:] != character[:, :, :-1]).flatten(3).any(3).any(1).all()  # it moves
    assert len(digests) == slashes == 1296
    del videos, dataset, character
    shutil.rmtree(tmp_path / "cache")  # 1.15 GB
