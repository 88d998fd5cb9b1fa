"""The live view: what it reads from a store, and the command as a user meets it."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import TINY, benchmark, environment
from report_frames import Row, epochs, search, write_store
from rich.console import Console

from benchmark.store import ResultsStore
from benchmark.store.atomic_files import write_json
from benchmark.store.folders import SearchFolder
from benchmark.terminal.panels import view
from benchmark.terminal.snapshot import FileCache, Name, Snapshot, snapshot
from benchmark.terminal.watch import watch

NOW = 1_800_000_000.0

# ---- snapshots


def _rows(of: Row, sizes: list[int], trial: int = 0, **columns: list[float]) -> list[Row]:
    """Epochs of 2 s with 0.5 s between two of them."""
    rows = epochs(of, sizes, trial, train_seconds=1.5, eval_seconds=0.5, active_units=1)
    values = {"wall_seconds": [2.5 * n for n in range(len(rows))], **columns}
    return [{**row, **{name: column[n] for name, column in values.items()}} for n, row in enumerate(rows)]


def _touch(folder: Path, at: float) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (at, at))


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    """A search at its second training, two finished ones, a failed one, and one that is about to begin."""
    grid = search("grid", status="running")
    done = [search("ald", seed, latent_dim=seed + 9, wall_seconds=100.0 * (seed + 1)) for seed in (0, 1)]
    failed = search("tpe", status="failed", error="ValueError: no\x1b[2J [bold]way[/bold]")
    logged = _rows(grid, [4] * 6) + _rows(grid, [8, 8, 7], trial=1, recon_nll=[9, 5, 6])
    write_store(tmp_path / "results", [grid, *done, failed], logged)
    store = ResultsStore(tmp_path / "results")
    for trial in (0, 1):
        store.folder(grid["search_id"]).trial(trial).begin({"latent_dim": 4, "epochs": 6, "controller": "FixedSize"})
    store.folder("about-to-begin").path.mkdir()
    for seconds_ago, row in zip((1, 300, 120, 60), (grid, *done, failed), strict=True):
        _touch(store.folder(row["search_id"]).path, NOW - seconds_ago)
    return store


def _grid(store: ResultsStore) -> SearchFolder:
    return next(store.folder(path.name) for path in (store.path / "searches").iterdir() if "grid" in path.name)


def test_snapshot_known_answers(store: ResultsStore) -> None:
    now = snapshot(store, FileCache(), NOW)
    (running,) = now.running
    assert running.name == Name("digits", "mlp", "grid", "0")
    assert (running.training, running.n_trainings, running.epoch, running.epochs) == (2, None, 3, 6)
    assert running.curves["recon_nll"] == [9, 5, 6]
    assert running.curves["latent_dim"] == [8, 8, 7]
    assert running.fid_features == "classifier"
    # Three epochs of (2 + 2.5 + 2.5) / 3 s are left, of which 1 s has passed.
    assert running.seconds_left == pytest.approx(6.0)
    assert (running.silent_seconds, running.longest_epoch) == (1.0, 2.0)
    # The latest comes first.
    assert [(one.name.seed, one.latent_dim, one.wall_seconds) for one in now.done] == [("1", 10, 200), ("0", 9, 100)]
    assert [one.seconds_ago for one in now.done] == [120, 300]
    # Without its control characters, an error is text.
    assert [(one.name.searcher, one.error) for one in now.failed] == [("tpe", "ValueError: no [2J [bold]way[/bold]")]
    assert now.n_unreadable == 0


def test_the_time_left_counts_the_trainings_that_the_search_has_noted(store: ResultsStore) -> None:
    folder = _grid(store)
    folder.update(n_trainings=4)
    _touch(folder.path, NOW)
    (running,) = snapshot(store, FileCache(), NOW).running
    assert running.n_trainings == 4
    assert running.seconds_left == pytest.approx((3 + 2 * 6) * 7 / 3)
    folder.trial(1).path.joinpath("trial.json").write_text("{}")
    (running,) = snapshot(store, FileCache(), NOW).running
    assert running.training_ended
    assert running.seconds_left == pytest.approx(2 * 6 * 7 / 3, rel=1e-3)


def test_more_trainings_than_the_search_has_noted(store: ResultsStore) -> None:
    """A user's searcher that does not say how many it takes says 1."""
    folder = _grid(store)
    folder.update(n_trainings=1)
    _touch(folder.path, NOW)
    (running,) = snapshot(store, FileCache(), NOW).running
    assert (running.training, running.n_trainings) == (2, None)
    shown = view(snapshot(store, FileCache(), NOW), 100, None).plain
    assert "training 2, epoch 3/6 (7 s left), 7 latents" in shown and " of 1" not in shown and "ETA" not in shown


