"""A command of the fault harness: started as a user does, watched, disturbed, and looked at when it has ended."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchmark.store.claims import PREFIX
from benchmark.store.folders import SearchFolder
from tests.helpers.commands import environment

TESTS = Path(__file__).parent
LIMIT_SECONDS = 300  # a command that takes longer hangs
MARK = "FAULT_RUN"


class Run:
    """A command that runs in a process group of its own, and all its processes. Leaving the block kills them.

    root: a folder with its caches, the shim and what it reads; settings: more environment variables.
    """

    def __init__(self, root: Path, results: Path, command: Sequence[str], **settings: str) -> None:
        stem = root / f"run-{uuid.uuid4().hex}"
        self._results = results
        self._mark = f"{MARK}={stem.name}"
        self._output, self._errors, self._counter = (stem.with_suffix(end) for end in (".out", ".err", ".count"))
        self._counter.touch()
        own = {"FAULT_FOLDER": str(results), "FAULT_COUNTER": str(self._counter), MARK: stem.name, **settings}
        env = environment(root / "cache")
        env["PYTHONPATH"] = os.pathsep.join([str(root / "shim"), env["PYTHONPATH"]])
        # A shell starts background commands with Ctrl-C ignored, and what is ignored is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=root,
                env={**env, **own},
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """All its processes that live, wherever they have gone."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_own(pid)]

    def _is_own(self, pid: int) -> bool:
        try:
            own = f"{self._mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
            return own and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def fork_server(self) -> int | None:
        """The process that workers are forked from; None where there is none yet."""
        for pid in self.processes():
            with suppress(OSError):
                called = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"multiprocessing.forkserver" in called and _parent(pid) == self.process.pid:
                    return pid
        return None

    def operations(self) -> int:
        """File operations in its results folder so far."""
        return self._counter.stat().st_size

    def reaches(self, ready: Callable[[], bool]) -> bool:
        """Waits until `ready` says so; False where the command ends, or hangs, without."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def stop_worker(self) -> int | None:
        """Stops (SIGSTOP) a worker that has a search under way; its process number. None: the command has ended."""
        while self.process.poll() is None:
            for path in (self._results / "searches").glob(f"*/{PREFIX}*"):
                with suppress(OSError, ValueError, KeyError):  # the search ends just now
                    worker = int(json.loads(path.read_text())["pid"])
                    os.kill(worker, signal.SIGSTOP)
                    if SearchFolder(path.parent).status() == "running":
                        return worker
                    os.kill(worker, signal.SIGCONT)
        return None

    def lasts(self, seconds: float) -> bool:
        """Whether it still runs so many seconds later."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is None

    def handles_signals(self) -> bool:
        """Whether the command has begun: Python's own start-up cannot be made to end cleanly."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def kill(self, number: signal.Signals, group: bool) -> None:
        """Sends a signal to the parent process alone or to its group."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What it has printed to the standard error stream."""
        return self._errors.read_text()

    @property
    def table(self) -> str:
        """The summary at its end."""
        return self.output[self.output.find("metrics on the test split") :]

    def end(self, code: int, line: str = "") -> list[str]:
        """Waits for its end; what is not as it should be there: its exit code, one line of error, no process left."""
        try:
            got = self.process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return ["it hangs"]
        problems = [] if got == code else [f"exit code {got}, not {code}"]
        if line not in self.errors or self.errors.count("\n") != bool(line) or "Traceback" in self.output:
            problems.append(f"it printed {self.output + self.errors!r}")
        return problems + self.left_over()

    def left_over(self) -> list[str]:
        """Which of its processes have outlived the command."""
        deadline = time.monotonic() + 60  # a process that still imports hears late that its parent is gone
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.01)
        return [f"process {pid} is left over" for pid in self.processes()]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
