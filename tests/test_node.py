"""What a worker does on a machine that is not the command's."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from benchmark import node
from benchmark.config import parse_protocol
from benchmark.datasets import load_dataset
from benchmark.datasets.paths import cache_root
from benchmark.errors import InputError
from benchmark.machine import code_digest
from benchmark.plan import SearchSpec, Shared, plan

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
    names = [f"{node.SCRATCH}{dead.pid}-abc", f"{node.SCRATCH}{os.getpid()}-abc", "latentbench-results", node.SCRATCH]
    for name in names:
        (tmp_path / name / "searches").mkdir(parents=True)
    node._remove_abandoned()
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
