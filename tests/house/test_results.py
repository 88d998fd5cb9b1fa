"""docs/results.md says what the study's files say, to the last digit."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark import cli
from benchmark.store import ResultsStore
from docs.results.moves import START, budgets, fold, moved
from docs.results.page import FOLDER, PAGE, README, readme_with, render
from docs.results.papers import numbers
from docs.results.published import published
from docs.results.study import Study, failures
from reports.papers.base import StoreFrames


@pytest.fixture(scope="module")
def stores() -> dict[str, ResultsStore]:
    return {name: ResultsStore(FOLDER / f"{name}.parquet") for name in ("study", "sensitivity", "papers")}


@pytest.fixture(scope="module")
def study(stores: dict[str, ResultsStore]) -> Study:
    return Study(stores["study"])


@pytest.fixture(scope="module")
def by_hand(stores: dict[str, ResultsStore]) -> pd.DataFrame:
    """Losses and sizes against the grid straight from the frames, without the reports' groups."""
    searches, curves = stores["study"].searches(), stores["study"].curves()
    found = []
    for (protocol, dataset), rows in searches.groupby(["protocol", "dataset"]):
        grids = rows[rows["searcher"] == "grid"].set_index("seed")
        if grids.empty:
            continue
        tested = curves[(curves["split"] == "test") & curves["search_id"].isin(grids["search_id"])]
        trained = tested.pivot(index="seed", columns="size", values="elbo")
        gap = rows.groupby("seed")["no_latents_nll"].mean().mean() + trained.mean().max()
        of_grid = grids[["test_elbo", "latent_dim"]].add_suffix("_grid")
        rows = rows[rows["status"].isin(["done", "failed"])].join(of_grid, "seed")
        of_its_own = rows["searcher"].isin(rows.loc[~rows["size_only"].isin(["", "native"]), "searcher"])
        alone = rows["size_only_elbo"].where(of_its_own, rows["test_elbo"])
        for elbo, column in ((rows["test_elbo"], "loss"), (alone, "alone")):
            rows[column] = ((rows["test_elbo_grid"] - elbo) / gap).where(rows["status"] == "done", 1.0)
        rows["ratio"] = np.log(rows["latent_dim"] / rows["latent_dim_grid"])
        rows["right"] = (rows["true_low"] <= rows["latent_dim"]) & (rows["latent_dim"] <= rows["true_high"])
        rows["half"] = [
            (trained.at[seed, size] - trained.loc[seed, trained.columns < size].iloc[-1]) / gap
            if protocol == "study-mnist"
            else np.nan
            for seed, size in zip(rows["seed"], rows["latent_dim_grid"], strict=True)
        ]
        found.append(rows.assign(block=protocol.removeprefix("study-"), dataset=dataset))
    return pd.concat(found)


def test_every_number_is_that_of_the_files(stores: dict[str, ResultsStore], study: Study) -> None:
    frame = moved(stores["sensitivity"], stores["study"])
    text = render(study, frame, stores["sensitivity"], StoreFrames(stores["papers"]))
    assert PAGE.read_text(encoding="utf-8") == text, "run: make results"
    assert README.read_text(encoding="utf-8") == readme_with(text), "run: make results"


def test_every_figure_is_there() -> None:
    named = set(re.findall(r"\]\(results/([\w.-]+\.png)\)", PAGE.read_text(encoding="utf-8")))
    assert named == {path.name for path in FOLDER.glob("*.png")}


def test_published_claims_are_judged_by_their_rules(stores: dict[str, ResultsStore], study: Study) -> None:
    frame, found = moved(stores["sensitivity"], stores["study"]), numbers(StoreFrames(stores["papers"]))

    def outcomes() -> dict[str, str]:
        return {one.claim: one.outcome for one in published(study, frame, found)}

    starts, front, sums = (
        next(claim for claim in outcomes() if part in claim) for part in ("1 to 2 apart", "tau = 3 ", "sum to 1")
    )
    for apart, outcome in ((2, "held"), (3, "did not hold")):
        for one in found["ald"].values():
            one["apart"]["max"] = apart
        assert outcomes()[starts] == outcome
    found["geco"]["inside"] = {3: True, 30: True}
    assert outcomes()[front] == "held"
    found["geco"]["inside"] = {}
    assert outcomes()[front] == "not run"
    for near, outcome in ((0.95, "held"), (0.94, "did not hold")):
        for name in ("mnist_dense", "tiles_dense"):
            found["asperti"][name]["sums"]["near"] = near
        assert outcomes()[sums] == outcome


