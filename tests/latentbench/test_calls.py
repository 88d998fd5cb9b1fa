"""find_latent_size and compare: the answer, the same call again, kinds of data, silence, bad input."""

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from commands import ROOT

from benchmark.errors import InputError
from latentbench import Result, compare, find_latent_size

TINY: dict[str, Any] = {"epochs": 3, "verbose": False, "settings": {"backbone.hidden": [16]}}


def factor_rows(n_rows: int, n_columns: int, n_factors: int, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Rows of a nonlinear factor model with noise."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_rows, n_factors))
    hidden = np.tanh(factors @ rng.normal(size=(n_factors, 40)) / np.sqrt(n_factors) + rng.normal(size=40) / 2)
    return hidden @ rng.normal(size=(40, n_columns)) / 4 + noise * rng.normal(size=(n_rows, n_columns))


X = 5 + 10 * factor_rows(300, 12, 3)


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path_factory.getbasetemp() / "calls-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return find_latent_size(X, seeds=(0, 1), results=tmp_path_factory.mktemp("results") / "own", **TINY)


def test_what_a_result_holds(result: Result) -> None:
    searches = result.store.searches()
    assert result.sizes == dict(zip(searches["seed"], searches["latent_dim"], strict=True)) and len(result.sizes) == 2
    assert result.size == min(result.sizes.values())  # the lower median
    assert set(result.as_good) <= set(range(2, 13))
    assert result.model.latent_dim == result.size
    mean, _ = result.model.embed(X)
    assert mean.shape == (300, result.size)
    of_size = result.curve.groupby(["seed", "split"])["size"].nunique()
    assert (of_size[:, "val"] > 3).all() and result.curve["elbo"].notna().all()
    assert repr(result).startswith(f"Result(size={result.size}") and "Take " in repr(result)
    assert "--seed" not in repr(result) and "seeds=(0, 1, 2)" in repr(result)
    page = result._repr_html_()
    assert f"<h4>{result.size} latents</h4>" in page and page.count("data:image/png;base64,") == 1
    assert result.report().read_text().count("<html") == 1


def test_a_small_table_has_few_sizes(result: Result) -> None:
    assert set(result.searches["space"]) == {"2 to 12; grid 2, 4, 6, 8, 12"}  # it has 12 columns
    few = find_latent_size(X[:40], **TINY)
    assert list(few.searches["space"]) == ["2 to 8; grid 2, 4, 6, 8"]  # 32 rows to train on
    asked = find_latent_size(X[:40], **{**TINY, "settings": {"space.high": 10, "space.sizes": [5, 10]}})
    assert list(asked.searches["space"]) == ["2 to 10; grid 5, 10"]


def test_the_same_call_trains_nothing_and_gives_the_same(result: Result) -> None:
    kept = {path: path.stat().st_mtime_ns for path in result.store.path.rglob("*.arrow")}
    again = find_latent_size(X.copy(), seeds=[0, 1], results=result.store.path, **TINY)
    assert {path: path.stat().st_mtime_ns for path in result.store.path.rglob("*.arrow")} == kept and kept
    assert again.size == result.size and again.sentences == result.sentences
    pd.testing.assert_frame_equal(again.curve, result.curve)


def test_a_temporary_folder_goes_with_the_result() -> None:
    found = find_latent_size(X, "sparsity", **TINY)
    path, copied = found.store.path, pickle.loads(pickle.dumps(found))
    assert path.is_dir() and copied.size == found.size
    del found
    gc.collect()
    assert not path.exists()
    assert copied.model.embed(X)[0].shape == (300, copied.size)
    with pytest.raises(InputError, match="no results at"):
        _ = copied.store


def test_arrays_tensors_frames_and_files_are_the_same_data() -> None:
    np.save("x.npy", X)
    frame = pd.DataFrame(X, columns=[f"gene {i}" for i in range(12)])
    kinds = np.arange(300) % 3
    found = [
        find_latent_size(data, "sparsity", labels=labels, **TINY)
        for data, labels in (
            (X, kinds),
            (torch.tensor(X), kinds.tolist()),
            (frame, kinds),
            (frame.assign(kind=kinds), "kind"),
        )
    ]
    ids = [one.searches["search_id"].iloc[0] for one in found]
    assert len(set(ids)) == 1
    assert "3 classes" in found[0].searches["data"].iloc[0]
    unlabelled = [find_latent_size(data, "sparsity", **TINY) for data in ("array:x.npy", Path("x.npy"))]
    assert len({one.searches["search_id"].iloc[0] for one in unlabelled}) == 1


def test_images_in_memory() -> None:
    images = np.random.default_rng(0).integers(0, 255, size=(60, 1, 6, 6), dtype=np.uint8)
    found = find_latent_size(images, "sparsity", **TINY)
    assert "60 images, grey 6x6" in found.searches["data"].iloc[0]
    assert found.model.generate(found.model.embed(images)[0]).shape == (60, 1, 6, 6)


def test_silent_where_asked_and_lines_where_not(capfd: pytest.CaptureFixture[str]) -> None:
    children = psutil.Process().children(recursive=True)
    find_latent_size(X, "sparsity", **TINY)
    assert capfd.readouterr() == ("", "")
    assert psutil.Process().children(recursive=True) == children
    find_latent_size(X, "sparsity", **{**TINY, "verbose": True})
    shown = capfd.readouterr().out
    assert "The rows have about" in shown and "300 rows, 12 columns" in shown and "sparsity seed 0: " in shown


def test_a_time_limit_becomes_epochs() -> None:
    found = find_latent_size(X, "sparsity", time_limit="1s", verbose=False, settings={"backbone.hidden": [16]})
    assert 1 <= found.searches["epochs"].iloc[0] < 80
    assert len(list((found.store.path / "budgets").iterdir())) == 1


def test_compare(tmp_path: Path) -> None:
    store = compare(X, ["sparsity", "twonn"], seeds=2, results=tmp_path / "r", **TINY)
    searches = store.searches()
    assert sorted(searches["searcher"]) == ["sparsity", "twonn"] and set(searches["seed"]) == {2}
    assert set(searches["status"]) == {"done"} and searches["protocol_hash"].nunique() == 1


def test_a_failed_search_says_why() -> None:
    sys.path.append(str(Path.cwd()))
    Path("failing.py").write_text(
        "from searchers.base import Searcher\n\nclass Fails(Searcher):\n"
        "    def search(self, problem):\n        raise RuntimeError('no idea')\n"
    )
    try:
        with pytest.raises(RuntimeError, match="the search failed: RuntimeError: no idea"):
            find_latent_size(X, "failing:Fails", **TINY)
    finally:
        sys.path.remove(str(Path.cwd()))


def test_a_result_embeds_what_the_search_took() -> None:
    fixed = np.insert(X, 3, 7.0, axis=1)
    fixed.setflags(write=False)
    found = find_latent_size(fixed, "sparsity", **TINY)
    assert found.columns == [0, 1, 2, *range(4, 13)]
    mean = found.embed(fixed)[0]
    torch.testing.assert_close(mean, found.model.embed(X)[0])
    torch.testing.assert_close(found.embed(pd.DataFrame(fixed))[0], mean)
    torch.testing.assert_close(found.embed(torch.tensor(fixed))[0], mean)
    with pytest.raises(
        InputError, match=r"got data \[300, 13\]; expected \[N, 12\]: the columns that it was trained on"
    ):
        found.model.embed(fixed)
    frame = pd.DataFrame(fixed).assign(kind=np.arange(300) % 3, high=X[:, 0] > 5)
    tabled = find_latent_size(frame, "sparsity", labels="kind", **TINY)
    assert tabled.columns == [0, 1, 2, *range(4, 13), "high"]
    assert tabled.embed(frame)[0].shape == (300, tabled.size)
    torch.testing.assert_close(tabled.model.embed(frame[tabled.columns])[0], tabled.embed(frame)[0])


def test_nothing_outlives_a_temporary_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for data in (pd.DataFrame(X).rename(columns=str), np.insert(X, 3, 7.0, axis=1)):
        find_latent_size(data, "sparsity", **TINY)
    assert not list((tmp_path / "cache").rglob("arrays/*"))


def test_sizes_go_with_a_high_given_alone() -> None:
    found = find_latent_size(X, "sparsity", **{**TINY, "settings": {**TINY["settings"], "space.high": 5}})
    assert list(found.searches["space"]) == ["2 to 5; grid 2, 4, 5"]


def test_numbers_of_numpy_and_of_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"backbone.hidden": np.array([16]), "training.batch_size": np.int64(32)}
    common: dict[str, Any] = {"epochs": np.int64(2), "settings": settings, "verbose": False}
    found = find_latent_size(torch.tensor(X).bfloat16(), "sparsity", np.arange(2), results="own", **common)
    again = find_latent_size(torch.tensor(X).bfloat16(), "sparsity", np.int64(1), results="own", **common)
    assert list(found.sizes) == [0, 1] and list(again.sizes) == [1]
    monkeypatch.chdir(tmp_path.parent)  # results was relative
    assert len(found.store.searches()) == 2 and found.figure() is not None


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nan": (np.where(X == X[0, 0], np.nan, X), {}, "1 missing value in 1 column (column 0: 1)"),
    "objects": (np.array([[1, "a"]] * 30, dtype=object), {}, "X holds Python objects; expected numbers"),
    "masked": (np.ma.masked_less(X, X.min() + 1e-9), {}, "X has masked values: 1; expected none"),
    "a label missing": (X, {"labels": ["a", None, "b"] * 100}, "100 labels missing; expected one for each row"),
    "a label that is NaN": (pd.DataFrame(X), {"labels": ["a", *[np.nan] * 299]}, "299 labels missing; expected one"),
    "lists in a frame": (pd.DataFrame({"a": [[1]] * 9, "b": 1.0}), {}, "X cannot be kept as a table (unhashable"),
    "complex frame": (pd.DataFrame(X + 1j), {}, "X cannot be kept as a table ("),
    "results in a file": (X, {"results": __file__}, "test_calls.py is a file; expected a folder or a new name"),
    "three axes": (X.reshape(300, 3, 4), {}, "grey images are [300, 1, 3, 4]: reshape it"),
    "searcher": (X, {"searcher": "nestd"}, "did you mean 'nested'?"),
    "likelihood": (X, {"likelihood": "gausian"}, "did you mean 'gaussian'?"),
    "setting": (X, {"settings": {"training.epoch": 3}}, "did you mean 'epochs'?"),
    "limit": (X, {"time_limit": "soon"}, "time_limit: got 'soon'; expected a number above 0 with s, m or h"),
    "negative limit": (X, {"time_limit": -1}, "time_limit is -1; expected seconds above 0"),
    "labels": (X, {"labels": [1, 2]}, "2 labels for 300 rows; expected one for each row"),
    "label name": (X, {"labels": "kind"}, "X has no columns with names; expected the class of each row"),
    "url": (X, {"results": "s3://x/y"}, "results is s3://x/y; expected a folder on this machine"),
    "jobs": (X, {"jobs": 0}, "jobs is 0; expected at least 1"),
    "name": ("array:gone.csv", {}, "gone.csv does not exist"),
    "text columns": (pd.DataFrame({"a": X[:, 0], "b": "x"}), {}, "1 column without numbers (b)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    data, options, message = BAD[case]
    with pytest.raises(InputError) as caught:
        find_latent_size(data, **{"verbose": False, **options})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def _python(script: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_is_light_and_every_name_is_there() -> None:
    heavy = ("torch", "pandas", "sklearn", "matplotlib", "tqdm")
    script = f"import sys, latentbench; print([name for name in {heavy} if name in sys.modules])"
    assert _python(script) == "[]\n"
    assert _python("import latentbench as l; print(all(getattr(l, name) for name in l.__all__))") == "True\n"


@pytest.mark.slow
def test_factors_in_many_columns_are_counted() -> None:
    found = find_latent_size(factor_rows(2_000, 40, 4), time_limit="120s", verbose=False)
    assert 3 <= found.size <= 6
