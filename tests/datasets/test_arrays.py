"""`array:PATH`: the same numbers from every format, refusals in one line, memory, what an id follows from."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from commands import ROOT

from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.datasets.base import Dataset
from benchmark.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, [0.5, 1.0, 2.0, 4.0], size=(60, 4))
KINDS = np.array(["oak", "elm", "ash"] * 20)
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def _table(values: np.ndarray = X) -> pd.DataFrame:
    return pd.DataFrame(values, columns=NAMES).assign(kind=KINDS[: len(values)])


def write_h5ad(path: Path, matrix: Any, layer: Any = None) -> None:
    """By AnnData's documented format, as its own `write_h5ad` does."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        _write_matrix(file, "X", matrix)
        layers = file.create_group("layers")
        if layer is not None:
            _write_matrix(layers, "raw", layer)
        for name, count in (("obs", matrix.shape[0]), ("var", matrix.shape[1])):
            frame = file.create_group(name)
            frame.attrs.update({"_index": "_index", "encoding-type": "dataframe"})
            frame["_index"] = np.array([f"{name}{i}" for i in range(count)], dtype=object)
        codes, categories = pd.factorize(KINDS[: matrix.shape[0]], sort=True)
        kind = file["obs"].create_group("kind")
        kind.attrs["encoding-type"] = "categorical"
        kind["codes"], kind["categories"] = codes.astype(np.int8), categories.astype(object)
        file["obs"]["batch"] = np.arange(matrix.shape[0]) % 2


def _write_matrix(group: Any, name: str, matrix: Any) -> None:
    if not scipy.sparse.issparse(matrix):
        group[name] = matrix
        return
    held = group.create_group(name)
    held.attrs.update({"encoding-type": f"{matrix.format}_matrix", "shape": matrix.shape})
    held["data"], held["indices"], held["indptr"] = matrix.data, matrix.indices, matrix.indptr


def _npz() -> None:
    np.savez("x.npz", spectra=X, kind=KINDS, other=X)


FORMATS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "x.npy": (lambda: (np.save("x.npy", X), np.save("kinds.npy", KINDS)), {"labels": "kinds.npy"}),
    "x.npz": (_npz, {"key": "spectra", "labels": "kind"}),
    "x.csv": (lambda: _table().to_csv("x.csv", index=False), {"labels": "kind"}),
    "x.parquet": (lambda: _table().to_parquet("x.parquet"), {"labels": "kind"}),
    "x.h5ad": (lambda: write_h5ad(Path("x.h5ad"), X), {"labels": "kind"}),
}


def _stored(dataset: Dataset) -> np.ndarray:
    values = dataset.train.images.numpy()
    assert all(split.images is dataset.train.images for split in (dataset.val, dataset.test))
    return values


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_data(name: str) -> None:
    write, options = FORMATS[name]
    write()
    dataset = load_dataset(f"array:{name}", **options)
    np.testing.assert_array_equal(_stored(dataset), X)
    assert dataset.train.labels.tolist() == [2, 1, 0] * 20 and dataset.n_classes == 3
    assert {len(dataset.train), len(dataset.val), len(dataset.test)} == {49, 5, 6}
    assert dataset.image_shape == (4,) and not dataset.is_images
    for part in ("60 rows, 4 columns of float64", "3 classes", "ash 20, elm 20, oak 20", "standardised"):
        assert part in dataset.description
    seen = dataset.train.scaling(dataset.train.take(torch.arange(49))).double()
    torch.testing.assert_close(seen.mean(0), torch.zeros(4).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.var(0, correction=0), torch.ones(4).double())
    np.save("reference.npy", X)
    np.save("kinds.npy", KINDS)
    assert dataset.fingerprint == load_dataset("array:reference.npy", labels="kinds.npy").fingerprint  # content alone


