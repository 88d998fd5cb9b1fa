"""A suite of many searches: its parent does not grow, and nothing is left over."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from commands import TINY, environment

from benchmark.store import ResultsStore

N_SEARCHES = 300
SETTLED = 50  # searches after which the parent must not grow any more
GROWTH = 1.05
LOOKS = 50


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _session(pid: int) -> list[str]:
    """Command lines of the processes in the session that `pid` leads."""
    listed = subprocess.run(["ps", "-s", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return listed.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory and files of a process from /proc")
def test_three_hundred_searches_leak_nothing(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=2))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "benchmark", "run", "--protocol", "tiny.toml", "--searchers", "sparsity"]
    process = subprocess.Popen(
        [*command, "--seeds", *map(str, range(N_SEARCHES))],
        cwd=tmp_path,
        env={**environment(tmp_path / "cache"), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    resident, n_files = {}, {}
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("["):
            ended = int(line[1:].partition("/")[0])
            resident[ended], n_files[ended] = _resident_bytes(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))
    assert process.wait() == 0
    assert sorted(resident) == list(range(1, N_SEARCHES + 1))
    late = [resident[ended] for ended in range(SETTLED, N_SEARCHES)]
    assert max(late) < GROWTH * late[0], f"from {late[0]} to {max(late)} bytes"
    late = [n_files[ended] for ended in range(SETTLED, N_SEARCHES)]
    # Those of workers that start or end come and go, so the middle of many looks: a leak in each search would be 200.
    assert median(late[-LOOKS:]) <= median(late[:LOOKS]) + 1
    assert _session(process.pid) == []
    assert list(temporary.iterdir()) == []
    assert (ResultsStore(tmp_path / "results").searches()["status"] == "done").all()
    names = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert names == {"search.json", "request.json", "trial.json", "epochs.arrow", "model.pt", "images.npz"}
