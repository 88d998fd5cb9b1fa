"""Searches that are really killed (SIGKILL, the whole process group) and run again."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import TINY, benchmark, kill_when

from benchmark.errors import InputError
from benchmark.store import ResultsStore

TIMES = ["train_seconds", "eval_seconds", "wall_seconds"]
EPOCHS = {"ald": 36, "geco-l0arm": 40, "grid": 12, "random": 12, "sparsity": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _arguments(folder: Path, searcher: str, results: str) -> list[str]:
    (folder / "tiny.toml").write_text(TINY.format(epochs=EPOCHS[searcher]))
    return f"run --protocol tiny.toml --searchers {searcher} --seeds 3 --results {results}".split()


def _rows(results: Path) -> pd.DataFrame:
    """The search's rows so far; without any while there are none."""
    try:
        return ResultsStore(results).epochs()
    except InputError:
        return pd.DataFrame(columns=["epoch"])


def _kill_when(command: list[str], folder: Path, cache: Path, ready: Callable[[pd.DataFrame], bool]) -> None:
    kill_when(lambda: ready(_rows(folder / "killed")), *command, cwd=folder, cache=cache)


def _between_removals(rows: pd.DataFrame) -> bool:
    """Latents have been removed, the last removal is past and the next has not come."""
    return len(rows) > 6 and rows["latent_dim"].iloc[-1] < rows["latent_dim"].iloc[0] and len(rows) % 3 == 2


def _half_closed(rows: pd.DataFrame) -> bool:
    return len(rows) > 0 and 5 <= rows["ctl_open_gates"].iloc[-1] <= 11


def _in_second_training(rows: pd.DataFrame) -> bool:
    return len(rows) > 0 and rows["trial"].iloc[-1] == 1 and rows["epoch"].iloc[-1] >= 5


@pytest.mark.parametrize(
    ("searcher", "ready"),
    [
        ("ald", _between_removals),
        ("geco-l0arm", _half_closed),
        ("grid", _in_second_training),
        ("random", _in_second_training),
    ],
)
def test_killed_and_resumed_equals_undisturbed(
    searcher: str, ready: Callable[[pd.DataFrame], bool], tmp_path: Path, cache: Path
) -> None:
    command = _arguments(tmp_path, searcher, "killed")
    _kill_when(command, tmp_path, cache, ready)
    before = ResultsStore(tmp_path / "killed").epochs()
    status = ResultsStore(tmp_path / "killed").searches()["status"].tolist()
    assert status == ["running"]

    assert benchmark(*command, cwd=tmp_path, cache=cache).returncode == 0
    assert benchmark(*_arguments(tmp_path, searcher, "whole"), cwd=tmp_path, cache=cache).returncode == 0
    killed, whole = ResultsStore(tmp_path / "killed"), ResultsStore(tmp_path / "whole")

    after = killed.epochs()
    own = TIMES[:2]  # the third runs up within a search, and begins at 0 in a training that searches share
    kept = (before[own] == after[own].iloc[: len(before)]).all(axis=1)
    assert len(before) - kept.sum() <= 1, "more than one epoch was redone"
    assert after["wall_seconds"].is_monotonic_increasing
    pd.testing.assert_frame_equal(after.drop(columns=TIMES), whole.epochs().drop(columns=TIMES), check_exact=True)
    pd.testing.assert_frame_equal(killed.latents(), whole.latents(), check_exact=True)
    machine = [*TIMES, "peak_memory_bytes"]
    pd.testing.assert_frame_equal(
        killed.searches().drop(columns=machine), whole.searches().drop(columns=machine), check_exact=True
    )
    pd.testing.assert_frame_equal(
        killed.trials().drop(columns=machine), whole.trials().drop(columns=machine), check_exact=True
    )
    search_id = killed.searches()["search_id"].item()
    models = [torch.load(store.folder(search_id).path / "model.pt", weights_only=True) for store in (killed, whole)]
    for name, weights in models[0]["weights"].items():
        assert torch.equal(weights, models[1]["weights"][name]), name
    leftovers = [path.name for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".")]
    assert leftovers == []


def test_a_finished_search_is_not_run_again(tmp_path: Path, cache: Path) -> None:
    command = _arguments(tmp_path, "sparsity", "results")
    assert benchmark(*command, cwd=tmp_path, cache=cache).returncode == 0
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")}
    again = benchmark(*command, cwd=tmp_path, cache=cache)
    assert again.returncode == 0 and "sparsity" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*")} == stamps


def test_trainings_that_an_edited_searcher_no_longer_asks_for_are_void(tmp_path: Path, cache: Path) -> None:
    code = "from searchers.base import Choice, Searcher\n\n\nclass Own(Searcher):\n    def search(self, problem):\n"
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=2))
    command = "run --protocol tiny.toml --searchers own:Own --seeds 0 --results results".split()
    (tmp_path / "own.py").write_text(
        code + "        problem.train(8)\n        problem.train(6)\n        raise ValueError\n"
    )
    assert benchmark(*command, cwd=tmp_path, cache=cache).returncode == 1
    store = ResultsStore(tmp_path / "results")
    assert store.trials()["start_latent_dim"].tolist() == [8, 6]
    (tmp_path / "own.py").write_text(code + "        return Choice(problem.train(4))\n")
    done = benchmark(*command, cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert store.trials()["start_latent_dim"].tolist() == [4]
    search = store.searches().iloc[0]
    assert search["latent_dim"] == 4 and search["n_epochs"] == 2 and search["error"] is None
    assert not (store.folder(search["search_id"]).path / "error.txt").exists()
