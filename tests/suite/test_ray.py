"""Suites on a Ray cluster of two nodes, all on this machine, against the local pool's."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import TINY, benchmark, environment, kill_when, started
from ray_nodes import RayNodes

from benchmark.errors import InputError
from benchmark.store import ResultsStore

pytest.importorskip("ray", reason="needs Ray: pip install 'latentbench[ray]'")

# Ray starts processes of its own, so no command here is a fork of one that has imported torch.
benchmark, started, kill_when = (partial(run, cold=True) for run in (benchmark, started, kill_when))

TIMES = ["train_seconds", "eval_seconds", "wall_seconds"]
MACHINE = [*TIMES, "peak_memory_bytes"]
EPOCHS = 10


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=EPOCHS))
    return folder


@pytest.fixture(scope="module")
def cluster(work: Path) -> Iterator[RayNodes]:
    nodes = RayNodes(work / "cache")
    nodes.add()
    nodes.add()
    yield nodes
    nodes.shutdown()


def _command(searchers: str, seeds: str, results: str | Path, *options: str) -> list[str]:
    return [
        "run",
        *f"--protocol tiny.toml --searchers {searchers} --seeds {seeds} --results {results}".split(),
        *options,
    ]


def _run(work: Path, *command: str) -> tuple[ResultsStore, str]:
    done = benchmark(*command, cwd=work, cache=work / "cache")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return ResultsStore(work / command[command.index("--results") + 1]), done.stdout


def _assert_same(store: ResultsStore, expected: ResultsStore, searchers: str, seeds: str) -> None:
    """The frames of these searches, times apart."""
    for frame in ("searches", "trials", "epochs", "latents"):
        own, whole = getattr(store, frame)(), getattr(expected, frame)()
        other = whole[whole["searcher"].isin(searchers.split()) & whole["seed"].isin(map(int, seeds.split()))]
        assert set(own["search_id"]) == set(other["search_id"]) and len(own)
        own, other = own.dropna(axis="columns", how="all"), other.dropna(axis="columns", how="all")
        times = [name for name in MACHINE if name in own]
        other = other.drop(columns=times).reset_index(drop=True)
        pd.testing.assert_frame_equal(own.drop(columns=times), other, check_exact=True, check_like=True)


def _assert_tidy(results: Path) -> None:
    names = [path.name for path in results.rglob("*")]
    assert not [name for name in names if name.startswith((".", "claim-", "stack-", "optimizer", "checkpoint"))]


@pytest.fixture(scope="module")
def local(work: Path) -> ResultsStore:
    return _run(work, *_command("grid random ald geco-l0arm sparsity", "0", "local"))[0]


@pytest.fixture(scope="module")
def spread(work: Path) -> ResultsStore:
    return _run(work, *_command("grid sparsity", "0", "spread", "--execution", "spread", "--epochs", "40"))[0]


def test_a_suite_has_the_local_pools_results(work: Path, cluster: RayNodes, local: ResultsStore) -> None:
    searchers = "grid random ald geco-l0arm sparsity"
    command = _command(searchers, "0", "ray", "--executor", "ray")
    store, printed = _run(work, *command, "--address", cluster.address)
    assert printed.count(" in use (") == 5
    _assert_same(store, local, searchers, "0")
    _assert_tidy(store.path)


def _wait_until(ready: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _epochs_done(results: Path) -> int:
    try:
        return len(ResultsStore(results).epochs())
    except InputError:
        return 0


def _lose_a_node(work: Path, cluster: RayNodes, *command: str, when: Callable[[], bool]) -> str:
    """Runs a suite on two nodes, of which one dies in the middle; what it prints."""
    process = started(*command, "--executor", "ray", "--address", cluster.address, cwd=work, cache=work / "cache")
    _wait_until(when, process)
    cluster.lose()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and errors == "", errors
    return output


def test_a_lost_nodes_searches_go_on_elsewhere(work: Path, cluster: RayNodes, local: ResultsStore) -> None:
    searchers = "grid random geco-l0arm"
    command = _command(searchers, "0", "lost")
    output = _lose_a_node(work, cluster, *command, when=lambda: _epochs_done(work / "lost") > 2 * EPOCHS)
    assert "goes on elsewhere: its node was lost" in output, output
    store = ResultsStore(work / "lost")
    _assert_same(store, local, searchers, "0")
    _assert_tidy(store.path)


@pytest.mark.slow
def test_results_at_a_url_survive_a_lost_node(work: Path, cluster: RayNodes, spread: ResultsStore) -> None:
    """Each node has files of its own; only what is at the URL is left of a lost one."""
    cluster.add()
    url = f"file://{work / 'store'}"
    command = _command("grid sparsity", "0", url, "--execution", "spread", "--epochs", "40")

    def both_nodes_are_training() -> bool:
        return len(list((work / "store").glob("searches/*/tr*/*/checkpoint.pt"))) >= 2  # its own, or shared ones

    output = _lose_a_node(work, cluster, *command, when=both_nodes_are_training)
    assert "goes on elsewhere: its node was lost" in output, output
    _assert_same(ResultsStore(work / "store"), spread, "grid sparsity", "0")
    _assert_tidy(work / "store")
    shown = benchmark("show", url, cwd=work, cache=work / "elsewhere")
    assert shown.returncode == 0 and shown.stdout.count("done") == 2
    command = [sys.executable, "-m", "reports", "--results", url, "--out", "report"]
    subprocess.run(command, cwd=work, env=environment(work / "elsewhere"), check=True, stdout=subprocess.DEVNULL)
    assert (work / "report" / "index.html").exists()


OWN = """
import os
import signal

