"""Running the command line as a user does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

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


def benchmark(
    *arguments: object, cwd: Path, cache: Path, python: str = sys.executable, path: Sequence[Path] = ()
) -> subprocess.CompletedProcess:
    """`python -m benchmark ARGUMENTS`, run to its end."""
    command = [python, "-m", "benchmark", *map(str, arguments)]
    env = environment(cache, path)
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def started(*arguments: object, cwd: Path, cache: Path) -> "subprocess.Popen[str]":
    """`python -m benchmark ARGUMENTS` under way; `communicate()` gives what it prints."""
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment(cache), stdout=pipe, stderr=pipe, text=True)


def kill_when(ready: Callable[[], bool], *arguments: object, cwd: Path, cache: Path) -> None:
    """Starts `python -m benchmark ARGUMENTS` and kills its process group (SIGKILL) as soon as `ready` says so."""
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(cache), start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    try:
        while not ready():
            assert process.poll() is None, "the command ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
