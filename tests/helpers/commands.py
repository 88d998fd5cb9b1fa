"""Running the command line as a user does."""

import gc
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import process as mp_process
from multiprocessing import util
from pathlib import Path

import benchmark.suite.executors.local_pool  # noqa: F401 - it says what its own processes import, before we say more

ROOT = Path(__file__).parents[2]
IMPORTED = ["benchmark.suite.worker", "benchmark.cli", "reports.write", "sklearn.datasets", "sklearn.neighbors"]
_warm = multiprocessing.get_context("forkserver")  # imports once what each command would spend most of its time on
_warm.set_forkserver_preload(IMPORTED)

TINY = """
[dataset]
name = "digits"
[backbone]
name = "mlp"
hidden = [32]
[training]
epochs = {epochs}
batch_size = 32
[evaluation]
features = "classifier"
[space]
low = 2
high = 16
sizes = [2, 4, 8]
[searchers.ald]
start_latent_dim = 24
patience = 3
decrease = 4
[searchers.geco-l0arm]
tau = 2.6
"""


def environment(cache: Path, path: Sequence[Path] = ()) -> dict[str, str]:
    """The user's environment with its caches in `cache`, and folders of modules that stand for installed ones.

    Ray writes no token to the home folder.
    """
    modules = os.pathsep.join(map(str, (*path, ROOT)))
    own = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": modules, "PYTHONWARNINGS": "error::UserWarning"}
    return {**os.environ, **own, "RAY_AUTH_MODE": "disabled"}


class Command:
    """`python -m benchmark ARGUMENTS` under way with Popen's methods, forked from a process that has all imported."""

    def __init__(self, arguments: Sequence[object], cwd: Path, env: dict[str, str], own_session: bool = False) -> None:
        self.args, self._printed = list(map(str, arguments)), Path(tempfile.mkdtemp())
        rest = (self.args, str(cwd), env, str(self._printed), own_session)
        self._process = _warm.Process(target=_be_the_command, args=rest)
        self._process.start()
        mp_process._children.discard(self._process)  # type: ignore[attr-defined]  # no failed test waits for it
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Waits for its end; what it printed to stdout and stderr."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        out, err = ((self._printed / name).read_text() for name in ("out", "err"))
        shutil.rmtree(self._printed)
        return out, err


def _be_the_command(arguments: list[str], cwd: str, env: dict[str, str], printed: str, own_session: bool) -> None:
    """Makes this process what `python -m benchmark` in that folder would be, and its fork server a fork of it."""
    if own_session:
        os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{printed}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [cwd, *env["PYTHONPATH"].split(os.pathsep), *installed]
    warnings.filterwarnings("error", category=UserWarning)
    mp_process._parent_process = None  # type: ignore[attr-defined]
    util.spawnv_passfds = _fork_passfds  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    sys.argv = ["", *arguments]
    runpy.run_module("benchmark", run_name="__main__", alter_sys=True)


def _fork_passfds(executable: str, arguments: list[str], kept: Sequence[int]) -> int:
    """In place of a new Python process that runs `-c CODE` with these files."""
    pid = os.fork()
    if pid:
        return pid
    try:
        gc.freeze()  # what is open in there is closed here, unseen
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        low = 3
        for number in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
            os.closerange(low, number)
            low = number + 1
        exec(arguments[-1], {})
    finally:
        os._exit(0)


def _start(
    arguments: Sequence[object], cwd: Path, env: dict[str, str], cold: bool, own_session: bool = False
) -> "Command | subprocess.Popen[str]":
    if not cold:
        return Command(arguments, cwd, env, own_session)
    command, pipe = [sys.executable, "-m", "benchmark", *map(str, arguments)], subprocess.PIPE
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=own_session
    )


def benchmark(
    *arguments: object, cwd: Path, cache: Path, path: Sequence[Path] = (), cold: bool = False
) -> "subprocess.CompletedProcess[str]":
    """`python -m benchmark ARGUMENTS`, run to its end. cold: by a Python of its own, which imports everything."""
    process = _start(arguments, cwd, environment(cache, path), cold)
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def started(*arguments: object, cwd: Path, cache: Path, cold: bool = False) -> "Command | subprocess.Popen[str]":
    """`python -m benchmark ARGUMENTS` under way; `communicate()` gives what it prints."""
    return _start(arguments, cwd, environment(cache), cold)


def kill_when(ready: Callable[[], bool], *arguments: object, cwd: Path, cache: Path, cold: bool = False) -> None:
    """Starts `python -m benchmark ARGUMENTS` and kills its process group (SIGKILL) as soon as `ready` says so."""
    process = _start(arguments, cwd, environment(cache), cold, own_session=True)
    deadline = time.monotonic() + 120
    try:
        while not ready():
            assert process.poll() is None, "the command ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