def test_only_content_and_scale_are_in_the_fingerprint(tmp_path: Path) -> None:
    np.save("a.npy", X)
    folder = tmp_path / "with a space"
    folder.mkdir()
    np.save(folder / "b.npy", X)
    same = load_dataset("array:a.npy").fingerprint
    assert load_dataset(f"array:{folder / 'b.npy'}").fingerprint == same
    assert load_dataset("array:with a space/b.npy").fingerprint == same
    assert load_dataset("array:a.npy", scale="none").fingerprint != same
    np.save("a.npy", X + 1)
    os.utime("a.npy", ns=(1, 1))
    assert load_dataset("array:a.npy").fingerprint != same  # the cache notices that the file is another
    plain = load_dataset("array:a.npy", scale="none")
    np.testing.assert_allclose(plain.train.scaling(plain.train.images), X + 1, rtol=1e-6)
    assert "not scaled" in plain.description


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_sparse_matrices_and_layers(kind: str) -> None:
    counts = RNG.poisson(0.4, size=(60, 7)).astype(np.float32)
    form = (lambda matrix: matrix) if kind == "dense" else getattr(scipy.sparse, f"{kind}_matrix")
    write_h5ad(Path("x.h5ad"), form(counts), layer=form(2 * counts))
    dataset = load_dataset("array:x.h5ad", layer="raw", labels="batch")
    np.testing.assert_array_equal(_stored(dataset), 2 * counts)
    assert dataset.value_names == tuple(f"var{i}" for i in range(7)) and dataset.n_classes == 2
    assert f"whole numbers from 0 to {2 * counts.max():g}: if they are counts" in dataset.description
    assert "likelihood=negative-binomial" in dataset.description


def test_npy_files_are_mapped_in_place_and_others_once(tmp_path: Path) -> None:
    np.save("x.npy", X)
    np.save("fortran.npy", np.asfortranarray(X))
    _table().drop(columns="kind").to_csv("x.csv", index=False)
    for name in ("x.npy", "fortran.npy", "x.csv", "x.csv"):
        np.testing.assert_array_equal(_stored(load_dataset(f"array:{name}")), X)
    assert len(list((tmp_path / "cache").rglob("values.bin"))) == 1  # of the table alone


@pytest.mark.parametrize(
    "values, kept",
    [
        (np.arange(240, dtype=np.uint16).reshape(60, 4), torch.uint16),
        (X.astype(">f4"), torch.float32),
        (X.astype(np.float16), torch.float32),
        (np.arange(240).reshape(60, 4), torch.int64),
        (X > 3, torch.uint8),
    ],
)
def test_values_stay_exact(values: np.ndarray, kept: torch.dtype) -> None:
    np.save("x.npy", values)
    dataset = load_dataset("array:x.npy")
    assert dataset.train.images.dtype == kept
    np.testing.assert_array_equal(_stored(dataset), values)


@pytest.mark.parametrize(
    "values, seen, said",
    [
        (np.arange(960, dtype=np.uint8).reshape(60, 1, 4, 4), lambda v: v / 255, "grey 4x4"),
        (RNG.uniform(size=(60, 3, 4, 4)), lambda v: v, "not scaled"),
        (
            (np.arange(960) * 60).astype(np.uint16).reshape(60, 1, 4, 4),
            lambda v: v / 57540,
            "0 to 57540 seen as 0 to 1",
        ),
        (np.linspace(-5, 5, 960).reshape(60, 1, 4, 4), lambda v: (v + 5) / 10, "-5 to 5 seen as 0 to 1"),
    ],
)
def test_images_reach_a_network_in_0_to_1(values: np.ndarray, seen: Callable[[Any], Any], said: str) -> None:
    np.save("x.npy", values)
    dataset = load_dataset("array:x.npy")
    assert dataset.is_images and said in dataset.description
    np.testing.assert_allclose(dataset.train.scaling(dataset.train.images), seen(values), atol=1e-7)