from searchers.base import Choice, Searcher


class Raising(Searcher):
    def search(self, problem):
        problem.train(2, epochs=1)
        raise ArithmeticError("no size is good")


class Killed(Searcher):
    def search(self, problem):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_search_fails_alone(work: Path, cluster: RayNodes) -> None:
    (work / "own.py").write_text(OWN)
    command = _command("own:Raising own:Killed sparsity", "0", "failing", "--executor", "ray", "--epochs", "2")
    done = benchmark(*command, "--address", cluster.address, cwd=work, cache=work / "cache")
    assert done.returncode == 1, done.stdout + done.stderr
    errors = ResultsStore(work / "failing").searches().set_index("searcher")["error"]
    assert errors["own:Raising"] == "ArithmeticError: no size is good"
    assert errors["own:Killed"].startswith("its worker process died")
    assert pd.isna(errors["sparsity"])


@pytest.mark.slow
def test_a_killed_command_goes_on(work: Path, cluster: RayNodes, local: ResultsStore) -> None:
    command = _command("ald geco-l0arm", "0", "killed", "--executor", "ray")
    command += ["--address", cluster.address]
    results = work / "killed"
    kill_when(lambda: _epochs_done(results) > EPOCHS // 2, *command, cwd=work, cache=work / "cache")
    store, _ = _run(work, *command)
    _assert_same(store, local, "ald geco-l0arm", "0")
    _assert_tidy(results)


@pytest.mark.slow
def test_a_terminated_command_says_so(work: Path, cluster: RayNodes) -> None:
    command = _command("sparsity", "0", "ended", "--executor", "ray", "--epochs", "500", "--address", cluster.address)
    process = started(*command, cwd=work, cache=work / "cache")
    _wait_until(lambda: _epochs_done(work / "ended") > 0, process)
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (143, "")
    assert errors == "latentbench: terminated; run the same command again to continue\n"


@pytest.mark.parametrize(
    "options, message",
    [
        (["--executor", "ray", "--address", "127.0.0.1:1"], "executor ray: no cluster at 127.0.0.1:1"),
        pytest.param(
            ["--executor", "ray", "--protocol", "huge.toml"],
            "this machine has less than a search takes",
            marks=pytest.mark.slow,
        ),
        (["--executor", "ray", "--results", "nowhere://x/y"], "cannot use nowhere://x/y"),
        (["--address", "auto"], "address is auto and executor local; expected --executor ray with it"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(work: Path, options: list[str], message: str) -> None:
    (work / "huge.toml").write_text(TINY.format(epochs=1) + "[resources]\ncpus = 1000\n")
    done = benchmark("run", "--searchers", "sparsity", *options, cwd=work, cache=work / "cache")
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert done.stderr.startswith("latentbench: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_without_ray_it_says_what_to_install(work: Path) -> None:
    (work / "blocked" / "ray").mkdir(parents=True)
    (work / "blocked" / "ray" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")\n")
    done = benchmark("run", "--executor", "ray", cwd=work, cache=work / "cache", path=(work / "blocked",))
    assert done.returncode == 2 and "pip install 'latentbench[ray]'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_ray_costs_little_beside_the_local_pool(work: Path, cluster: RayNodes) -> None:
    """Seconds from the fourth of 40 searches' ends to the last's: without what starting takes."""
    seeds = " ".join(map(str, range(40)))
    cluster.add()
    seconds = {}
    for name, options in {"local": [], "ray": ["--executor", "ray", "--address", cluster.address]}.items():
        store, _ = _run(work, *_command("sparsity", seeds, f"many-{name}", "--epochs", "6", "--jobs", "2", *options))
        ends = sorted(path.stat().st_mtime for path in store.path.rglob("search.json"))
        seconds[name] = ends[-1] - ends[3]
    print(seconds)
    assert seconds["ray"] < 1.3 * seconds["local"], seconds