def test_the_newest_of_a_thousand_trainings_is_shown(store: ResultsStore) -> None:
    folder = _grid(store)
    for number in (1000, 999):
        folder.trial(number).begin({"latent_dim": 4, "epochs": 6, "controller": "FixedSize"})
    (folder.path / "trials" / ".ipynb_checkpoints").mkdir()
    (running,) = snapshot(store, FileCache(), NOW).running
    assert running.training == 1001


def test_a_silent_search_is_without_news_and_later_given_up(store: ResultsStore) -> None:
    files = FileCache()
    fresh, silent, gone = (snapshot(store, files, NOW + wait).running[0] for wait in (50, 70, 3600))
    assert [fresh.without_news, silent.without_news, gone.without_news] == [False, True, True]
    assert [fresh.gone, silent.gone, gone.gone] == [False, False, True]
    # With epochs of half an hour a silence of an hour means nothing; a clock that is behind neither.
    assert not replace(gone, longest_epoch=1800.0).without_news
    assert snapshot(store, files, NOW - 500).running[0].silent_seconds == 0.0


def test_any_file_of_the_search_is_news(store: ResultsStore) -> None:
    for name in ("claim-000001", "trials/001/checkpoint.pt"):
        path = _grid(store).path / name
        path.write_text("")
        os.utime(path, (NOW + 100, NOW + 100))
        assert snapshot(store, FileCache(), NOW + 102).running[0].silent_seconds == 2.0
        path.unlink()


def test_before_the_first_epoch(store: ResultsStore) -> None:
    folder = store.folder("about-to-begin")
    folder.update(**{**search("sparsity", status="running"), "search_id": "about-to-begin"})
    assert [one.training for one in snapshot(store, FileCache(), NOW).running] == [0, 2]
    folder.trial(0).begin({"latent_dim": 32, "epochs": 7, "controller": "x"})
    begun = snapshot(store, FileCache(), NOW).running[0]
    assert (begun.training, begun.epoch, begun.epochs, begun.seconds_left) == (1, 0, 7, None)
    _touch(folder.path, NOW)
    assert view(snapshot(store, FileCache(), NOW), 100, None).plain.splitlines()[2:5] == [
        "digits mlp sparsity seed 0  training 1, epoch 0/7",
        "",
        "digits mlp grid seed 0  training 2, epoch 3/6 (6 s left), 7 latents (1 in use)",
    ]


def test_what_changes_while_it_is_read_does_no_harm(store: ResultsStore) -> None:
    files, folder = FileCache(), _grid(store)
    assert snapshot(store, files, NOW).running[0].epoch == 3
    rows = _rows(search("grid"), [8, 8, 7, 6], trial=1)
    folder.trial(1).write_rows([{key: value for key, value in row.items() if key != "search_id"} for row in rows])
    assert snapshot(store, files, NOW).running[0].curves["latent_dim"] == [8, 8, 7, 6]
    folder.trial(1).rows.write_bytes(b"torn")
    assert snapshot(store, files, NOW).running[0].epoch == 0
    folder.trial(1).rows.unlink()
    (folder.trial(1).path / "request.json").unlink()
    assert snapshot(store, files, NOW).running[0].epochs is None
    (folder.path / "search.json").write_text("{torn")
    assert (snapshot(store, files, NOW).n_unreadable, snapshot(store, files, NOW).running) == (1, ())
    (store.path / "searches").rename(store.path / "elsewhere")
    assert snapshot(store, files, NOW) == Snapshot((), (), (), 0)


