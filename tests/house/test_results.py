"""docs/results.md says what the study's files say, to the last digit."""

import re

import numpy as np
import pytest

from benchmark.store import ResultsStore
from docs.results.moves import START, fold, moved
from docs.results.page import FOLDER, PAGE, README, readme_with, render
from docs.results.study import Study
from reports.papers.base import StoreFrames


@pytest.fixture(scope="module")
def stores() -> dict[str, ResultsStore]:
    return {name: ResultsStore(FOLDER / f"{name}.parquet") for name in ("study", "sensitivity", "papers")}


def test_every_number_is_that_of_the_files(stores: dict[str, ResultsStore]) -> None:
    study = stores["study"]
    text = render(Study(study), moved(stores["sensitivity"], study), StoreFrames(stores["papers"]))
    assert PAGE.read_text(encoding="utf-8") == text, "run: make results"
    assert README.read_text(encoding="utf-8") == readme_with(text), "run: make results"


def test_every_figure_is_there() -> None:
    named = set(re.findall(r"\]\(results/([\w.-]+\.png)\)", PAGE.read_text(encoding="utf-8")))
    assert named == {path.name for path in FOLDER.glob("*.png")}


def test_numbers_by_another_way(stores: dict[str, ResultsStore]) -> None:
    """Losses, costs and drifts straight from the frames, without the reports' groups."""
    study, searches, curves = Study(stores["study"]), stores["study"].searches(), stores["study"].curves()
    rows = searches[(searches["dataset"] == "digits") & (searches["status"] == "done")]
    elbo = rows.pivot(index="seed", columns="searcher", values="test_elbo")
    grid = curves[
        (curves["split"] == "test") & curves["search_id"].isin(rows.loc[rows["searcher"] == "grid", "search_id"])
    ]
    trained = grid.pivot(index="seed", columns="size", values="elbo")
    gap = rows.groupby("seed")["no_latents_nll"].mean().mean() + trained.mean().max()
    found = study.loss_in("nested", "digits")
    assert found.n == 10 and found.mean == pytest.approx((elbo["grid"] - elbo["nested"]).mean() / gap)
    trials = stores["study"].trials()
    full = trials[
        trials["search_id"].isin(rows["search_id"]) & (trials["latent_dim"] == 32) & (trials["searcher"] == "grid")
    ]
    flops = rows.loc[rows["searcher"] == "nested", "train_flops"].mean()
    assert study.over_datasets("nested", "cost")["digits"] == pytest.approx(flops / full["train_flops"].median())
    chosen = rows[rows["searcher"] == "grid"].set_index("seed")["latent_dim"]
    largest = np.mean([trained.at[seed, size] - trained.at[seed, 32] for seed, size in chosen.items()])
    assert study.loss_of_size(np.inf)["digits"] == pytest.approx(largest / gap)
    starts = stores["sensitivity"].searches().query("status == 'done'")
    ends = [starts.loc[starts["searcher"] == f"ald@start-{start}", "latent_dim"].median() for start in (8, 64)]
    assert fold(moved(stores["sensitivity"], stores["study"]), START, "ald") == ends[1] / ends[0]