def test_losses_and_sizes_by_another_way(study: Study, by_hand: pd.DataFrame) -> None:
    keys = ["block", "searcher", "seed"]
    both = study.searches.merge(by_hand, on=keys, suffixes=("", "_by_hand"))
    assert len(both) == study.n_searches == len(by_hand[by_hand["block"].isin(study.blocks)])
    for column, other in (("loss", "loss_by_hand"), ("alone", "alone_by_hand"), ("log_ratio", "ratio")):
        np.testing.assert_allclose(both[column], both[other], atol=1e-9)
    known = both["true_low"].notna()
    assert known.any() and both.loc[~known, "within"].isna().all()
    np.testing.assert_array_equal(both.loc[known, "within"], both.loc[known, "right"])
    np.testing.assert_array_equal(both["unsettled"].dropna(), 1 - both["settled"].dropna())


def test_means_over_data_sets_by_another_way(study: Study, by_hand: pd.DataFrame) -> None:
    rows = by_hand[by_hand["searcher"] == "nested"]
    of_blocks = rows.groupby(["dataset", "block"])[["loss", "ratio"]].mean()
    of_datasets = of_blocks.groupby("dataset").mean()
    losses, n = of_datasets["loss"], len(of_datasets)
    assert study.worst("nested")[1] == pytest.approx(of_blocks["loss"].max())
    assert study.size_ratio("nested") == pytest.approx(np.exp(of_datasets["ratio"].mean()))
    margin = stats.t.ppf(0.975, n - 1) * losses.std() / np.sqrt(n)
    effect = study.across["nested"].effect
    assert [effect.mean, effect.low, effect.high] == pytest.approx(
        [losses.mean(), losses.mean() - margin, losses.mean() + margin]
    )
    ald = by_hand[(by_hand["searcher"] == "ald") & (by_hand["settled"] == 1)]
    fired = ald.groupby(["dataset", "block"])["ratio"].mean().groupby("dataset").mean()
    assert study.size_ratio("ald", settled=True) == pytest.approx(np.exp(fired.mean()))
    sd = study.spread(["grid", "nested"])["nested"]
    logs = np.log2(rows[rows["status"] == "done"].set_index(["block", "seed"])["latent_dim"])
    centred = logs - logs.groupby("block").transform("mean")
    assert sd == pytest.approx(
        np.sqrt((centred**2).sum() / (len(logs) - logs.index.get_level_values("block").nunique()))
    )
    assert study.loss_of_size(0.5)["mnist"] == pytest.approx(by_hand.groupby("seed")["half"].first().dropna().mean())


def test_titles_of_the_sentences_hold(stores: dict[str, ResultsStore], study: Study) -> None:
    """A sentence's words are not computed, so that they are to be written anew where one of these fails."""
    frame = moved(stores["sensitivity"], stores["study"])
    mean = {name: study.over_datasets(name, "loss").mean() for name in study.methods}
    ratio = {name: study.size_ratio(name) for name in study.methods}
    one_training = ("nested", "sparsity", "ard")
    assert study.loss_of_size(0.5).median() > study.loss_of_size(np.inf).median()  # 1
    assert study.loss_of_size(0.5).min() > 0.05  # the controls
    assert all(mean[name] < 0.05 for name in one_training)  # 2
    assert all(mean[name] < 0.05 and study.cost(name) < study.cost("grid") for name in ("halving", "tolerance"))  # 3
    assert study.size_ratio("ald", settled=True) > 1.5  # 5
    assert fold(frame, "threshold", "geco-l0arm") >= 2  # 6
    assert study.over_datasets("geco-l0arm", "loss", settled=True).mean() < mean["geco-l0arm"]
    torus = study.common(["grid", "twonn"], "within").loc["torus"]
    assert torus["twonn"].all() and study.worst("twonn")[0] == "torus" and study.worst("twonn")[1] > 0.05  # 7, 10
    assert all(ratio[name] > 1.5 for name in ("sigma", "irmae", "least-volume", "rrae"))  # 8
    assert min(one_training, key=lambda name: abs(np.log(ratio[name]))) == "nested"  # what follows
    of_papers = numbers(StoreFrames(stores["papers"]))["ald"].values()  # the papers' experiments
    apart = [one[key]["min"] for one in of_papers for key in ("apart", "every_epoch_apart") if one[key]["n"]]
    assert len(apart) >= 3 and min(apart) > 2 >= max(one["in_use_apart"]["max"] for one in of_papers)
    for name in ("grid", *one_training):
        rows = study.of(name, "manifold-20")
        assert rows["worse_than_pca"].all() and (name == "grid" or (rows["size"] < 19).all())
    longer = stores["sensitivity"].searches().query("protocol == 'study-manifold-20' and status == 'done'")
    assert set(longer["searcher"]) == set(one_training) and longer["worse_than_pca"].all()
    assert (longer["latent_dim"] < 19).all()


