"""Trainings that are known beforehand, spread over the workers or stacked: the results of one after another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import TINY, benchmark, kill_when, started
from small_bench import MACHINE, TIMES, assert_near

from benchmark.config.protocol import parse_protocol
from benchmark.datasets import load_dataset
from benchmark.errors import InputError
from benchmark.metrics.baselines import mean_image, nll
from benchmark.store import ResultsStore
from benchmark.store.folders import TrialFolder
from benchmark.suite.plan import plan

EPOCHS, KILLED_AFTER = 12, 4
KEYS = ["searcher", "seed", "trial", "epoch"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=EPOCHS))
    return folder


def _command(results: str, *options: str, searchers: str = "grid random") -> list[str]:
    return [*f"run --protocol tiny.toml --searchers {searchers} --seeds 0 1 --results {results}".split(), *options]


def _run(work: Path, *command: str) -> ResultsStore:
    done = benchmark(*command, cwd=work, cache=work / "cache")
    assert done.returncode == 0 and done.stderr == "" and "damaged" not in done.stdout, done.stdout + done.stderr
    return ResultsStore(work / command[command.index("--results") + 1])


@pytest.fixture(scope="module")
def plain(work: Path) -> ResultsStore:
    return _run(work, *_command("plain"))


@pytest.fixture(scope="module")
def stacked(work: Path) -> ResultsStore:
    """With another searcher in the suite."""
    return _run(work, *_command("stacked", "--execution", "stacked", searchers="grid random sparsity"))


def _assert_same(store: ResultsStore, expected: ResultsStore, searchers: str) -> None:
    """All but times and how the trainings were carried out, bit for bit; and no claim or checkpoint is left."""
    for name in ("searches", "trials", "epochs", "latents", "curves"):
        frames = [getattr(one, name)() for one in (store, expected)]
        own, other = (
            frame[frame["searcher"].isin(searchers.split())]
            .reset_index(drop=True)
            .dropna(axis="columns", how="all")
            .infer_objects()
            for frame in frames
        )
        different = [column for column in (*MACHINE, "execution") if column in own]
        assert len(own)
        pd.testing.assert_frame_equal(
            own.drop(columns=different), other.drop(columns=different), check_exact=True, check_like=True
        )
    for search_id in store.searches()["search_id"]:
        models = [torch.load(one.folder(search_id).path / "model.pt", weights_only=True) for one in (store, expected)]
        for name, weights in models[0]["weights"].items():
            assert torch.equal(weights, models[1]["weights"][name]), name
    _assert_tidy(store.path)


def _assert_tidy(results: Path) -> None:
    names = {path.name for path in results.rglob("*")}
    assert not [name for name in names if name.startswith((".", "claim-", "stack-", "checkpoint", "optimizer"))]


def _done_ahead(results: Path) -> dict[str, pd.DataFrame]:
    """The rows of each shared training so far."""
    folders = (path for path in (results / "trainings").glob("*") if path.is_dir())
    return {path.name: pd.DataFrame(TrialFolder(path).read_rows()) for path in folders}


def test_searches_of_a_seed_share_its_partition(plain: ResultsStore) -> None:
    """Test images and the NLL without latents are those of the seed's splits, for both searchers."""
    dataset = load_dataset("digits")
    for _, search in plain.searches().iterrows():
        own = dataset.for_seed(search["seed"])
        part, gallery = own.test.sample(10), plain.gallery(search["search_id"])
        assert gallery is not None
        assert np.array_equal(gallery["originals"], part.images[part.rows])
        assert np.array_equal(gallery["labels"], part.labels[part.rows])
        assert search["no_latents_nll"] == pytest.approx(nll(mean_image(own.train), own.test))
    counts = plain.searches().groupby("seed")["no_latents_nll"].nunique()
    assert counts.tolist() == [1, 1] and plain.searches()["no_latents_nll"].nunique() == 2
    assert plain.searches()["test_fid_features"].nunique() == 1  # one classifier for all seeds


def test_spread_by_two_commands_at_once(work: Path, plain: ResultsStore) -> None:
    """Each training is done once, by one of them, and every search is that of one training after another."""
    commands = [
        _command("spread", "--execution", "spread"),
        _command("spread", "--execution", "spread", searchers="grid"),
    ]
    processes = [started(*command, cwd=work, cache=work / "cache") for command in commands]
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and errors == "", output + errors
    store = ResultsStore(work / "spread")
    _assert_same(store, plain, "grid random")
    assert set(store.searches()["execution"]) == {"spread"} and set(plain.searches()["execution"]) == {"sequential"}
    wanted = plain.trials()[["seed", "start_latent_dim"]].drop_duplicates()
    assert len(_done_ahead(work / "spread")) == len(_done_ahead(work / "plain")) == len(wanted) < len(plain.trials())


