"""What a worker does on a machine that is not the command's."""

import errno
import multiprocessing
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from benchmark import processes
from benchmark.config.protocol import parse_protocol
from benchmark.datasets import load_dataset
from benchmark.errors import InputError
from benchmark.paths import cache_root
from benchmark.provenance import code_digest
from benchmark.suite.executors import node
from benchmark.suite.plan import SearchSpec, Shared, plan

PROTOCOL = """
dataset = {name = "digits"}
backbone = {name = "mlp", hidden = [8]}
"""


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> SearchSpec:
    monkeypatch.setattr(node, "_ready", set())
    protocol = parse_protocol(PROTOCOL, "tiny")
    fingerprint = load_dataset(protocol.dataset.name).fingerprint
    return plan(protocol, fingerprint, ("grid",), (0,))[0]


def test_a_nodes_own_classifier_gives_way_to_the_suites(spec: SearchSpec) -> None:
    own = cache_root() / "classifiers" / "key.pt"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"trained here")
    shared = Shared(code_digest(), {"classifiers/key.pt": b"the suite's", "classifiers/other.pt": b"too"})
    node.make_ready(spec, shared)
    assert own.read_bytes() == b"the suite's" and (own.parent / "other.pt").read_bytes() == b"too"
    own.unlink()
    node.make_ready(spec, shared)  # once in a process
    assert not own.exists()


def test_other_code_or_other_data_are_refused(spec: SearchSpec) -> None:
    with pytest.raises(InputError, match="is another version than the suite's; install the same on all nodes"):
        node.make_ready(spec, Shared("other code", {}))
    other = SearchSpec(**{**vars(spec), "data_fingerprint": "other data"})
    with pytest.raises(InputError, match="has other content than the suite's; copy the same there"):
        node.make_ready(other, Shared(code_digest(), {}))


def test_only_scratch_folders_of_dead_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    here, elsewhere = node._scratch_prefix(), "latentbench-scratch-0123abcd-"  # of another container that shares /tmp
    others = [f"{here}{os.getpid()}-abc", f"{elsewhere}{dead.pid}-abc", "latentbench-results", here]
    names = [f"{here}{dead.pid}-abc", *others]
    for name in names:
        (tmp_path / name / "searches").mkdir(parents=True)
    node._remove_abandoned()
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_without_proc_a_living_process_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STARTS_ARE_EXACT", False)
    test_only_scratch_folders_of_dead_processes_are_removed(tmp_path, monkeypatch)


def _hold(path: Path, order: Path) -> None:
    with node._locked(path):
        with order.open("a") as file:
            file.write("in ")
        time.sleep(0.2)
        with order.open("a") as file:
            file.write("out ")


def test_one_process_at_a_time_has_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_hold, args=(tmp_path / "x.lock", tmp_path / "order")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert (tmp_path / "order").read_text() == "in out in out "


def test_a_file_system_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(node.FileLock, "acquire", no_lock)
    with node._locked(tmp_path / "x.lock"):
        pass
