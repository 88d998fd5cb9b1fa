"""`latentbench suggest array:...` on a table of three factors: the answer, the words, the page."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import benchmark

from benchmark.config.protocol import dataset_protocol, override
from benchmark.store import ResultsStore
from benchmark.suggest.request import trimmed_sizes


@pytest.mark.parametrize(
    "asked, sizes",
    [
        ({"high": 16}, [2, 4, 6, 8, 12, 16]),
        ({"high": 5}, [2, 4, 5]),
        ({"low": 10}, [12, 16, 24, 32]),
        ({"low": 40, "high": 50}, [50]),
    ],
)
def test_a_low_or_a_high_alone_trims_the_sizes(asked: dict[str, int], sizes: list[int]) -> None:
    base, change = dataset_protocol("array:x.npy"), {"space": dict(asked)}
    assert override(base, change, trimmed_sizes(base, [change])).space.sizes == tuple(sizes)


def test_sizes_that_fit_or_were_asked_for_stay() -> None:
    base = dataset_protocol("array:x.npy")
    for change in ({}, {"high": 64}, {"high": 16, "sizes": [3, 16]}, {"high": "many"}):
        assert trimmed_sizes(base, [{"space": change}]) == {}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the size for a table was asked for; `printed` holds what was said."""
    folder = tmp_path_factory.mktemp("array")
    rng = np.random.default_rng(0)
    hidden = np.tanh(rng.normal(size=(800, 3)) @ rng.normal(size=(3, 30)) / 1.7 + rng.normal(size=30) / 2)
    values = hidden @ rng.normal(size=(30, 20)) + 0.3 * rng.normal(size=(800, 20))
    table = pd.DataFrame(values * rng.uniform(0.1, 10, 20) + 50).rename(columns=lambda i: f"sensor {i}")
    table.assign(kind=np.where(hidden[:, 0] > 0, "warm", "cold")).to_csv(folder / "my sensors.csv", index=False)
    options = ["--set", "dataset.labels=kind", "--device", "cpu", "--set", "training.epochs=60"]
    done = benchmark("suggest", "array:my sensors.csv", *options, cwd=folder, cache=folder / "cache")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def test_the_size_is_that_of_the_factors(work: Path) -> None:
    search = ResultsStore(work / "results").searches().iloc[0]
    assert 2 <= search["latent_dim"] <= 5
    assert search["likelihood"] == "gaussian-optimal" and search["space"].startswith("2 to 20;")


def test_it_speaks_of_rows(work: Path) -> None:
    printed = (work / "printed").read_text()
    assert re.search(r"The rows have about \d+ dimensions by TwoNN on 648 training rows", printed)
    assert "800 rows, 20 columns of float64; 2 classes" in printed and "standardised on the training split" in printed
    answer = printed[printed.index("Take ") : printed.index("The model:")]
    assert "nats a row" in answer and "image" not in answer and "FID" not in answer


def test_the_page_has_no_picture_of_images_and_no_fid(work: Path) -> None:
    report = work / "results" / "report"
    assert (report / "index.html").is_file()
    names = {path.name.partition("-")[0] for path in report.glob("*.png")}
    assert "images" not in names and "quality" in names
    markdown = (report / "comparison.md").read_text()
    assert "FID" not in markdown and "my sensors.csv" in markdown


def test_the_model_takes_and_gives_the_tables_own_units(work: Path) -> None:
    from benchmark import load_model

    store = ResultsStore(work / "results")
    vae = load_model(store.folder(store.searches()["search_id"].iloc[0]).path / "model.pt")
    values = pd.read_csv(work / "my sensors.csv").drop(columns="kind").to_numpy()
    back = vae.generate(vae.embed(values)[0]).numpy()
    explained = 1 - ((back - values) ** 2).sum(0) / ((values - values.mean(0)) ** 2).sum(0)
    assert np.median(explained) > 0.5
    inspected = benchmark(
        *("inspect", *work.joinpath("results/searches").glob("*/model.pt")),
        *("array:my sensors.csv", "--set", "dataset.drop=['kind']"),
        cwd=work,
        cache=work / "cache",
    )
    assert inspected.returncode == 0, inspected.stderr
    assert f"of {vae.latent_dim} latents are in use, on 80 samples." in inspected.stdout
