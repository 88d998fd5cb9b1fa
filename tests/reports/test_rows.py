"""A suite on a table, from the command line to the page: every method ends, and nothing speaks of pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import benchmark

from benchmark.store import ResultsStore
from reports.data.groups import read_groups
from reports.write import write_report
from searchers import SEARCHERS

BASE = ["--dataset", "factors", "--seeds", 0, "--jobs", 1, "--device", "cpu", "--set", "dataset.n_columns=12"]
BASE += ["--set", "dataset.n_factors=3", "--set", "dataset.n_rows=400", "--set", "space.high=16"]
BASE += ["--set", "space.sizes=[2,4,8]", "--set", "backbone.hidden=[24]", "--set", "training.threads=1"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two methods on real numbers, and of one on counts."""
    folder = tmp_path_factory.mktemp("rows")
    counts = ["--set", "dataset.kind=counts", "--set", "likelihood=negative-binomial"]
    for more in (["--searchers", "grid", "nested"], ["--searchers", "nested", *counts]):
        run = benchmark(
            "run", *BASE, *more, "--set", "training.batches=100", "--results", "r", cwd=folder, cache=folder / "cache"
        )
        assert run.returncode == 0, run.stderr
        assert ("standardised on the training split" in run.stdout) == (counts != more[-4:])
        assert not re.search(r"\bFIDs?\b|\bimages?\b", run.stdout + run.stderr), run.stdout
    return folder / "r"


def test_the_frames_have_what_rows_have(results: Path) -> None:
    store = ResultsStore(results)
    searches = store.searches()
    assert set(searches["status"]) == {"done"}, searches["error"].tolist()
    assert set(searches["likelihood"]) == {"gaussian-optimal", "negative-binomial"}
    assert searches["protocol_hash"].nunique() == 2 and set(searches["test_fid_features"]) == {"data"}
    numbers = searches[["test_r2", "test_recon_nll", "test_fid_gen", "test_kid_gen", "no_latents_nll", "test_iwae"]]
    assert np.isfinite(numbers.to_numpy(dtype=float)).all() and (searches["test_r2"] < 1).all()
    assert store.epochs()["r2"].notna().all() and store.curves()["r2"].notna().all()
    assert not searches["worse_than_pca"].any()


def test_rows_are_kept_in_their_own_units(results: Path) -> None:
    store = ResultsStore(results)
    for _, search in store.searches().iterrows():
        kept = store.rows(search["search_id"])
        assert kept is not None and store.gallery(search["search_id"]) is None
        n = len(kept["labels"])
        assert kept["codes"].shape == (n, 2) and kept["originals"].shape == kept["reconstructions"].shape == (n, 6)
        assert set(kept["columns"]) <= {f"c{i}" for i in range(12)} and (np.diff(kept["r2"]) >= 0).all()
        if search["likelihood"] == "negative-binomial":
            assert (kept["originals"] == kept["originals"].round()).all() and (kept["reconstructions"] > 0).all()


def test_the_report_has_no_picture_and_no_fid(results: Path, tmp_path: Path) -> None:
    store = ResultsStore(results)
    report = write_report(read_groups(store, str(results)), tmp_path / "report", store)
    names = {figure.name for figure in report.figures}
    assert {"codes", "values", "quality"} <= names and "images" not in names
    assert not any("images" in sentence for sentence in report.missing)
    marks = pd.read_csv(next((tmp_path / "report").glob("codes-*.csv")))
    assert {"label", "x", "y", "model"} <= set(marks) and marks.groupby("model").size().min() > 30
    page = report.page.read_text()
    seen = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    seen = re.sub(r'(href|src)="data:[^"]*"', "", seen)
    assert "Fréchet distance, samples (scaled data)" in seen and "nats/row" in seen and "R²" in seen
    found = re.findall(r".{60}\b(?:FIDs?|KID|[Ii]nception|pixels)\b.{40}", seen)
    assert not found, found[:3]
    markdown = (tmp_path / "report" / "comparison.md").read_text()
    assert "Fréchet distance, samples (scaled data)" in markdown and "FID" not in markdown


@pytest.mark.slow
def test_every_method_ends_on_rows_with_an_answer_inside_the_space(tmp_path: Path) -> None:
    run = benchmark(
        "run",
        *BASE,
        "--searchers",
        "all",
        "--set",
        "training.batches=60",
        "--results",
        "r",
        cwd=tmp_path,
        cache=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    searches = ResultsStore(tmp_path / "r").searches().set_index("searcher")
    assert set(searches.index) == set(SEARCHERS) and set(searches["status"]) == {"done"}, searches["error"].tolist()
    assert searches["latent_dim"].between(2, 16).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--backbone", "conv"], "backbone conv got images of shape 12"),
        (["--features", "inception"], "features inception are of images, and factors has rows"),
        (["--set", "likelihood=poisson"], "expected whole numbers from 0, unscaled: choose gaussian-optimal"),
        (["--set", "likelihood=bernoulli"], "expected values from 0 to 1"),
        (["--set", "likelihood=gauss"], "unknown likelihood 'gauss'; did you mean 'gaussian'?"),
    ],
)
def test_what_is_of_images_alone_says_so_in_a_line(change: list[str], message: str, tmp_path: Path) -> None:
    arguments = ["--dataset", "factors", "--set", "dataset.n_columns=12", "--set", "dataset.n_rows=400", *change]
    run = benchmark("run", *arguments, "--searchers", "nested", "--results", "r", cwd=tmp_path, cache=tmp_path / "c")
    assert run.returncode == 2 and message in run.stderr, run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
