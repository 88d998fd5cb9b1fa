"""Claims: a search has one owner at a time, and a dead owner's search is free again."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmark import processes
from benchmark.store import claims
from benchmark.store.claims import Watch, claim, newest_claim


def _never() -> None:
    raise AssertionError("the claim was lost")


def _foreign(folder: Path, number: int, **values: Any) -> Path:
    path = folder / f"claim-{number:06d}"
    path.write_text(json.dumps({"machine": ["elsewhere", "", ""], "pid": 1, "started": "1", **values}))
    return path


def test_a_held_search_is_not_free_and_a_released_one_is(tmp_path: Path) -> None:
    watch = Watch()
    assert watch.next_number(tmp_path) == 1
    own = claim(tmp_path, 1, _never)
    assert own is not None
    assert watch.next_number(tmp_path) is None and Watch().next_number(tmp_path) is None
    assert claim(tmp_path, 1, _never) is None  # somebody who had looked before
    own.release(finished=False)
    assert watch.next_number(tmp_path) == 2  # a number is never used twice
    assert [path.name for path in tmp_path.iterdir()] == ["claim-000001"]


def test_a_finished_search_keeps_no_claims(tmp_path: Path) -> None:
    for number in (1, 2):
        own = claim(tmp_path, number, _never)
        assert own is not None
        own.release(finished=number == 2)
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from benchmark.store.claims import claim;"
        "assert claim(Path(sys.argv[1]), 1, print); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=True)
    assert newest_claim(tmp_path) == 1
    assert Watch().next_number(tmp_path) == 2


def test_a_reused_process_number_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "claim-000001"
    path.write_text(json.dumps({"machine": processes.machine(), "pid": os.getpid(), "started": "12"}))
    assert Watch().next_number(tmp_path) == 2


@pytest.fixture
def not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system without /proc: process starts are times of day that psutil tells."""
    monkeypatch.setattr(processes, "STARTS_ARE_EXACT", False)
    monkeypatch.setattr(claims, "STARTS_ARE_EXACT", False)


@pytest.mark.usefixtures("not_linux")
def test_without_proc_the_living_hold_and_the_dead_do_not(tmp_path: Path) -> None:
    own = claim(tmp_path, 1, _never)
    assert own is not None and Watch().next_number(tmp_path) is None
    own.release(finished=True)
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert processes.started(dead.pid) is None  # a zombie
    dead.wait()
    assert processes.started(dead.pid) is None
    path = tmp_path / "claim-000001"
    path.write_text(json.dumps({"machine": processes.machine(), "pid": dead.pid, "started": "1.0"}))
    assert Watch().next_number(tmp_path) == 2


@pytest.mark.usefixtures("not_linux")
def test_without_proc_a_clock_that_jumps_frees_no_living_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = claim(tmp_path, 1, _never)
    assert own is not None
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3600)
    now, watch = 0.0, Watch()
    monkeypatch.setattr(claims.time, "monotonic", lambda: now)
    assert watch.next_number(tmp_path) is None
    own.release(finished=False)
    assert watch.next_number(tmp_path) == 2
    # Another process has the dead one's number.
    holder = {"machine": processes.machine(), "pid": os.getpid(), "started": "1.0"}
    (tmp_path / "claim-000002").write_text(json.dumps(holder))
    assert watch.next_number(tmp_path) is None
    now += claims.STALE_SECONDS
    assert watch.next_number(tmp_path) == 3


def test_on_linux_starts_are_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil makes times of day of them, which differ once the clock has jumped."""
    if processes.STARTS_ARE_EXACT:
        monkeypatch.setattr(psutil, "Process", None)
        stat = Path(f"/proc/{os.getpid()}/stat").read_text()
        assert processes.started(os.getpid()) == stat.rpartition(")")[2].split()[19]


def test_another_machines_claim_is_stale_when_nothing_touches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(claims.time, "monotonic", lambda: now)
    path, watch = _foreign(tmp_path, 1), Watch()
    assert watch.next_number(tmp_path) is None
    now += claims.STALE_SECONDS - 1
    assert watch.next_number(tmp_path) is None
    os.utime(path, ns=(0, 5))  # its clock has jumped back to 1970: touched all the same
    now += 2
    assert watch.next_number(tmp_path) is None
    now += claims.STALE_SECONDS
    assert watch.next_number(tmp_path) == 2


def test_a_torn_claim_holds_until_it_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(claims.time, "monotonic", lambda: now)
    (tmp_path / "claim-000001").write_text('{"mach')
    watch = Watch()
    assert watch.next_number(tmp_path) is None
    now += claims.STALE_SECONDS
    assert watch.next_number(tmp_path) == 2


def test_who_was_taken_for_dead_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    lost = multiprocessing.Event()
    own = claim(tmp_path, 1, lost.set)
    assert own is not None
    before = own.path.stat().st_mtime_ns
    assert not lost.wait(0.1)
    assert own.path.stat().st_mtime_ns > before  # it is touched
    _foreign(tmp_path, 2)
    assert lost.wait(10)
    own.release(finished=False)


def _race(folder: str, start: Any, wins: Any) -> None:
    start.wait()
    if claim(Path(folder), 1, _never) is not None:
        wins.put(os.getpid())
        start.wait()  # dies with its claim when all have tried


@pytest.mark.parametrize("links", [True, False])
def test_of_many_one_wins(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(claims.os, "link", _no_links)
    context = multiprocessing.get_context("fork")
    for round_number in range(5):
        folder = tmp_path / str(round_number)
        start, wins = context.Event(), context.SimpleQueue()
        racers = [context.Process(target=_race, args=(str(folder), start, wins)) for _ in range(6)]
        for racer in racers:
            racer.start()
        start.set()
        for racer in racers:
            racer.join()
        assert not wins.empty()
        wins.get()
        assert wins.empty()


def _no_links(source: object, target: object) -> None:
    raise OSError(1, "no hard links here")


def test_two_that_see_a_stale_claim_do_not_both_take_it(tmp_path: Path) -> None:
    (tmp_path / "claim-000001").write_text("{}")
    numbers = [Watch().next_number(tmp_path) for _ in range(2)]
    taken: list[Callable[..., Any] | Any] = [claim(tmp_path, number, _never) for number in numbers if number]
    assert [own is not None for own in taken] == [True, False]
