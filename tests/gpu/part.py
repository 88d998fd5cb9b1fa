"""What the parts of `make gpu` share: their arguments, and the command line of latentbench."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.lines import Report

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Arguments:
    """names: what the part is to do. is_small: on a CPU, at sizes that take a minute."""

    names: Sequence[str]
    device: str
    out: Path
    report: Report

    @property
    def is_small(self) -> bool:
        """Whether it is a run on a CPU."""
        return self.device == "cpu"


def read_arguments(part: str) -> Arguments:
    """A part's own, from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--lines", type=Path, required=True)
    options = parser.parse_args()
    name = " ".join([part, *options.names]) if part == "job" else part
    return Arguments(options.names, options.device, options.out, Report(name.removeprefix("job "), options.lines))


def latentbench(*arguments: object, kill_when: Callable[[], bool] | None = None) -> None:
    """Runs the command, or kills it when asked to. Raises RuntimeError where it ends with another code than 0."""
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ, start_new_session=True)
    while kill_when is not None and process.poll() is None:
        if kill_when():
            os.killpg(process.pid, 9)
            process.wait()
            return
        time.sleep(0.01)
    if process.wait():
        raise RuntimeError(f"latentbench {' '.join(map(str, arguments))} ended with code {process.returncode}")
    if kill_when is not None:
        raise RuntimeError("the command ended before it could be killed")