def test_constant_columns_are_left_out_and_named() -> None:
    table = _table().assign(zero=0.0, e=X[:, 0] * 2, one=1)
    table.to_csv("x.csv", index=False)
    dataset = load_dataset("array:x.csv", labels="kind")
    assert dataset.value_names == ("a", "b", "c", "d", "e")
    assert "left out: 2 constant columns (zero, one)" in dataset.description
    np.testing.assert_array_equal(_stored(dataset), table[[*NAMES, "e"]].to_numpy())


def test_tables_as_people_write_them() -> None:
    _table().to_csv("index.csv")  # with a row index
    dataset = load_dataset("array:index.csv", labels="kind")
    assert dataset.value_names == tuple(NAMES) and "left out: the row index" in dataset.description
    _table().to_csv("semicolon.csv", sep=";", index=False)
    assert load_dataset("array:semicolon.csv", drop=("kind", "a")).value_names == ("b", "c", "d")
    pd.DataFrame(X).to_csv("bare.csv", index=False, header=False)
    np.testing.assert_array_equal(_stored(load_dataset("array:bare.csv")), X)
    mixed = pd.DataFrame({"n": np.arange(60, dtype=np.int16), "yes": X[:, 0] > 3, "f": X[:, 1].astype(np.float32)})
    mixed.to_parquet("mixed.parquet")
    np.testing.assert_array_equal(_stored(load_dataset("array:mixed.parquet")), mixed.to_numpy(dtype=np.float32))


@pytest.mark.parametrize("names", [[400.5, 410, 420, 430, 440, 450], [900, 800, 700, 600, 500, 40], range(6)])
@pytest.mark.parametrize("index", [False, True])
def test_numbers_in_order_are_names(names: list[float], index: bool) -> None:
    values = np.hstack([X, X[:, :2] ** 2])
    pd.DataFrame(values, columns=names).to_csv("x.csv", index=index)
    dataset = load_dataset("array:x.csv")
    assert dataset.value_names == tuple(map(str, pd.Index(names)))
    assert "the first line was read as names" in dataset.description
    np.testing.assert_array_equal(_stored(dataset), values)


@pytest.mark.parametrize("first", ["1,2,3,4", "\ufeff4,2,1,0"])
def test_a_first_line_of_other_numbers_is_data(first: str) -> None:
    Path("x.csv").write_text(first + "\n2,3,1,4\n5,5,5,6\n8,1,9,2\n", encoding="utf-8")
    dataset = load_dataset("array:x.csv")
    assert "the first line was read as data: no header" in dataset.description
    assert len(_stored(dataset)) == 4


@pytest.mark.parametrize("first", ["1,2,3,NA", ",2,5,4", "nan,3,2,1"])
def test_a_first_line_with_gaps_is_not_lost(first: str) -> None:
    Path("x.csv").write_text(first + "\n2,3,1,4\n5,5,5,6\n8,1,9,2\n")
    with pytest.raises(InputError, match="1 missing value in 1 column"):
        load_dataset("array:x.csv")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_true_and_false_are_1_and_0(ending: str) -> None:
    table = pd.DataFrame({"yes": X[:, 0] > 3, "f": X[:, 1]})
    getattr(table, f"to_{ending}")(f"x.{ending}", index=False)
    np.testing.assert_array_equal(_stored(load_dataset(f"array:x.{ending}")), table.to_numpy(dtype=float))


def _with(row: int, column: int, value: float) -> np.ndarray:
    changed = X.copy()
    changed[row, column] = value
    return changed


