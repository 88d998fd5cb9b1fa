"""docs/results.md says what the study's files say, to the last digit."""

import re

import numpy as np
import pytest

from benchmark.store import ResultsStore
from docs.results.moves import START, budgets, fold, moved
from docs.results.page import FOLDER, PAGE, README, readme_with, render
from docs.results.papers import numbers
from docs.results.published import published
from docs.results.study import Study
from reports.papers.base import StoreFrames


@pytest.fixture(scope="module")
def stores() -> dict[str, ResultsStore]:
    return {name: ResultsStore(FOLDER / f"{name}.parquet") for name in ("study", "sensitivity", "papers")}


def test_every_number_is_that_of_the_files(stores: dict[str, ResultsStore]) -> None:
    study, sensitivity = stores["study"], stores["sensitivity"]
    frame, longer = moved(sensitivity, study), budgets(sensitivity, study)
    text = render(Study(study), frame, longer, StoreFrames(stores["papers"]))
    assert PAGE.read_text(encoding="utf-8") == text, "run: make results"
    assert README.read_text(encoding="utf-8") == readme_with(text), "run: make results"


def test_every_figure_is_there() -> None:
    named = set(re.findall(r"\]\(results/([\w.-]+\.png)\)", PAGE.read_text(encoding="utf-8")))
    assert named == {path.name for path in FOLDER.glob("*.png")}


def test_published_claims_are_judged_by_their_rules(stores: dict[str, ResultsStore]) -> None:
    study, frame, found = (
        Study(stores["study"]),
        moved(stores["sensitivity"], stores["study"]),
        numbers(StoreFrames(stores["papers"])),
    )

    def outcomes() -> dict[str, str]:
        return {one.claim: one.outcome for one in published(study, frame, found)}

    starts, front, sums = (
        next(claim for claim in outcomes() if part in claim) for part in ("1 to 2 apart", "tau = 3 ", "sum to 1")
    )
    for apart, outcome in ((2, "held"), (3, "did not hold")):
        for one in found["ald"].values():
            one["apart"] = apart
        assert outcomes()[starts] == outcome
    found["geco"]["inside"] = {3: True, 30: True}
    assert outcomes()[front] == "held"
    found["geco"]["inside"] = {}
    assert outcomes()[front] == "not run"
    found["asperti"]["tiles_dense"]["sums"] = {"mean": 1.06, "variance": 0.0}
    assert outcomes()[sums] == "did not hold"


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
    loss = study.loss_in("nested", "digits")
    assert loss.n == 10 and loss.mean == pytest.approx((elbo["grid"] - elbo["nested"]).mean() / gap)
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
    longer = stores["sensitivity"].searches().query("protocol == 'study-torus' and searcher == 'geco-l0arm'")
    found = budgets(stores["sensitivity"], stores["study"]).set_index(["protocol", "searcher", "epochs"])
    row = found.loc["study-torus", "geco-l0arm", 450]
    assert row["behind"] == pytest.approx((longer["size_only_elbo"] - longer["test_elbo"]).mean())
    assert [row["low"], row["high"]] == [longer["latent_dim"].min(), longer["latent_dim"].max()]
    fid = searches[(searches["dataset"] == "mnist") & (searches["status"] == "done")]
    fid = fid.pivot(index="seed", columns="searcher", values="test_fid_gen").dropna(subset=["ard", "geco-l0arm"]).mean()
    pairs = study.paired("fid_gen", "geco-l0arm", "ard", "mnist")
    assert np.mean(pairs, axis=0)[0] / np.mean(pairs, axis=0)[1] == pytest.approx(fid["geco-l0arm"] / fid["ard"])
