"""Trainings of known sizes as tasks of their own: the results of one training after another, killed or not."""

import json
from pathlib import Path

import pandas as pd
import pytest
from commands import TINY, benchmark, kill_when

from benchmark.config.protocol import parse_protocol
from benchmark.errors import InputError
from benchmark.store import ResultsStore
from benchmark.store.claims import claim
from benchmark.suite.dispatch import Unit, make_units
from benchmark.suite.plan import claim_path, plan

EPOCHS = 12
TIMES = ["train_seconds", "eval_seconds", "wall_seconds"]
NAMES = ["search_id", "searcher"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=EPOCHS))
    return folder


def _command(results: str, *options: str, searchers: str = "grid random") -> list[str]:
    return [*f"run --protocol tiny.toml --searchers {searchers} --seeds 0 1 --results {results}".split(), *options]


def _run(work: Path, *command: str) -> ResultsStore:
    done = benchmark(*command, cwd=work, cache=work / "cache")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return ResultsStore(work / command[command.index("--results") + 1])


@pytest.fixture(scope="module")
def plain(work: Path) -> ResultsStore:
    return _run(work, *_command("plain"))


@pytest.fixture(scope="module")
def spread(work: Path) -> ResultsStore:
    return _run(work, *_command("spread", "--spread"))


def _assert_same(store: ResultsStore, plain: ResultsStore) -> None:
    for name in ("searches", "trials", "epochs", "latents"):
        own, expected = getattr(store, name)(), getattr(plain, name)()
        expected = expected[(expected["searcher"] + "@spread").isin(own["searcher"])].reset_index(drop=True)
        assert len(own) and (own["searcher"] == expected["searcher"] + "@spread").all()
        own, expected = own.dropna(axis="columns", how="all"), expected.dropna(axis="columns", how="all")
        different = [column for column in (*NAMES, *TIMES, "peak_memory_bytes") if column in own]
        pd.testing.assert_frame_equal(
            own.drop(columns=different), expected.drop(columns=different), check_exact=True, check_like=True
        )
    names = {path.name for path in store.path.rglob("*")}
    assert not [name for name in names if name.startswith((".", "claim-", "ahead", "checkpoint"))]


def test_results_are_those_of_one_training_after_another(spread: ResultsStore, plain: ResultsStore) -> None:
    _assert_same(spread, plain)


def test_costs_are_sums_and_the_wall_clock_that_of_the_longest_training(
    spread: ResultsStore, plain: ResultsStore
) -> None:
    for store, at_once in ((spread, True), (plain, False)):
        trials = store.trials().groupby("search_id")
        for search_id, search in store.searches().set_index("search_id").iterrows():
            own = trials.get_group(search_id)
            assert search["train_seconds"] == pytest.approx(own["train_seconds"].sum())
            assert search["eval_seconds"] == pytest.approx(own["eval_seconds"].sum())
            walls = own["wall_seconds"]
            assert search["wall_seconds"] >= walls.max()
            assert (search["wall_seconds"] < walls.sum()) == at_once


@pytest.mark.slow
def test_killed_and_resumed_equals_undisturbed(work: Path, plain: ResultsStore) -> None:
    command, results = _command("killed", "--spread", searchers="grid"), work / "killed"

    def two_trainings_are_under_way() -> bool:
        paths = (results / "searches").glob("*/trials/*/checkpoint.pt")
        return len(list(paths)) >= 2 and any((results / "searches").glob("*/trials/*/trial.json"))

    kill_when(two_trainings_are_under_way, *command, "--jobs", "2", cwd=work, cache=work / "cache")
    before = ResultsStore(results).epochs()
    _assert_same(_run(work, *command), plain)
    after = ResultsStore(results).epochs().merge(before, on=["search_id", "trial", "epoch"])
    assert len(after) == len(before)
    assert (after["train_seconds_x"] != after["train_seconds_y"]).sum() <= 2  # the epochs under way


def test_a_training_that_fails_is_met_again_by_its_search(work: Path) -> None:
    code = "from searchers.grid import Grid\n\n\nclass Own(Grid):\n"
    code += "    def known_sizes(self, seed):\n        return (2, 1)\n"
    (work / "own.py").write_text(code)
    command = "run --protocol tiny.toml --searchers own:Own sparsity --seeds 0 --epochs 1 --results failing --spread"
    done = benchmark(*command.split(), cwd=work, cache=work / "cache")
    assert done.returncode == 0, done.stdout + done.stderr  # the search itself trains other sizes than it said
    assert "training 2 of digits-mlp-own_Own_spread" in done.stdout and "latent_dim 1" in done.stdout
    store = ResultsStore(work / "failing")
    own = store.trials().query("searcher == 'own:Own@spread'")
    assert own["start_latent_dim"].tolist() == [4, 8, 16, 32, 64]


def test_a_training_claimed_by_another_command_is_not_free(tmp_path: Path) -> None:
    """The claims on a search and on its trainings are different ones."""
    own = claim(claim_path(tmp_path, 1), 1, lambda: None)
    assert own is not None and claim(claim_path(tmp_path, 1), 1, lambda: None) is None
    others = [claim(claim_path(tmp_path, training), 1, lambda: None) for training in (None, 0)]
    assert None not in others
    assert json.loads((tmp_path / "ahead" / "001" / "claim-000001").read_text())["pid"]
    for held in (own, *others):
        assert held is not None
        held.release(finished=True)


def test_units_of_spread_searches_come_after_their_trainings() -> None:
    protocol = parse_protocol(TINY.format(epochs=2), "tiny")
    specs = plan(protocol, "", ("grid", "sparsity"), (0,), ahead="spread")
    assert [spec.searcher for spec in specs] == ["grid@spread", "sparsity"]
    assert make_units(specs) == [Unit(0, 0), Unit(0, 1), Unit(0, 2), Unit(0), Unit(1)]
    stacked = plan(protocol, "", ("grid",), (0,), ahead="population")
    assert make_units(stacked) == [Unit(0)]
    assert len({spec.search_id for spec in (*specs, *stacked, *plan(protocol, "", ("grid",), (0,)))}) == 4
    with pytest.raises(InputError, match="spread concerns searchers whose sizes are known beforehand, got ald; "):
        plan(protocol, "", ("ald",), (0,), ahead="spread")