def _without_obs() -> None:
    write_h5ad(Path("x.h5ad"), X)
    with h5py.File("x.h5ad", "a") as file:
        del file["obs"]


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "missing": (
        lambda: _table(_with(3, 1, np.nan)).to_csv("x.csv", index=False),
        {"labels": "kind"},
        "array:x.csv: 1 missing value in 1 column (b: 1); expected none: fill or drop them",
    ),
    "infinite": (lambda: np.save("x.npy", _with(3, 1, np.inf)), {}, "1 infinite value in 1 column (column 1: 1)"),
    "text": (lambda: _table().to_csv("x.csv", index=False), {}, "1 column without numbers (kind)"),
    "late text": (
        lambda: Path("x.csv").write_text("a,b\n" + "1,2\n" * 400_000 + "x,3\n"),
        {},
        "column a has 'x' in line 400002; expected numbers",
    ),
    "ragged": (lambda: Path("x.csv").write_text("a,b\n1,2\n1,2,3\n"), {}, "Expected 2 columns, got 3"),
    "empty": (lambda: Path("x.csv").write_text(""), {}, "Empty CSV file"),
    "header alone": (lambda: Path("x.csv").write_text("a,b\n"), {}, "0 rows; expected rows to train on"),
    "twice": (lambda: Path("x.csv").write_text("a,a\n1,2\n"), {}, "several columns are named a"),
    "one row": (lambda: np.save("x.npy", X[:1]), {}, "1 row; expected rows to train on and to test"),
    "two rows": (lambda: np.save("x.npy", X[:2]), {}, "2 rows; expected rows to train on and to test: at least 3"),
    "two rows of text": (lambda: Path("x.csv").write_text("a,b\n1,2\n2,1\n"), {}, "2 rows; expected rows to train on"),
    "latin-1": (
        lambda: Path("x.csv").write_bytes("größe,b\n1,2\n".encode("latin-1")),
        {},
        "its first line is not UTF-8; save the file as UTF-8",
    ),
    "truncated npz": (
        lambda: (_npz(), Path("x.npz").write_bytes(Path("x.npz").read_bytes()[:2000])),
        {"key": "spectra"},
        "cannot read it (it is cut short, or no such file); save it anew",
    ),
    "h5ad without obs": (_without_obs, {"labels": "kind"}, "obs has no column 'kind'; expected one of it has none"),
    "one column": (lambda: np.save("x.npy", X[:, :1]), {}, "one column has no latent size to find"),
    "one dimension": (lambda: np.save("x.npy", X[:, 0]), {}, "the array is [60]; expected [N, D] numbers"),
    "no channels": (lambda: np.save("x.npy", np.ones((9, 4, 5))), {}, "grey images are [9, 1, 4, 5]: reshape it"),
    "channels last": (lambda: np.save("x.npy", np.ones((9, 6, 5, 3))), {}, "transpose it by (0, 3, 1, 2)"),
    "objects": (lambda: np.save("x.npy", np.array([{}], dtype=object)), {}, "which are never read, since they can run"),
    "objects in npz": (lambda: np.savez("x.npz", a=np.array([{}], dtype=object)), {}, "Python objects (a pickle)"),
    "complex": (lambda: np.save("x.npy", X + 1j), {}, "the values are complex numbers; expected real numbers"),
    "letters": (lambda: np.save("x.npy", X.astype(str)), {}, "the values are of type <U"),
    "which array": (_npz, {}, "has the arrays spectra, kind, other; name the one to use: --set dataset.key=NAME"),
    "no such array": (_npz, {"key": "y"}, "has no array 'y'; expected one of spectra, kind, other"),
    "no such column": (lambda: _table().to_parquet("x.parquet"), {"labels": "x"}, "has no column 'x'; expected one of"),
    "no such layer": (
        lambda: write_h5ad(Path("x.h5ad"), X),
        {"layer": "x"},
        "has no layer 'x'; expected one of it has",
    ),
    "no such obs": (lambda: write_h5ad(Path("x.h5ad"), X), {"labels": "x"}, "obs has no column 'x'; expected one of"),
    "key of npy": (lambda: np.save("x.npy", X), {"key": "a"}, "key is 'a', which is for .npz; leave it out"),
    "no label file": (lambda: np.save("x.npy", X), {"labels": "y.npy"}, "expected the name of a .npy file beside"),
    "labels of other rows": (
        lambda: (np.save("x.npy", X), np.save("y.npy", KINDS[:5])),
        {"labels": "y.npy"},
        "5 labels for 60 rows; expected one for each row",
    ),
    "labels that are numbers": (
        lambda: _table().to_csv("x.csv", index=False),
        {"labels": "a", "drop": ["kind"]},
        "60 different labels for 60 rows; expected classes with several rows each",
    ),
    "a label missing": (
        lambda: _table().assign(kind=[None, *KINDS[1:]]).to_csv("x.csv", index=False),
        {"labels": "kind"},
        "1 label missing; expected one for each row",
    ),
    "constant": (lambda: np.save("x.npy", np.ones((9, 5))), {}, "5 constant columns (column 0, "),
    "constant images": (lambda: np.save("x.npy", np.ones((9, 1, 5, 5))), {}, "all values are 1; expected values that"),
    "no npy": (lambda: Path("x.npy").write_text("1 2 3"), {}, "cannot read it (it is no such file)"),
    "no parquet": (lambda: Path("x.parquet").write_text("1 2 3"), {}, "cannot read it as a table"),
    "no h5ad": (lambda: Path("x.h5ad").write_text("1 2 3"), {}, "write it anew with anndata"),
    "an option that none has": (lambda: np.save("x.npy", X), {"lables": "a"}, "did you mean 'labels'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(case: str) -> None:
    write, options, message = REFUSED[case]
    write()
    name = next(path.name for path in Path().glob("x.*"))
    with pytest.raises(InputError) as caught:
        load_dataset(f"array:{name}", **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, message",
    [
        ("array:", "lacks a path; write array:PATH, such as array:spectra.csv"),
        ("array:gone.csv", "gone.csv does not exist; give a file ending in .npy, .npz, .csv, .parquet, .h5ad"),
        ("array:.", "is not a file; give a file"),
        ("array:x.xlsx", "the file ends in .xlsx; expected one of"),
        ("x.xlsx", "did you mean array:x.xlsx?"),
    ],
)
def test_names_are_checked_before_anything_is_loaded(name: str, message: str) -> None:
    Path("x.xlsx").touch()
    with pytest.raises(InputError) as caught:
        check_dataset_name(name)
    assert message in str(caught.value)


def test_pickled_objects_are_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    np.save("x.npy", np.array([Evil(), Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        load_dataset("array:x.npy")
    assert not (tmp_path / "harm").exists()


MEMORY = """
import resource, sys
from benchmark.datasets import load_dataset
import benchmark.datasets.arrays.array, benchmark.datasets.arrays.tables, benchmark.datasets.arrays.h5ad
import benchmark.datasets.arrays.numpy_files
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
dataset = load_dataset(sys.argv[1])
dataset.train.scaling(dataset.train.images[:10])
print(peak() - before)
"""


def _peak(name: str) -> int:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEMORY, f"array:{name}"]
    return int(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.parquet", "x.h5ad"])
def test_memory_stays_below_twice_the_file(name: str) -> None:
    values = RNG.normal(size=(500_000 if name == "x.csv" else 1_250_000, 40))  # 400 MB; as text 180 MB
    if name == "x.npy":
        np.save(name, values)
    elif name == "x.h5ad":
        write_h5ad(Path(name), scipy.sparse.csr_matrix(np.where(values > 1, values, 0)[:60]))
        with h5py.File(name, "a") as file:
            del file["X"]
            file["X"] = values
    elif name == "x.csv":
        pd.DataFrame(values).to_csv(name, index=False, float_format="%.6g")
    else:
        pd.DataFrame(values).rename(columns=str).to_parquet(name)
    peak, size = _peak(name), Path(name).stat().st_size
    Path(name).unlink()
    assert peak < 2 * size
