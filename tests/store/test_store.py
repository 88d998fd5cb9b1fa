"""The results store: whole files, exact values, speed."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import ROOT

from benchmark.errors import Damaged, InputError
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import remove_folder, replacing
from benchmark.store.columns import KEYS
from benchmark.store.folders import SearchFolder, summarise
from benchmark.store.rows import EPOCH_COLUMNS, LATENT_ARRAYS
from benchmark.suite.problem import BenchProblem
from benchmark.terminal.snapshot import FileCache, snapshot
from searchers.quantities import METRICS


def _row(epoch: int, trial: int = 0, **values: Any) -> dict[str, Any]:
    return {
        **{name: 0.1 * epoch for name in EPOCH_COLUMNS},
        **{"trial": trial, "epoch": epoch, "latent_dim": 3, "active_units": 2, "fid_features": "classifier"},
        **{"images_seen": 64 * epoch, "train_flops": 10**12 * epoch},
        **{"latent_id": np.arange(3), "latent_mean_variance": np.array([1.0, 0.1, 1 / 3])},
        **{"latent_variance_mean": np.zeros(3), "latent_kl": np.ones(3)},
        **values,
    }


def _search(results: Path, search_id: str, **values: Any) -> SearchFolder:
    folder = SearchFolder(results / "searches" / search_id)
    keys = {"search_id": search_id, "dataset": "digits", "backbone": "mlp", "searcher": "ald", "seed": 7}
    folder.update(**keys, status="running", **values)
    return folder


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [_row(epoch, recon_nll=rng.standard_normal(), kl=float("nan")) for epoch in (1, 2, 3)]
    trial = _search(tmp_path, "a").trial(0)
    trial.write_rows(rows)
    frame = ResultsStore(tmp_path).epochs()
    assert frame["recon_nll"].tolist() == [row["recon_nll"] for row in rows]
    assert frame["kl"].isna().all() and frame["kl"].dtype == np.float64
    assert frame[list(KEYS)].iloc[0].tolist() == ["a", "digits", "mlp", "ald", 7]
    back = trial.read_rows()
    assert [row["epoch"] for row in back] == [1, 2, 3]
    np.testing.assert_array_equal(back[0]["latent_mean_variance"], rows[0]["latent_mean_variance"])


def test_latents_are_a_row_each(tmp_path: Path) -> None:
    shrunk = {name: np.array([0.5, 0.25]) for name in ("latent_mean_variance", "latent_variance_mean", "latent_kl")}
    rows = [_row(1), _row(2, latent_id=np.array([0, 2]), **shrunk)]
    _search(tmp_path, "a").trial(0).write_rows(rows)
    latents = ResultsStore(tmp_path).latents()
    assert latents[["epoch", "latent_id"]].to_numpy().tolist() == [[1, 0], [1, 1], [1, 2], [2, 0], [2, 2]]
    assert latents["latent_mean_variance"].tolist() == [1.0, 0.1, 1 / 3, 0.5, 0.25]


def test_numbers_of_latents_and_probes_have_numbers_types(tmp_path: Path) -> None:
    probes = {"probe_label": np.array([3, 1]), "probe_mean": np.ones((2, 3)), "probe_variance": np.zeros((2, 3))}
    _search(tmp_path, "a").trial(0).write_rows([_row(1, **probes)])
    for _ in range(2):
        store = ResultsStore(tmp_path)
        latents, found = store.latents(), store.probes()
        assert latents["latent_id"].dtype == found["probe_label"].dtype == np.int64
        assert {latents[name].dtype for name in LATENT_ARRAYS[1:]} == {np.dtype(np.float64)}
        shutil.rmtree(tmp_path / "searches" / "a", ignore_errors=True)  # an empty table's too
    assert len(latents) == len(found) == 0


@pytest.mark.parametrize("own", [2, True, 2**60, [2, 2.5], [None, 3]])
def test_an_older_result_s_trace_of_another_type(own: Any, tmp_path: Path) -> None:
    values = own if isinstance(own, list) else [own]
    rows = [_row(n + 1, **({} if value is None else {"ctl_active": value})) for n, value in enumerate(values)]
    _search(tmp_path, "a").trial(0).write_rows(rows)
    _search(tmp_path, "b").trial(0).write_rows([_row(1, ctl_active=0.5)])
    found = ResultsStore(tmp_path).epochs()["ctl_active"]
    assert found.dtype == np.float64
    assert found.dropna().tolist() == [*(float(value) for value in values if value is not None), 0.5]


def test_trainings_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = _search(tmp_path, "a")
    numbers = [1001, 99, 101, 1000, 999, 100]
    for number in numbers:
        folder.trial(number).write_rows([_row(1, trial=number)])
    assert [trial.number for trial in folder.trials()] == sorted(numbers)
    assert ResultsStore(tmp_path).trials()["trial"].tolist() == sorted(numbers)
    assert ResultsStore(tmp_path).epochs()["trial"].tolist() == sorted(numbers)


def test_trainings_beyond_a_number_are_deleted_by_their_numbers(tmp_path: Path) -> None:
    folder = _search(tmp_path, "a")
    for number in (0, 999, 1000, 1001):
        folder.trial(number).write_rows([_row(1, trial=number)])
    shutil.rmtree(folder.trial(0).path)  # what is at which place says nothing
    BenchProblem._discard(SimpleNamespace(_folder=folder), 1000)  # type: ignore[arg-type]
    assert [trial.number for trial in folder.trials()] == [999]


def test_what_other_programs_hide_in_results_does_no_harm(tmp_path: Path) -> None:
    folder = _search(tmp_path, "a")
    folder.trial(0).write_rows([_row(1)])
    before = ResultsStore(tmp_path).trials()
    hidden = []
    for place in (tmp_path / "searches", folder.path, folder.path / "trials", folder.trial(0).path):
        (place / ".ipynb_checkpoints").mkdir()
        (place / ".ipynb_checkpoints" / "search.json").write_text("{}")
        hidden += [place / ".ipynb_checkpoints", place / ".DS_Store", place / ".nfs000000000001a2b300000001"]
        for path in hidden[-2:]:
            path.write_text("")
    half = [folder.path / ".0123456789ab.search.json", folder.trial(0).path / ".0123456789ab.model.pt"]
    for path in half:
        path.write_text("half")
    folder.trial(1).path.mkdir()
    (folder.trial(1).path / ".nfs000000000001a2b300000002").write_text("")  # a deleted training, still open elsewhere
    folder.tidy()
    assert all(path.exists() for path in hidden) and not any(path.exists() for path in half)
    store = ResultsStore(tmp_path)
    pd.testing.assert_frame_equal(store.trials(), before)
    assert len(store.searches()) == len(store.epochs()) == 1 and len(store.latents()) == 3
    folder.check()
    assert snapshot(store, FileCache(), 0.0).n_unreadable == 0


def test_a_folder_is_removed_but_for_what_is_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".nfs01", "model.pt"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_text("")
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as where nothing can be deleted
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".nfs01").write_text("")
    remove_folder(tmp_path / "b")
    (tmp_path / "b" / "model.pt").write_text("")
    with pytest.raises(OSError, match="cannot be deleted: .*model.pt"):
        remove_folder(tmp_path / "b")


def test_columns_that_only_some_searchers_have(tmp_path: Path) -> None:
    _search(tmp_path, "a").trial(0).write_rows([_row(1, ctl_lambda=2.0)])
    _search(tmp_path, "b").trial(0).write_rows([_row(1)])
    frame = ResultsStore(tmp_path).epochs().set_index("search_id")
    assert frame.loc["a", "ctl_lambda"] == 2.0 and np.isnan(frame.loc["b", "ctl_lambda"])


def test_a_trace_that_begins_after_the_first_epoch(tmp_path: Path) -> None:
    trial = _search(tmp_path, "a").trial(0)
    trial.write_rows([_row(1), _row(2, ctl_late=3.0)])
    frame = ResultsStore(tmp_path).epochs()
    assert np.isnan(frame["ctl_late"].iloc[0]) and frame["ctl_late"].iloc[1] == 3.0


def test_a_running_search_and_one_that_only_began(tmp_path: Path) -> None:
    _search(tmp_path, "a").trial(0).write_rows([_row(1), _row(2)])
    _search(tmp_path, "b")
    store = ResultsStore(tmp_path)
    assert store.searches()["status"].tolist() == ["running", "running"]
    assert store.trials()[["search_id", "status", "n_epochs", "images_seen"]].to_numpy().tolist() == [
        ["a", "running", 2, 128]
    ]


def test_summary_of_a_training() -> None:
    rows = [_row(epoch, wall_seconds=5.0 * epoch, train_seconds=2.0, eval_seconds=1.0) for epoch in range(3, 11)]
    got = summarise(pd.DataFrame(rows), status="done")
    assert got["n_epochs"] == 10 and got["train_seconds"] == 16.0 and got["eval_seconds"] == 8.0
    assert got["wall_seconds"] == 50.0 - (15.0 - 3.0)  # from the start of its first epoch
    assert got["images_seen"] == 640 and got["train_flops"] == 1e13
    assert all(got[metric] == pytest.approx(0.8) for metric in METRICS if metric != "active_units")


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_no_results_folder(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "results")
    with pytest.raises(InputError, match="no results at"):
        ResultsStore(tmp_path / "results")


def test_an_empty_store_has_its_columns(tmp_path: Path) -> None:
    (tmp_path / "searches").mkdir()
    store = ResultsStore(tmp_path)
    assert set(EPOCH_COLUMNS) < set(store.epochs().columns) and len(store.epochs()) == 0
    assert "status" in store.searches().columns and "trial" in store.trials().columns


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "old"


READ = """
import sys, time
from pathlib import Path
from benchmark.store import ResultsStore
start = time.perf_counter()
store = ResultsStore(sys.argv[1])
counts = len(store.epochs()), len(store.searches())
seconds = time.perf_counter() - start
# Its own peak: what getrusage says begins with the parent's.
print(*counts, seconds, Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def test_two_thousand_searches_load_in_five_seconds(tmp_path: Path) -> None:
    first = _search(tmp_path, "s0000").trial(0)
    first.write_rows([_row(epoch) for epoch in range(1, 201)])
    for number in range(1, 2000):
        trial = _search(tmp_path, f"s{number:04d}").trial(0)
        trial.path.mkdir(parents=True)
        shutil.copy(first.rows, trial.rows)
    # In a process of its own: this one's peak is that of all tests before.
    read = subprocess.run([sys.executable, "-c", READ, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    n_epochs, n_searches, seconds, kibibytes = map(float, read.stdout.split())
    assert (n_epochs, n_searches) == (400_000, 2000)
    assert seconds < 5
    assert kibibytes * 1024 < 2e9


def test_results_from_before_the_baselines_are_read(tmp_path: Path) -> None:
    _search(tmp_path, "a", latent_dim=4, test_recon_sse=2.0).update(status="done")
    row = ResultsStore(tmp_path).searches().iloc[0]
    names = ["late_gain", "late_gain_error", "pca_sse", "no_latents_nll", "still_learning", "worse_than_pca"]
    assert row[names].isna().all() and "still_learning" not in ResultsStore(tmp_path).trials()


@pytest.mark.parametrize("values", [{"settled": "no"}, {"settled": 1}, {"n_diverged": "1"}, {"diverged_sizes": 16}])
def test_an_edited_flag_is_damage(tmp_path: Path, values: dict[str, Any]) -> None:
    folder = _search(tmp_path, "a", settled=False, n_diverged=1, diverged_sizes="16")
    assert ResultsStore(tmp_path).searches().loc[0, "settled"] in (False,)
    folder.update(**values)
    with pytest.raises(Damaged):
        ResultsStore(tmp_path).searches()
