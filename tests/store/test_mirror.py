"""Results at a URL: what is mirrored, in which order, and what a kill between two files leaves."""

import os
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from benchmark.errors import InputError
from benchmark.paths import results_argument
from benchmark.store.kept import KEPT
from benchmark.store.remote import Mirror, Results, local_results, pull


def _write(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_json", ".json").replace("_pt", ".pt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _read(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_folder_is_mirrored(tmp_path: Path, store: Path) -> None:
    here, url = tmp_path / "here", f"file://{store}"
    mirror = Mirror(url, here)
    mirror.pull()  # there is nothing yet
    _write(here, search_json="running", trials__000__checkpoint_pt="1")
    mirror.push()
    assert _read(store) == _read(here) == {"search.json": "running", "trials/000/checkpoint.pt": "1"}

    (here / "trials" / "000" / "checkpoint.pt").unlink()
    _write(here, search_json="done")
    (here / "claim-000001").write_text("{}")
    (here / ".half.model.pt").write_text("half")
    mirror.push()
    assert _read(store) == {"search.json": "done"}  # neither claims nor half-written files


def test_what_other_programs_hide_is_not_mirrored(tmp_path: Path, store: Path) -> None:
    here = tmp_path / "here"
    _write(here, search_json="done")
    hidden = [
        here / ".ipynb_checkpoints" / "search.json",
        here / "trials" / ".cache" / "deep" / "x",
        here / ".DS_Store",
    ]
    for path in hidden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    Mirror(f"file://{store}", here).push()
    assert _read(store) == {"search.json": "done"}
    (store / ".Trash").mkdir()
    (store / ".Trash" / "search.json").write_text("old")
    pull(f"file://{store}", here)
    assert all(path.exists() for path in hidden) and not (here / ".Trash").exists()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are uploaded from now on."""
    names, put = [], LocalFileSystem.put_file

    def upload(self: LocalFileSystem, source: str, target: str, **options: object) -> None:
        names.append(Path(source).name)
        put(self, source, target)

    monkeypatch.setattr(LocalFileSystem, "put_file", upload)
    return names


def test_only_what_has_changed_is_transferred(tmp_path: Path, store: Path, sent: list[str]) -> None:
    here = tmp_path / "here"
    _write(here, search_json="1", model_pt="2")
    mirror = Mirror(f"file://{store}", here)
    mirror.push()
    mirror.push()
    assert sent == ["model.pt", "search.json"]
    _write(here, model_pt="3!")
    mirror.push()
    assert sent == ["model.pt", "search.json", "model.pt"]
    other = Mirror(f"file://{store}", tmp_path / "there")
    other.pull()
    other.push()
    assert len(sent) == 3 and _read(tmp_path / "there") == _read(here)


def test_files_that_others_refer_to_come_first_and_the_last_word_last(
    tmp_path: Path, store: Path, sent: list[str]
) -> None:
    here = tmp_path / "here"
    _write(here, search_json="", trials__000__trial_json="", trials__000__model_pt="", trials__000__request_json="")
    Mirror(f"file://{store}", here).push()
    assert sent == ["request.json", "model.pt", "trial.json", "search.json"]


def test_parts_leave_the_rest_alone(tmp_path: Path, store: Path) -> None:
    _write(store, search_json="s", trials__000__model_pt="0", trials__001__model_pt="1")
    here = tmp_path / "here"
    mirror = Mirror(f"file://{store}", here, ("search.json", "trials/001/"))
    mirror.pull()
    assert _read(here) == {"search.json": "s", "trials/001/model.pt": "1"}
    (here / "trials" / "001" / "model.pt").unlink()
    mirror.push()
    assert _read(store) == {"search.json": "s", "trials/000/model.pt": "0"}


def test_a_pull_removes_what_is_gone_there(tmp_path: Path, store: Path) -> None:
    here = tmp_path / "here"
    _write(store, search_json="s")
    _write(here, search_json="old", trials__000__model_pt="gone")
    pull(f"file://{store}", here)
    assert _read(here) == {"search.json": "s"} and not (here / "trials").exists()


def test_a_transfer_is_tried_again(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, failures = LocalFileSystem.put_file, [OSError("reset"), OSError("reset")]
    monkeypatch.setattr("benchmark.store.remote.PAUSE_SECONDS", 0.0)

    def flaky(self: LocalFileSystem, source: str, target: str, **options: object) -> None:
        if failures:
            raise failures.pop()
        put(self, source, target)

    monkeypatch.setattr(LocalFileSystem, "put_file", flaky)
    _write(tmp_path / "here", search_json="s")
    Mirror(f"file://{store}", tmp_path / "here").push()
    assert _read(store) == {"search.json": "s"} and not failures
    failures += [OSError("reset")] * 4
    with pytest.raises(OSError, match="reset"):
        Mirror(f"file://{store}", tmp_path / "here").push()


def test_a_torn_upload_is_not_there(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of an upload leaves what was there before."""
    here = tmp_path / "here"
    _write(here, search_json="one")
    mirror = Mirror(f"file://{store}", here)
    mirror.push()

    def killed(self: LocalFileSystem, source: str, target: str, **options: object) -> None:
        Path(target).write_text("tw")
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFileSystem, "put_file", killed)
    _write(here, search_json="two")
    with pytest.raises(KeyboardInterrupt):
        mirror.push()
    pull(f"file://{store}", tmp_path / "there")
    assert _read(tmp_path / "there") == {"search.json": "one"}


def test_the_copy_of_a_url_follows_it(store: Path) -> None:
    _write(store, searches__a__search_json="1")
    url = f"file://{store}/"
    copy = local_results(url)
    assert _read(copy) == {"searches/a/search.json": "1"}
    before = (copy / "searches" / "a" / "search.json").stat().st_ino
    _write(store, searches__b__search_json="2")
    results = Results(url)
    assert results.path == copy and set(_read(copy)) == {"searches/a/search.json", "searches/b/search.json"}
    assert (copy / "searches" / "a" / "search.json").stat().st_ino == before  # not copied again
    _write(store, searches__b__search_json="3")
    os.utime(store / "searches" / "b" / "search.json", (1, 1))
    results.refresh("b")
    (copy / "searches" / "a" / "search.json").write_text("failed")
    results.publish("a")
    assert _read(store) == _read(copy) == {"searches/a/search.json": "failed", "searches/b/search.json": "3"}


def test_what_lies_beside_the_searches_is_published(store: Path) -> None:
    results = Results(f"file://{store}")
    _write(results.path, protocols__a="1", searches__x__search_json="{}")
    (results.path / "packages.txt").write_text("p")
    results.publish_beside(KEPT)
    assert _read(store) == {"protocols/a": "1", "packages.txt": "p"}


def test_a_folder_is_its_own_copy(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.refresh("a")
    results.publish("a")
    assert results.path == local_results(tmp_path) == tmp_path and results.url is None


def test_a_deletion_that_has_happened_is_none(tmp_path: Path, store: Path) -> None:
    here = tmp_path / "here"
    _write(here, search_json="s", checkpoint_pt="c")
    mirror = Mirror(f"file://{store}", here)
    mirror.push()
    (here / "checkpoint.pt").unlink()
    (store / "checkpoint.pt").unlink()  # by another worker of the same search
    mirror.push()
    assert _read(store) == {"search.json": "s"}


def test_checkpoints_are_not_copied_for_readers(store: Path) -> None:
    _write(store, searches__a__search_json="s", searches__a__trials__000__checkpoint_pt="c", other__model_pt="m")
    assert _read(local_results(f"file://{store}")) == {"searches/a/search.json": "s"}


def test_arguments() -> None:
    assert results_argument("s3://bucket/results") == "s3://bucket/results"
    assert results_argument("a//b") == Path("a/b")


def test_an_unknown_kind_of_url_is_bad_input() -> None:
    with pytest.raises(InputError, match="cannot use nowhere://x.*Protocol not known: nowhere"):
        local_results("nowhere://x")
