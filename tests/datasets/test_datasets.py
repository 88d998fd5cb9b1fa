"""Names and options, folders of data and caches, splits, descriptions, and the datasets that need no download."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label as connected_components
from sklearn.datasets import load_digits

from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.datasets.base import Split, describe, make_dataset, split_dataset
from benchmark.errors import InputError
from benchmark.paths import cache_folder, cache_root, data_root

# --- names, options and paths


@pytest.mark.parametrize(
    "name, parts",
    [
        ("digit", ["'digit'", "did you mean 'digits'?", "mnist", "folder:PATH"]),
        ("mnist:x", ["'mnist:x'", "expected one of digits, mnist"]),
        ("folder", ["'folder'", "folder:PATH"]),
        ("folder:", ["lacks a path"]),
        ("folder:/no/such/place", ["/no/such/place", "does not exist"]),
        (os.sep, [f"did you mean folder:{os.sep}?"]),
    ],
)
def test_wrong_name(name: str, parts: list[str]) -> None:
    for check in (check_dataset_name, load_dataset):
        with pytest.raises(InputError) as caught:
            check(name)
        assert all(part in str(caught.value) for part in parts)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("digits", {"size": 8}, "digits: unknown setting 'size'"),
        (
            "manifold",
            {"latent_dims": 4},
            r"manifold: .*did you mean 'latent_dim'\? expected one of latent_dim, n_images, noise, decay, rare$",
        ),
        ("manifold", {"latent_dim": 2}, "latent_dim is 2; expected at least 3"),
        ("manifold", {"latent_dim": 65}, "latent_dim is 65; expected at most 64"),
        *(("manifold", {"latent_dim": got}, f"latent_dim is {got!r}; expected int") for got in (5.0, True, "5")),
        ("folder:.", {"path": "elsewhere"}, "unknown setting 'path'; expected one of size, fit$"),
        *(("folder:.", {"size": got}, f"size is {got!r}") for got in (0, "64", 8.0)),
        *(
            ("folder:.", {"fit": got}, r"fit (is )?'?\w+'?; expected .*crop.*stretch.*pad")
            for got in ("centre", None, 1)
        ),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(name, **options)


def test_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_root() == tmp_path / "data"
    assert cache_root() == tmp_path / "cache" / "latentbench"
    monkeypatch.setenv("LATENTBENCH_DATA", "")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root() == cache_root() == Path.home() / ".cache" / "latentbench"


def test_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        cache_folder("classifiers")


# --- splits


def test_make_dataset_holds_out_a_tenth() -> None:
    images = torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1)
    labels = torch.arange(50) % 3
    dataset = make_dataset("toy", images, labels, images[:5], labels[:5], n_classes=3)
    assert len(dataset.val) == 5
    assert sorted([*dataset.train.rows.tolist(), *dataset.val.rows.tolist()]) == list(range(50))
    assert dataset.val.take(torch.tensor([4, 0])).flatten().tolist() == dataset.val.rows[[4, 0]].tolist()
    again = make_dataset("toy", images, labels, images[:5], labels[:5], n_classes=3)
    assert again.val.rows.tolist() == dataset.val.rows.tolist()
    assert again.fingerprint == dataset.fingerprint
    other = make_dataset("toy", images, labels.flip(0), images[:5], labels[:5], n_classes=3)
    assert other.fingerprint != dataset.fingerprint


def test_make_dataset_wants_bytes() -> None:
    with pytest.raises(ValueError, match=r"toy: got torch.float32 images \(5, 1, 2, 2\).*expected uint8"):
        make_dataset(
            "toy", torch.zeros(5, 1, 2, 2), torch.arange(5), torch.zeros(5, 1, 2, 2), torch.arange(5), n_classes=5
        )


def test_a_sample_of_a_sorted_split_has_every_class() -> None:
    images = torch.arange(1000).div(4, rounding_mode="floor").to(torch.uint8).reshape(1000, 1, 1, 1)
    split = Split(images, torch.arange(1000) // 100, torch.arange(1000))
    part = split.sample(100)
    assert len(part) == 100 and part.rows.tolist() == sorted(set(part.rows.tolist()))
    assert set(part.labels[part.rows].tolist()) == set(range(10))
    assert torch.equal(part.rows, split.sample(100).rows)
    assert split.sample(1000) is split


def test_split_dataset_shares_images() -> None:
    images = torch.arange(200, dtype=torch.uint8).reshape(200, 1, 1, 1)
    labels = torch.arange(200) % 3
    dataset = split_dataset("toy", images, labels, n_classes=3)
    splits = (dataset.train, dataset.val, dataset.test)
    assert [len(split) for split in splits] == [162, 18, 20]
    assert sorted(torch.cat([split.rows for split in splits]).tolist()) == list(range(200))
    assert all(split.images.data_ptr() == images.data_ptr() for split in splits)
    assert all((split.rows.diff() > 0).all() for split in splits)
    assert split_dataset("toy", images, labels, n_classes=3).test.rows.tolist() == dataset.test.rows.tolist()
    assert split_dataset("toy", images.flip(0), labels, n_classes=3).fingerprint != dataset.fingerprint
    with pytest.raises(ValueError, match="toy: got torch.float32"):
        split_dataset("toy", images.float(), labels, n_classes=3)


def test_only_a_splits_own_rows_move_to_a_device() -> None:
    images, labels = torch.zeros(100, 3, 4, 4, dtype=torch.uint8), torch.arange(100)
    split = Split(images, labels, torch.tensor([5, 7, 50]))
    assert split.to(torch.device("cpu")) is split
    moved = split.to(torch.device("meta"))
    assert moved.images.shape == (3, 3, 4, 4) and moved.labels.shape == (3,) and len(moved) == 3
    assert {moved.images.device.type, moved.labels.device.type, moved.rows.device.type} == {"meta"}


# --- descriptions


def test_a_description_counts_images_classes_and_splits() -> None:
    images, labels = torch.zeros(30, 3, 4, 5, dtype=torch.uint8), torch.arange(30) % 3
    splits = [Split(images, labels, torch.arange(*rows)) for rows in ((0, 24), (24, 27), (27, 29))]
    assert (
        describe(splits, 3) == "29 images, RGB 4x5; 3 classes of 9 to 10 images; splits: 24 train, 3 validation, 2 test"
    )
    named = describe(splits, 3, ["a", "b\n", "c"], ["more"])
    assert named.startswith("29 images, RGB 4x5; 3 classes: a 10, b  10, c 9; splits") and named.endswith("; more")


def test_of_many_classes_the_first_are_named() -> None:
    images, labels = torch.zeros(3000, 1, 2, 3, 4, dtype=torch.uint8), torch.arange(3000) % 12
    split = Split(images, labels, torch.arange(1000))
    description = describe([split, split, split], 12, [f"k{i:02}" for i in range(12)])
    assert description.startswith("3,000 images, grey 2x3x4; 12 classes of 249 to 252 images: k00 252, k01 252")
    assert "k09 249, ...; splits" in description and "k10" not in description


# --- bundled and generated


def test_digits() -> None:
    dataset = load_dataset("digits")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1293, 144, 360)
    assert dataset.image_shape == (1, 8, 8) and dataset.n_classes == 10
    assert int(dataset.train.images.max()) == 255
    expected = sorted(map(tuple, np.rint(load_digits().data * 15.9375).astype(int).tolist()))
    images = torch.cat([split.images[split.rows] for split in (dataset.train, dataset.val, dataset.test)]).flatten(1)
    assert sorted(map(tuple, images.tolist())) == expected
    assert dataset.test.labels[dataset.test.rows].bincount().min() >= 34  # stratified
    facts = "1,797 images, grey 8x8; 10 classes of 174 to 183 images; splits: 1,293 train, 144 validation, 360 test"
    assert dataset.description == f"{facts}; all differ by seed (5 partitions)"
    assert load_dataset("digits").fingerprint == dataset.fingerprint


def test_tiles_are_whole_and_do_not_overlap() -> None:
    dataset = load_dataset("tiles")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (9_000, 1_000, 2_000)
    assert dataset.image_shape == (1, 28, 28) and dataset.n_classes == 3
    for split in (dataset.train, dataset.test):
        images, labels = split.images[split.rows], split.labels[split.rows]
        assert set(images.unique().tolist()) == {0, 255}
        area = (images > 0).flatten(1).sum(1)
        assert torch.equal(area, 16 * (labels + 1))
        assert labels.bincount().min() > 0.3 * len(labels)
    single = dataset.test.images[dataset.test.labels == 0, 0].numpy()
    for image in single[:50]:
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) == np.ptp(columns) == 3
    corners = dataset.train.images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners.sum(0) > 0).all()  # tiles reach all four corners
    blobs = [connected_components(image[0])[1] for image in dataset.test.images[:200].numpy()]
    assert set(blobs) == {1, 2, 3}
    assert load_dataset("tiles").fingerprint == dataset.fingerprint


@pytest.mark.parametrize("latent_dim", [3, 5])
def test_manifold_has_its_dimension(latent_dim: int) -> None:
    dataset = load_dataset("manifold", latent_dim=latent_dim)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (5_400, 600, 1_000)
    assert dataset.image_shape == (1, 16, 16) and dataset.n_classes == 8
    assert set(dataset.train.labels.unique().tolist()) == set(range(8))
    # The distances to the nearest images grow as radius^(1/d) on a d-dimensional manifold (Levina & Bickel 2004).
    pixels = dataset.train.images.flatten(1).float()
    distances = torch.cdist(pixels[:500], pixels).sort().values[:, 1:21]
    estimate = 1 / (distances[:, -1:] / distances[:, :-1]).log().mean(1).mean()
    assert abs(float(estimate) - latent_dim) < 0.25 * latent_dim


def test_manifold_follows_the_recipe() -> None:
    g = torch.Generator().manual_seed(7)
    w1, w2 = torch.randn(5, 64, generator=g) * 1.5 / 5**0.5, torch.randn(64, 256, generator=g) * 1.5 / 8
    z = torch.randn(6_000, 5, generator=g)
    expected = torch.sigmoid(2 * torch.tanh(z @ w1) @ w2) * 255
    dataset = load_dataset("manifold")
    assert (dataset.train.images[:6_000].flatten(1) - expected).abs().max() < 0.501
    octant = (z[:, 0] > 0) + 2 * (z[:, 1] > 0) + 4 * (z[:, 2] > 0)
    assert torch.equal(dataset.train.labels[:6_000], octant)
    assert dataset.test.rows.tolist() == list(range(6_000, 7_000))