def test_only_changed_files_are_read_again(store: ResultsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    searches = store.path / "searches"
    for n in range(500):
        row = {**search("ald", n), "search_id": f"many-{n}"}
        (searches / f"many-{n}").mkdir()
        write_json(searches / f"many-{n}" / "search.json", row)
    files, reads = FileCache(), []
    read = SearchFolder.read
    monkeypatch.setattr(SearchFolder, "read", lambda folder: reads.append(folder.path.name) or read(folder))
    assert len(snapshot(store, files, NOW).done) == 502
    assert len(reads) == 504  # the one that is about to begin has nothing to read
    reads.clear()
    _grid(store).update(status="failed", error="x")
    reads.clear()  # of the update's own
    begin = time.process_time()
    now = snapshot(store, files, NOW)
    assert time.process_time() - begin < 0.3
    assert reads == [_grid(store).path.name]
    assert (len(now.done), len(now.failed)) == (502, 2)


# ---- the command


def test_once_prints_one_snapshot(store: ResultsStore, tmp_path: Path) -> None:
    for arguments in (["--once"], []):  # a pipe ends it too
        done = benchmark("watch", store.path, *arguments, cwd=tmp_path, cache=tmp_path / "cache")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("1 running, 2 done, 1 failed\n\ndigits mlp grid seed 0  training 2, epoch 3/6 ")
        assert "\x1b" not in done.stdout
        assert "tpe seed 0  failed" in done.stdout and "ValueError: no [2J [bold]way[/bold]" in done.stdout


def test_an_encoding_without_braille_is_no_failure(store: ResultsStore, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark", "watch", str(store.path)]
    variables = {**environment(tmp_path / "cache"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=variables, capture_output=True, timeout=60)
    assert done.returncode == 0 and b"epoch 3/6" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing"], "no results at missing"),
        (["missing", "--every", "0"], "every is 0 seconds; expected a number above 0"),
        (["missing", "--every", "nan"], "every is nan seconds"),
        ([], "the following arguments are required: results"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = benchmark("watch", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and said in done.stderr


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    buffer = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(
        "benchmark.terminal.watch.Console", lambda: Console(file=buffer, force_terminal=True, width=100, height=30)
    )
    return buffer


def test_it_ends_when_nothing_runs_any_more(store: ResultsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, slept = _terminal(monkeypatch), []
    _touch(_grid(store).path, time.time())
    monkeypatch.setattr("benchmark.terminal.watch._IDLE_SECONDS", 0.0)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert "grid seed 0" in buffer.getvalue()
        if len(slept) == 2:
            _grid(store).update(status="done", latent_dim=8, wall_seconds=5.0)

    monkeypatch.setattr("benchmark.terminal.watch.time.sleep", sleep)
    assert watch(store, every=3.0, once=False) == 0
    assert slept == [3.0, 3.0]
    screen, after = buffer.getvalue().split("\x1b[?1049l")  # the terminal's own screen is back
    assert "\x1b[?1049h" in screen
    assert "0 running, 3 done, 1 failed" in after and "nothing is running any more" in after


def test_a_search_that_was_killed_is_not_waited_for(store: ResultsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = _terminal(monkeypatch)
    _touch(_grid(store).path, time.time() - 7200)
    monkeypatch.setattr("benchmark.terminal.watch._IDLE_SECONDS", 0.0)
    assert watch(store, every=3.0, once=False) == 0
    assert "no news for 2 h" in buffer.getvalue()
    assert "run their command again to continue them" in buffer.getvalue()


def test_ctrl_c_gives_the_terminal_back(store: ResultsStore, tmp_path: Path) -> None:
    _touch(_grid(store).path, time.time())
    ours, theirs = pty.openpty()
    variables = {**environment(tmp_path / "cache"), "TERM": "xterm"}
    command = [sys.executable, "-m", "benchmark", "watch", str(store.path), "--every", "30"]
    process = subprocess.Popen(command, env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        shown = _read_until(ours, b"grid seed 0")
        process.send_signal(signal.SIGINT)
        shown += _read_until(ours, b"interrupted")
        assert process.wait(timeout=60) == 130
        assert shown.index(b"\x1b[?1049h") < shown.index(b"\x1b[?1049l") < shown.index(b"interrupted")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    content = b""
    while wanted not in content:
        content += os.read(terminal, 65536)
    return content


def test_a_real_search_is_seen_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=2000))
    command = "run --protocol tiny.toml --searchers ald --seeds 3 --jobs 1 --results results".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *command],
        cwd=tmp_path,
        env=environment(tmp_path / "cache"),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline, shown = time.monotonic() + 120, ""
        while ", ETA " not in shown:
            assert process.poll() is None and time.monotonic() < deadline, shown
            shown = benchmark("watch", "results", "--once", cwd=tmp_path, cache=tmp_path / "cache").stdout
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines = shown.splitlines()
    assert lines[0] == "1 running, 0 done, 0 failed"
    assert re.fullmatch(
        r"digits mlp ald seed 3  training 1 of 1, epoch \d+/2000, \d+ latents \(\d+ in use\), ETA .+", lines[2].strip()
    )
    assert lines[9].endswith("FID: classifier features")
