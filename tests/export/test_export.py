"""`latentbench export`: each format is read back by its own library and holds what the store's frames say."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from report_frames import Row, epochs, search, write_store
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmark.cli import main
from benchmark.store import ResultsStore
from benchmark.store.columns import CURVE_COLUMNS
from benchmark.store.folders import write_rows
from benchmark.store.rows import ARRAYS

FRAMES = ("searches", "trials", "epochs", "curves", "latents", "probes")
FOUR = ["fid_recon", "fid_gen", "recon_nll", "silhouette"]
NAN = math.nan


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    """A search of two trainings, the second of which diverged; one with probes and no silhouettes; a failed one."""
    generator = np.random.default_rng(0)
    grid, ald = search("grid", chosen_trial=0, pareto=[0]), search("ald", 1, n_trials=1, latent_dim=3)
    failed = search("tpe", 0, "failed", error="ValueError: it says\n'no', and \"why\"")
    logged = [
        *with_arrays(epochs(grid, [4] * 7), generator),
        *with_arrays(epochs(grid, [8] * 2, trial=1, recon_nll=NAN), generator),
        *with_arrays(epochs(ald, [6, 4, 3], silhouette=NAN, ctl_stopped=1.0), generator, probes=2),
    ]
    for row in logged:
        row |= {"fid_gen": float(generator.uniform(1, 9)), "wall_seconds": float(row["epoch"])}
    write_store(tmp_path / "results", [grid, ald, failed], logged)
    store = ResultsStore(tmp_path / "results")
    for row, trial, status in ((grid, 0, "done"), (grid, 1, "failed"), (ald, 0, "done")):
        folder = store.folder(row["search_id"]).trial(trial)
        folder.finish({**folder.summary(), "status": status})
    curve = [{**dict.fromkeys(CURVE_COLUMNS, 1.0), "trial": 0, "epoch": 7, "size": size} for size in (2, 4)]
    write_rows(store.folder(grid["search_id"]).curves, curve)
    return store


def with_arrays(rows: list[Row], generator: np.random.Generator, probes: int = 0) -> list[Row]:
    for row in rows:
        n = row["latent_dim"]
        row |= {name: generator.random(n) for name in ARRAYS[1:4]} | {"latent_id": np.arange(n)}
        if probes:
            row["probe_label"] = np.arange(probes)
            row |= {name: generator.random((probes, n)) for name in ("probe_mean", "probe_variance")}
    return rows


def export(store: ResultsStore, to: str, *more: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["export", str(store.path), "--to", to, *more])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_parquet_holds_the_frames(store: ResultsStore) -> None:
    assert export(store, "parquet") == 0
    out = store.path / "export"
    assert {path.name for path in out.iterdir()} == {f"{name}.parquet" for name in FRAMES}
    for name in FRAMES:
        frame = getattr(store, name)()
        assert len(frame)
        pd.testing.assert_frame_equal(pd.read_parquet(out / f"{name}.parquet"), frame, check_dtype=False)


def test_csv_holds_the_frames_with_arrays_as_json(store: ResultsStore, tmp_path: Path) -> None:
    assert export(store, "csv", "--out", str(tmp_path / "tables")) == 0
    for name in FRAMES:
        read, frame = pd.read_csv(tmp_path / "tables" / f"{name}.csv"), getattr(store, name)()
        for column in ("pareto", "probe_mean", "probe_variance"):
            if column in frame:
                texts, arrays = read.pop(column), frame.pop(column)
                present = arrays.notna()
                assert present.any() and texts.notna().equals(present)
                assert all(json.loads(text) == list(a) for text, a in zip(texts[present], arrays[present], strict=True))
        assert list(read) == list(frame)
        for column in frame:
            for got, expected in zip(read[column], frame[column], strict=True):
                assert got == expected or (pd.isna(got) and (pd.isna(expected) or expected == "")), column


def test_a_training_that_a_pruner_ended_is_a_pruned_trial(tmp_path: Path) -> None:
    tpe = search("tpe", chosen_trial=0)
    logged = [*epochs(tpe, [4] * 7, ctl_pruned=0.0), *epochs(tpe, [8] * 2, trial=1, ctl_pruned=0.0)]
    logged[-1]["ctl_pruned"] = 1.0
    write_store(tmp_path / "results", [tpe], logged)
    store = ResultsStore(tmp_path / "results")
    for trial in (0, 1):
        folder = store.folder(tpe["search_id"]).trial(trial)
        folder.finish({**folder.summary(), "status": "done"})
    assert export(store, "optuna") == 0
    study = optuna.load_study(study_name=tpe["search_id"], storage=f"sqlite:///{store.path}/export/optuna.db")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert study.trials[1].values is None and len(study.trials[1].user_attrs["epochs_recon_nll"]) == 2


def test_an_optuna_study_is_a_search(store: ResultsStore) -> None:
    assert export(store, "optuna") == 0
    storage = f"sqlite:///{store.path}/export/optuna.db"
    searches, trials = store.searches().set_index("search_id"), store.trials()
    assert sorted(optuna.get_all_study_names(storage)) == sorted(searches.index)
    for search_id, found in searches.iterrows():
        study = optuna.load_study(study_name=str(search_id), storage=storage)
        assert study.user_attrs["searcher"] == found["searcher"] and study.user_attrs["seed"] == found["seed"]
        assert study.user_attrs["dataset"] == "digits" and study.user_attrs["status"] == found["status"]
        chosen = found["chosen_trial"]
        assert study.user_attrs["chosen_trial"] == (None if pd.isna(chosen) else chosen)
        rows = trials[trials["search_id"] == search_id]
        names = FOUR[:3] if found["searcher"] == "ald" else FOUR
        assert study.metric_names == names
        assert study.directions == [
            StudyDirection.MAXIMIZE if name == "silhouette" else StudyDirection.MINIMIZE for name in names
        ]
        for trial, (_, row) in zip(study.trials, rows.iterrows(), strict=True):
            assert trial.params == {"latent_dim": row["latent_dim"]} and trial.user_attrs["trial"] == row["trial"]
            assert trial.user_attrs["is_chosen"] == (row["trial"] == chosen)
            logged = store.epochs().query("search_id == @search_id and trial == @row.trial")
            assert trial.user_attrs["epochs_fid_gen"] == logged["fid_gen"].tolist()
            if row["status"] == "done":
                assert trial.state == TrialState.COMPLETE and trial.values == row[names].tolist()
                assert trial.values[1] == pytest.approx(logged["fid_gen"].tail(5).mean())
            else:
                assert trial.state == TrialState.FAIL and trial.user_attrs["epochs_recon_nll"] == [None, None]


def test_tensorboard_reads_the_curves(store: ResultsStore) -> None:
    assert export(store, "tensorboard") == 0
    logged = store.epochs()
    runs = list(logged.groupby(["search_id", "trial"]))
    assert len(runs) == 3
    for (search_id, trial), rows in runs:
        events = EventAccumulator(str(store.path / "export" / "tensorboard" / search_id / f"{trial:03d}")).Reload()
        tags = set(events.Tags()["scalars"])
        assert {"fid_gen", "latent_dim", "train_loss"} <= tags and "trial" not in tags
        assert ("ctl_stopped" in tags) == rows["ctl_stopped"].notna().any()
        for tag in tags:
            scalars = events.Scalars(tag)
            assert [scalar.step for scalar in scalars] == rows["epoch"].tolist()
            assert [scalar.wall_time for scalar in scalars] == rows["wall_seconds"].tolist()
            assert [scalar.value for scalar in scalars] == pytest.approx(rows[tag].tolist(), rel=1e-6)


@pytest.mark.parametrize("to", ["parquet", "csv", "optuna", "tensorboard"])
def test_a_second_export_replaces_its_own_files_alone(store: ResultsStore, to: str) -> None:
    assert export(store, to) == 0
    out = store.path / "export"
    files = sorted(path for path in out.rglob("*") if path.is_file())
    first = [path.stat().st_ino for path in files]
    (out / "mine.txt").write_text("kept")
    assert export(store, to) == 0
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted([*files, out / "mine.txt"])
    assert (out / "mine.txt").read_text() == "kept"
    assert all(path.stat().st_ino != before for path, before in zip(files, first, strict=True))


def test_a_table_that_has_gone_takes_its_file_with_it(store: ResultsStore, tmp_path: Path) -> None:
    assert export(store, "csv", "--out", str(tmp_path)) == 0 and (tmp_path / "probes.csv").exists()
    write_store(tmp_path / "other", [search("grid")], [])
    assert export(ResultsStore(tmp_path / "other"), "csv", "--out", str(tmp_path)) == 0
    assert not (tmp_path / "probes.csv").exists() and len(pd.read_csv(tmp_path / "searches.csv")) == 1


def test_without_tensorboard_one_line_says_what_to_install(
    store: ResultsStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert export(store, "tensorboard") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'latentbench[tensorboard]'" in line


@pytest.mark.parametrize("to", ["parquet", "csv", "optuna", "tensorboard"])
def test_results_without_searches(tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "searches").mkdir()
    assert export(ResultsStore(tmp_path), to) == 2
    assert "no searches at" in capsys.readouterr().err and not (tmp_path / "export").exists()