def test_asynchronous_halving_is_the_same_on_two_workers(work: Path) -> None:
    """It goes on from first trainings while a worker does others, in the order that the seed gives."""
    settings = ["--set", "searchers.halving.asynchronous=true", "--set", "searchers.halving.reduction_factor=2"]
    alone = _run(work, *_command("alone", *settings, searchers="halving"))
    spread = _run(work, *_command("both", *settings, "--execution", "spread", "--jobs", "2", searchers="halving"))
    _assert_same(spread, alone, "halving")
    trials = alone.trials()
    assert trials.groupby("seed")["n_epochs"].apply(lambda own: (own == EPOCHS // 2).sum()).min() >= 4  # one goes on


def test_each_search_is_charged_in_full(plain: ResultsStore) -> None:
    trials, epochs = plain.trials(), plain.epochs()
    for search_id, search in plain.searches().set_index("search_id").iterrows():
        own, rows = (frame[frame["search_id"] == search_id] for frame in (trials, epochs))
        for column in ("n_epochs", "train_flops", "images_seen", "train_seconds", "eval_seconds"):
            assert search[column] == pytest.approx(own[column].sum()), column
        assert search["n_epochs"] == 3 * EPOCHS == len(rows) and rows["wall_seconds"].is_monotonic_increasing
        assert search["wall_seconds"] >= search["train_seconds"] + search["eval_seconds"]
    common = trials[trials.duplicated(["seed", "start_latent_dim"], keep=False)]
    assert len(common), "grid and random have no training in common"
    assert (common.groupby(["seed", "start_latent_dim"])["train_seconds"].nunique() == 1).all()


def test_stacked_results_are_those_of_one_training_after_another(plain: ResultsStore, stacked: ResultsStore) -> None:
    searches, expected = (one.searches().set_index(["searcher", "seed"]).sort_index() for one in (stacked, plain))
    assert searches["status"].tolist() == ["done"] * 6
    assert searches["execution"].groupby("searcher").unique().map(list).to_dict() == {
        "grid": ["stacked"],
        "random": ["stacked"],
        "sparsity": ["sequential"],
    }
    searches = searches.loc[["grid", "random"]]
    assert (searches["search_id"] != expected["search_id"]).all()
    for column in ("latent_dim", "chosen_trial", "pareto", "n_trials", "n_epochs", "train_flops", "images_seen"):
        assert searches[column].tolist() == expected[column].tolist(), column
    tested = [column for column in searches.columns if column.startswith("test_") and column != "test_fid_features"]
    pd.testing.assert_frame_equal(
        searches[tested].astype(float), expected[tested].astype(float), check_exact=False, rtol=1e-3
    )
    rows, others = (
        one.epochs().query("searcher != 'sparsity'").set_index(KEYS).sort_index() for one in (stacked, plain)
    )
    assert_near(rows[others.columns.drop("search_id")], others.drop(columns="search_id"))
    _assert_tidy(stacked.path)


@pytest.mark.parametrize("execution", ["stacked", pytest.param("spread", marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_undisturbed(work: Path, execution: str, request: pytest.FixtureRequest) -> None:
    undisturbed = request.getfixturevalue("stacked" if execution == "stacked" else "plain")
    command = _command(f"killed-{execution}", "--execution", execution, "--jobs", "2", searchers="grid random")
    results = work / f"killed-{execution}"

    def amid_trainings() -> bool:
        lengths = [len(rows) for rows in _done_ahead(results).values()]
        return len(lengths) >= 2 and sum(KILLED_AFTER <= length < EPOCHS for length in lengths) >= 2

    kill_when(amid_trainings, *command, cwd=work, cache=work / "cache")
    before = _done_ahead(results)
    _assert_same(_run(work, *command), undisturbed, "grid random")
    after = _done_ahead(results)
    redone = 0
    for key, rows in before.items():  # as a row is timed where it is trained, this counts those that were trained anew
        if len(rows):
            redone += int((after[key][TIMES].iloc[: len(rows)] != rows[TIMES]).any(axis=1).sum())
            assert after[key]["wall_seconds"].is_monotonic_increasing and len(after[key]) == EPOCHS
    assert redone <= (0 if execution == "stacked" else 2)


def test_a_training_that_fails_is_met_again_by_its_search(work: Path) -> None:
    (work / "own.py").write_text(
        "from searchers.base import Choice, Expected, Searcher\n\n\nclass Own(Searcher):\n"
        "    def expected(self, space, epochs, seed):\n"
        "        return [Expected(size, epochs, certain=True) for size in (2, -1)]\n\n"
        "    def search(self, problem):\n"
        "        return Choice([problem.train(size) for size in (3, 2)][-1])\n"
    )
    command = "run --protocol tiny.toml --searchers own:Own --seeds 0 --epochs 1 --results failing --execution spread"
    done = benchmark(*command.split(), cwd=work, cache=work / "cache")
    assert done.returncode == 0, done.stdout + done.stderr  # the search itself trains other sizes than it said
    assert "a training of -1 latents is left to its search: " in done.stdout
    assert ResultsStore(work / "failing").trials()["start_latent_dim"].tolist() == [3, 2]


def test_how_trainings_are_carried_out_belongs_to_searchers_that_know_them() -> None:
    protocol = parse_protocol(TINY.format(epochs=2), "tiny")
    specs = plan(protocol, "", ("grid", "sparsity"), (0,), execution="stacked")
    assert [(spec.searcher, spec.execution) for spec in specs] == [("grid", "stacked"), ("sparsity", "sequential")]
    for names in (("ald",), ("searchers.experiments.unsampled:UnsampledGrid",)):
        with pytest.raises(InputError, match=f"spread concerns searchers whose sizes are known.*got {names[0]}; "):
            plan(protocol, "", names, (0,), execution="spread")
