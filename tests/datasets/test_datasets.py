"""The datasets' registry and loaders, without network and without the user's own folders."""

import gzip
import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from scipy.ndimage import label as connected_components
from sklearn.datasets import load_digits

from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.datasets.archives import download
from benchmark.datasets.base import Split, make_dataset
from benchmark.errors import InputError
from benchmark.paths import cache_folder, cache_root, data_root
from benchmark.store.atomic_files import replacing

# --- registry and paths


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


@pytest.mark.parametrize("name, options", [("digits", {"size": 8}), ("manifold", {"latent_dims": 4})])
def test_unknown_option(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{name}.*unknown setting '{next(iter(options))}'"):
        load_dataset(name, **options)


def test_unknown_option_names_the_close_match() -> None:
    with pytest.raises(InputError, match=r"did you mean 'latent_dim'\? expected one of latent_dim$"):
        load_dataset("manifold", latent_dims=4)


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


def test_atomic_path_leaves_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="killed"), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


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


# --- bundled and generated


def test_digits() -> None:
    dataset = load_dataset("digits")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1293, 144, 360)
    assert dataset.image_shape == (1, 8, 8) and dataset.n_classes == 10
    assert int(dataset.train.images.max()) == 255
    expected = sorted(map(tuple, np.rint(load_digits().data * 15.9375).astype(int).tolist()))
    images = torch.cat([dataset.train.images, dataset.test.images]).flatten(1)
    assert sorted(map(tuple, images.tolist())) == expected
    assert dataset.test.labels.bincount().min() >= 34  # stratified
    assert load_dataset("digits").fingerprint == dataset.fingerprint


def test_tiles_are_whole_and_do_not_overlap() -> None:
    dataset = load_dataset("tiles")
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (9_000, 1_000, 2_000)
    assert dataset.image_shape == (1, 28, 28) and dataset.n_classes == 3
    for split in (dataset.train, dataset.test):
        assert set(split.images.unique().tolist()) == {0, 255}
        area = (split.images > 0).flatten(1).sum(1)
        assert torch.equal(area, 16 * (split.labels + 1))
        assert split.labels.bincount().min() > 0.3 * len(split.labels)
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
    assert (dataset.train.images.flatten(1) - expected).abs().max() < 0.501
    octant = (z[:, 0] > 0) + 2 * (z[:, 1] > 0) + 4 * (z[:, 2] > 0)
    assert torch.equal(dataset.train.labels, octant)


@pytest.mark.parametrize(
    "latent_dim, expected", [(2, "at least 3"), (65, "at most 64"), (5.0, "int"), (True, "int"), ("5", "int")]
)
def test_manifold_refuses_latent_dim(latent_dim: object, expected: str) -> None:
    with pytest.raises(InputError, match=f"latent_dim is {latent_dim!r}; expected {expected}"):
        load_dataset("manifold", latent_dim=latent_dim)


# --- MNIST


def _write_idx(file: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


def _write_mnist(raw: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    written = {}
    for part, n in (("train", 40), ("t10k", 10)):
        written[f"{part}-images-idx3-ubyte"] = rng.integers(256, size=(n, 28, 28))
        written[f"{part}-labels-idx1-ubyte"] = np.arange(n) % 10
    for name, values in written.items():
        _write_idx(raw / name, values)
    return written


@pytest.mark.usefixtures("no_network")
def test_mnist_reads_idx_files() -> None:
    written = _write_mnist(data_root() / "MNIST" / "raw")
    dataset = load_dataset("mnist")
    assert dataset.image_shape == (1, 28, 28) and dataset.n_classes == 10
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (36, 4, 10)
    assert np.array_equal(dataset.train.images[:, 0].numpy(), written["train-images-idx3-ubyte"])
    assert np.array_equal(dataset.test.labels.numpy(), written["t10k-labels-idx1-ubyte"])


@pytest.mark.usefixtures("no_network")
def test_mnist_missing_without_network() -> None:
    with pytest.raises(InputError) as caught:
        load_dataset("mnist")
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(data_root() / "MNIST" / "raw"), "train-images-idx3-ubyte", "no route to host", "LATENTBENCH_DATA"):
        assert part in message
    assert "t10k-labels-idx1-ubyte.gz of https://" in message


def test_mnist_archives_are_fetched_checked_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def open_url(url: str) -> io.BytesIO:
        asked.append(url)
        response = io.BytesIO(archives[url.rpartition("/")[2]])
        response.headers = {}  # type: ignore[attr-defined]
        return response

    written = _write_mnist(tmp_path)
    archives = {f"{name}.gz": gzip.compress((tmp_path / name).read_bytes()) for name in written}
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    monkeypatch.setattr(download, "open_url", open_url)
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    raw = data_root() / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / resources[0][0]).write_bytes(archives[resources[0][0]])  # put there by hand
    shutil.copy(tmp_path / resources[1][0].removesuffix(".gz"), raw)
    assert len(load_dataset("mnist").test) == 10
    assert [url.rpartition("/")[2] for url in asked] == [name for name, _ in resources[2:]]
    assert all(url.startswith("https://") for url in asked)
    assert all((raw / name).read_bytes() == (tmp_path / name).read_bytes() for name in written)

    (raw / resources[3][0]).write_bytes(b"no archive")
    (raw / resources[3][0].removesuffix(".gz")).unlink()
    with pytest.raises(InputError, match=f"{resources[3][0]} is truncated, damaged or another file: 10 bytes"):
        load_dataset("mnist")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_mnist_damaged_file(file: str, damage: str) -> None:
    raw = data_root() / "MNIST" / "raw"
    _write_mnist(raw)
    content = (raw / file).read_bytes()
    (raw / file).write_bytes({"truncated": content[:-1], "empty": b"", "foreign": b"<html>" + content[6:]}[damage])
    with pytest.raises(InputError, match=f"{file} is truncated or no idx file.*replace it"):
        load_dataset("mnist")


@pytest.mark.usefixtures("no_network")
def test_mnist_files_that_do_not_match() -> None:
    raw = data_root() / "MNIST" / "raw"
    _write_mnist(raw)
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte")
    with pytest.raises(InputError, match="40 images but .*train-labels-idx1-ubyte 10 labels"):
        load_dataset("mnist")
    _write_idx(raw / "train-labels-idx1-ubyte", np.arange(40))
    with pytest.raises(InputError, match="train-labels-idx1-ubyte holds the label 39"):
        load_dataset("mnist")


def test_a_sample_of_a_sorted_split_has_every_class() -> None:
    images = torch.arange(1000).div(4, rounding_mode="floor").to(torch.uint8).reshape(1000, 1, 1, 1)
    split = Split(images, torch.arange(1000) // 100, torch.arange(1000))
    part = split.sample(100)
    assert len(part) == 100 and part.rows.tolist() == sorted(set(part.rows.tolist()))
    assert set(part.labels[part.rows].tolist()) == set(range(10))
    assert torch.equal(part.rows, split.sample(100).rows)
    assert split.sample(1000) is split
