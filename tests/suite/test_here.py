"""Searches in the user's own process: the pool's results, nothing started, nothing left changed, Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from commands import ROOT, benchmark
from threadpoolctl import threadpool_info

from benchmark.config.protocol import Protocol, Training, dataset_protocol, override
from benchmark.config.tables import parse_assignment
from benchmark.processes import as_guest, how_to_leave
from benchmark.store import ResultsStore
from benchmark.suite import runner, worker
from benchmark.suite.executors import here
from benchmark.suite.executors.here import run_tasks_here
from benchmark.suite.executors.local_pool import Death, Task
from benchmark.suite.runner import Suite, run_suite
from benchmark.terminal.screen import TerminalScreen

SETS = ["training.epochs=4", "training.batch_size=128", "space.high=4", "space.sizes=[2, 4]", "backbone.hidden=[16]"]
MACHINE = ["train_seconds", "eval_seconds", "wall_seconds", "peak_memory_bytes", "attempts"]


def _protocol(*more: str) -> Protocol:
    return override(dataset_protocol("digits"), *map(parse_assignment, [*SETS, *more]))


def _run(results: Path, *more: str) -> Any:
    return run_suite(Suite(_protocol(*more), ("grid",), (1,), results, "cpu", executor="here"), TerminalScreen())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_the_results_are_the_pools(tmp_path: Path, cache: Path) -> None:
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    assert list(_run(tmp_path / "here")["status"]) == ["done"]
    assert {child.pid for child in psutil.Process().children(recursive=True)} == children
    sets = [part for text in SETS for part in ("--set", text)]
    command = ["run", "--searchers", "grid", "--seeds", 1, "--device", "cpu", "--jobs", 1, "--results", "pool", *sets]
    assert benchmark(*command, cwd=tmp_path, cache=cache).returncode == 0
    for frame in ("searches", "trials", "epochs", "latents", "curves"):
        here, pool = (
            getattr(ResultsStore(tmp_path / name), frame)().drop(columns=MACHINE, errors="ignore")
            for name in ("here", "pool")
        )
        assert here.equals(pool), frame
        assert len(here)


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    tiny = torch.tensor(torch.finfo(torch.float32).tiny)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pools, state, handler = threadpool_info(), torch.get_rng_state(), signal.getsignal(signal.SIGINT)
        assert list(_run(tmp_path, "training.deterministic=true")["status"]) == ["done"]
        assert torch.get_num_threads() == 2 and threadpool_info() == pools
        assert not torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        assert tiny / 2 > 0  # denormals are kept
        assert torch.equal(torch.get_rng_state(), state)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        torch.set_num_threads(before)


def test_no_process_is_started_on_a_machine_with_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def places(device: str, *_: object) -> list[str]:
        asked.append(device)
        return ["0", "1"]

    def start(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(runner, "gpu_places", places)
    monkeypatch.setattr(runner, "run_tasks", start)
    assert list(_run(tmp_path, "training.epochs=1")["status"]) == ["done"] and asked == []


def test_the_current_gpu_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.__setitem__(0, torch.device(device).index))
    with here._settings_restored():
        worker._set_up(SimpleNamespace(training=Training()), torch.device("cuda:0"))
        assert current == [0]
    assert current == [1]
    with here._settings_restored():
        for device in ("cuda", "cpu", "cpu:0"):  # the one that is current
            worker._set_up(SimpleNamespace(training=Training()), torch.device(device))
            assert current == [1]


class _PressesCtrlC(TerminalScreen):
    """Ctrl-C while the second epoch's message is on its way: its checkpoint is written."""

    def searches(self, *arguments: Any) -> Any:
        display = super().searches(*arguments)
        shown = display.epoch

        def epoch(index: int, trial: int, epoch: int, *rest: int) -> None:
            shown(index, trial, epoch, *rest)
            if (trial, epoch) == (0, 2):
                os.kill(os.getpid(), signal.SIGINT)

        display.epoch = epoch
        return display


def test_ctrl_c_leaves_a_checkpoint_that_the_same_call_goes_on_from(tmp_path: Path) -> None:
    suite = Suite(_protocol(), ("grid",), (1,), tmp_path / "cut", "cpu", executor="here")
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, _PressesCtrlC())
    assert ResultsStore(tmp_path / "cut").searches()["status"].tolist() == ["running"]
    assert len(list((tmp_path / "cut").rglob("checkpoint.pt"))) == 1
    assert list(run_suite(suite, TerminalScreen())["status"]) == ["done"]
    _run(tmp_path / "whole")
    for frame in ("trials", "epochs", "curves"):
        cut, whole = (
            getattr(ResultsStore(tmp_path / name), frame)().drop(columns=MACHINE, errors="ignore")
            for name in ("cut", "whole")
        )
        assert cut.equals(whole), frame


def succeeds(connection: Any) -> None:
    connection.send("one")


def fails(connection: Any) -> None:
    raise ValueError("no\nidea")


def hides_errors(connection: Any) -> None:
    """As a worker, which makes every Exception a failed search."""
    try:
        connection.send("one")
    except Exception:
        raise AssertionError from None


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.path.dirname(__file__))


@pytest.mark.usefixtures("importable")
def test_an_exception_is_a_death_and_the_next_task_runs() -> None:
    tasks = [Task("test_here:fails", ()), Task("test_here:succeeds", ())]
    messages: list[Any] = []
    deaths: list[Death | None] = []

    def on_end(_: int, death: Death | None) -> bool:
        deaths.append(death)
        return len(deaths) == 1  # the first runs again

    run_tasks_here(2, 5, lambda index: tasks[index], lambda *message: messages.append(message), on_end)
    assert messages == [(1, "one")] and deaths == [Death("ValueError: no idea"), None, Death("ValueError: no idea")]


@pytest.mark.usefixtures("importable")
def test_an_error_of_the_callback_is_not_the_tasks() -> None:
    def full(_: int, message: Any) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run_tasks_here(1, 1, lambda _: Task("test_here:hides_errors", ()), full, lambda *_: False)


def test_a_lost_claim_interrupts_the_users_process_and_ends_a_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    how_to_leave(3)()
    assert codes == [3]
    with as_guest(), pytest.raises(KeyboardInterrupt):
        how_to_leave(3)()
        for _ in range(10**7):  # the signal arrives between two steps of the interpreter
            pass
    assert codes == [3]


def test_a_script_without_a_main_guard(tmp_path: Path, cache: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from benchmark.suite.runner import Suite, run_suite\n"
        "from benchmark.config.protocol import dataset_protocol, override\n"
        "from benchmark.config.tables import parse_assignment\n"
        "from benchmark.terminal.screen import TerminalScreen\n"
        f"protocol = override(dataset_protocol('digits'), *map(parse_assignment, {[*SETS, 'training.epochs=1']!r}))\n"
        "found = run_suite(Suite(protocol, ('sparsity',), (0,), 'results', 'cpu', executor='here'), TerminalScreen())\n"
        "print(list(found['status']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1] == "['done']", done.stderr