def test_what_is_moved_by_another_way(stores: dict[str, ResultsStore], study: Study) -> None:
    searches = stores["study"].searches()
    rows = searches[(searches["dataset"] == "digits") & (searches["status"] == "done")]
    trials = stores["study"].trials()
    full = trials[
        trials["search_id"].isin(rows["search_id"]) & (trials["latent_dim"] == 32) & (trials["searcher"] == "grid")
    ]
    flops = rows.loc[rows["searcher"] == "nested", "train_flops"].mean()
    assert study.over_datasets("nested", "cost")["digits"] == pytest.approx(flops / full["train_flops"].median())
    starts = stores["sensitivity"].searches().query("status == 'done'")
    ends = [starts.loc[starts["searcher"] == f"ald@start-{start}", "latent_dim"].median() for start in (8, 64)]
    assert fold(moved(stores["sensitivity"], stores["study"]), START, "ald") == ends[1] / ends[0]
    longer = stores["sensitivity"].searches().query("protocol == 'study-torus' and searcher == 'geco-l0arm'")
    found = budgets(stores["sensitivity"], stores["study"]).set_index(["protocol", "searcher", "epochs"])
    row = found.loc["study-torus", "geco-l0arm", 450]
    assert row["behind"] == pytest.approx((longer["size_only_elbo"] - longer["test_elbo"]).mean())
    assert [row["low"], row["high"], row["n"]] == [longer["latent_dim"].min(), longer["latent_dim"].max(), len(longer)]
    fid = searches[(searches["dataset"] == "mnist") & (searches["status"] == "done")]
    fid = fid.pivot(index="seed", columns="searcher", values="test_fid_gen").dropna(subset=["ard", "geco-l0arm"]).mean()
    pairs = study.paired("fid_gen", "geco-l0arm", "ard", "mnist")
    assert np.mean(pairs, axis=0)[0] / np.mean(pairs, axis=0)[1] == pytest.approx(fid["geco-l0arm"] / fid["ard"])


def test_curves_are_of_the_same_seeds_everywhere(stores: dict[str, ResultsStore]) -> None:
    frame = moved(stores["sensitivity"], stores["study"])
    for _, rows in frame.groupby(["what", "searcher"]):
        assert rows.groupby(["setting", "value"], dropna=False)["seed"].apply(sorted).map(tuple).nunique() == 1


def test_every_command_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^latentbench run .*", page, re.MULTILINE)]
    planned: list[object] = []
    monkeypatch.setattr("benchmark.suite.executors.local_pool.warm_up", lambda: None)
    monkeypatch.setattr("benchmark.suite.runner.plan_suite", lambda suite, screen: planned.append(suite))
    monkeypatch.setattr("benchmark.terminal.plan_table.print_plan", lambda plan: None)
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([*command[1:], "--dry-run"])
        assert not ended.value.code, command
    assert len(planned) == len(commands) > 30


def test_every_failed_search_is_named(stores: dict[str, ResultsStore]) -> None:
    n = sum(int((store.searches()["status"] == "failed").sum()) for store in stores.values())
    assert n == len(failures(list(stores.values()))) > 0
