"""Finished searches at a start: files that have not changed since they were found whole are not read again."""

import os
import shutil
from pathlib import Path

import pytest
from report_frames import search, write_store

from benchmark.paths import cache_root
from benchmark.store import ResultsStore
from benchmark.store import atomic_files as files
from benchmark.store.checked_files import checked_files
from benchmark.store.remote import Results
from benchmark.suite.runner import _has_result


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A finished search with a training, all of whose files have a digest."""
    row = search("grid")
    write_store(tmp_path / "results", [row], [])
    folder = ResultsStore(tmp_path / "results").folder(row["search_id"])
    trial = folder.trial(0)
    for path in (folder.path / "model.pt", trial.model, trial.rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + str(path.relative_to(tmp_path)).encode())
    costs = dict.fromkeys(("n_epochs", "train_seconds", "eval_seconds", "images_seen", "train_flops"), 1)
    trial.finish({"trial": 0, "status": "done", "latent_dim": 8, **costs})
    folder.finish("done")
    return tmp_path / "results"


def _model(results: Path) -> Path:
    (path,) = results.glob("searches/*/trials/000/model.pt")
    return path


def _start(results: Path, monkeypatch: pytest.MonkeyPatch, verify: bool = False) -> tuple[bool, list[str]]:
    """Whether the search has its result, and which files were read to find out."""
    read: list[str] = []
    whole = files._digest
    (folder,) = (ResultsStore(results).folder(path.name) for path in (results / "searches").iterdir())
    with monkeypatch.context() as patch, checked_files(results, verify) as checked:
        patch.setattr(files, "_digest", lambda path: read.append(path.name) or whole(path))
        found = _has_result(folder, Results(results), checked)
    return found, sorted(read)


ALL = ["epochs.arrow", "images.npz", "model.pt", "model.pt"]


def test_files_are_read_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    assert _start(results, monkeypatch) == (True, ALL)
    assert _start(results, monkeypatch) == (True, [])
    assert _start(results, monkeypatch, verify=True) == (True, ALL)
    assert _start(results, monkeypatch) == (True, [])
    monkeypatch.chdir(results.parent)
    assert _start(Path("results"), monkeypatch) == (True, [])  # another spelling of its path
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_a_copy_is_read_once(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    shutil.copytree(results, tmp_path / "copy")
    assert _start(tmp_path / "copy", monkeypatch) == (True, ALL)
    assert _start(tmp_path / "copy", monkeypatch) == (True, [])
    os.utime(_model(results), ns=(1, 1))  # as a copy that keeps no times
    assert _start(results, monkeypatch) == (True, ["model.pt"])
    assert _start(results, monkeypatch) == (True, [])


def test_damage_that_changes_time_or_size_is_found(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    path = _model(results)
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _start(results, monkeypatch)[0] is False
    assert ResultsStore(results).searches()["status"].tolist() == ["running"]


@pytest.mark.parametrize("name", ["model.pt", "images.npz", "epochs.arrow"])
def test_a_missing_file_is_found(name: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    next(results.rglob(name)).unlink()
    assert _start(results, monkeypatch)[0] is False


def test_a_flipped_bit_that_keeps_both_is_found_by_verify(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    path = _model(results)
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _start(results, monkeypatch) == (True, [])
    assert _start(results, monkeypatch, verify=True)[0] is False


def test_a_record_with_another_digest_is_not_trusted(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    trial = next(iter(ResultsStore(results).folder(_model(results).parents[2].name).trials()))
    record = files.read_json(trial.path / "trial.json")
    files.write_json(trial.path / "trial.json", {**record, "files": {**record["files"], "model.pt": "0" * 64}})
    assert _start(results, monkeypatch)[0] is False


@pytest.mark.parametrize("content", ["", "{torn", '{"a": [1]}'])
def test_a_damaged_list_is_no_list(content: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _start(results, monkeypatch) == (True, ALL)
    (path,) = (cache_root() / "checked").iterdir()
    path.write_text(content)
    assert _start(results, monkeypatch) == (True, ALL)


def test_a_cache_that_takes_no_files_is_no_failure(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_root().mkdir(parents=True)
    (cache_root() / "checked").write_text("a file where the folder should be")
    for _ in range(2):
        assert _start(results, monkeypatch) == (True, ALL)
