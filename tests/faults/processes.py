"""Disturbances of processes: killed, interrupted, out of memory, stopped, accompanied; and of the clock.

Each starts a suite once, or starts it again, and says what is not as it should be then: None where the suite was done
before anything could happen to it.
"""

import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmark.store import ResultsStore
from benchmark.store.claims import Watch
from benchmark.store.folders import SearchFolder
from tests.faults.bench import Try
from tests.faults.run import Run

Problems = list[str] | None

HOUR = 3600
GROUPS = Path("/sys/fs/cgroup")
LITTLE_MEMORY = 2**20  # bytes: the next ones that a worker asks for are too many


def killed(one: Try) -> Problems:
    """SIGKILL of the process group, just before a file operation or at any time, or of the parent alone."""
    how = one.rng.choice(["operation", "group", "parent"])
    settings = {"FAULT_KILL_AT": str(one.operation())} if how == "operation" else {}
    with one.suite(**settings) as run:
        if how != "operation" and one.waits(run):
            run.kill(signal.SIGKILL, group=how == "group")
        if run.process.wait() == 0:
            return None
        died = [] if run.process.returncode == -signal.SIGKILL else [f"exit code {run.process.returncode}"]
        return died + run.left_over()


def terminated(one: Try) -> Problems:
    """SIGTERM, to the parent or the group: one line, the exit code that says so, no process left."""
    return _ended_by(signal.SIGTERM, one, 143, "latentbench: terminated;")


def interrupted(one: Try) -> Problems:
    """SIGINT (Ctrl-C), to the parent or the group: the same."""
    return _ended_by(signal.SIGINT, one, 130, "latentbench: interrupted;")


def _ended_by(number: signal.Signals, one: Try, code: int, line: str) -> Problems:
    with one.suite() as run:
        if not run.reaches(run.handles_signals) or not one.waits(run):
            return None
        run.kill(number, group=one.rng.random() < 0.5)
        if one.bench.is_done(one.results):  # the command prints its table or has ended: it may be too late for it
            run.process.wait()
            return None
        return run.end(code, line)


def worker_lost(one: Try) -> Problems:
    """A worker that trains is killed, as the kernel does it or by the kernel itself for want of memory.

    Its search becomes a failed row that names the cause, and the others go on.
    """
    with ExitStack() as stack, one.suite() as run:
        worker = run.stop_worker() if one.waits(run, started=True) else None
        if worker is None:
            return None
        limit = _memory_limit(f"latentbench-{worker}") if one.rng.random() < 0.5 else None
        if limit is None:
            os.kill(worker, signal.SIGKILL)
        else:
            stack.callback(limit.parent.rmdir)
            limit.write_text(str(LITTLE_MEMORY))
            limit.with_name("cgroup.procs").write_text(str(worker))
            os.kill(worker, signal.SIGCONT)
        problems = run.end(1)
    searches = ResultsStore(one.results).searches()
    errors = searches[searches["status"] != "done"]["error"].tolist()
    if len(errors) == 1 and "SIGKILL" in str(errors[0]):
        return problems
    return [*problems, f"the searches that are not done have the errors {errors}"]


def _memory_limit(name: str) -> Path | None:
    """The memory limit of a new control group, of version 2 or 1; None where this process may make none."""
    for group, limit in ((GROUPS / name, "memory.max"), (GROUPS / "memory" / name, "memory.limit_in_bytes")):
        with suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                return group / limit
            group.rmdir()
    return None


def fork_server_lost(one: Try) -> Problems:
    """The process that workers are forked from is killed: the suite goes on with another one."""
    with one.suite() as run:
        server = run.fork_server() if one.waits(run, started=True) else None
        if server is None:
            return None
        os.kill(server, signal.SIGKILL)
        return run.end(0) + one.bench.compare(one.results)


def clock_jumps(one: Try) -> Problems:
    """The wall clock goes an hour back or ahead: no time says so, no result differs."""
    with one.suite(**jump(one)) as run:
        return run.end(0) + one.bench.compare(one.results)


def jump(one: Try) -> dict[str, str]:
    """The setting for a suite whose clock goes an hour back or ahead."""
    return {"FAULT_JUMP": f"{one.operation()}:{one.rng.choice([-HOUR, HOUR])}"}


def stopped(one: Try) -> Problems:
    """SIGSTOP for a while, of a suite whose clock jumps too: its searches stay its own, in company as well."""
    company = one.rng.random() < 0.5
    with ExitStack() as stack:
        runs = [stack.enter_context(one.suite(**jump(one)))]
        if not one.waits(runs[0], started=True):
            return None
        runs[0].kill(signal.SIGSTOP, group=True)
        if company:
            runs.append(stack.enter_context(one.suite()))
            runs[1].reaches(lambda: "is being run by another command" in runs[1].output)
        time.sleep(one.rng.uniform(1, 3))
        searches = (one.results / "searches").iterdir()
        running = [path for path in searches if SearchFolder(path).status() == "running"]
        problems = [f"{path.name} can be claimed" for path in running if Watch().next_number(path) is not None]
        runs[0].kill(signal.SIGCONT, group=True)
        return problems + _all_done_once(one, runs)


def accompanied(one: Try) -> Problems:
    """Two suites on one folder at once, or one after the other, or three, or two of which one is killed."""
    how = one.rng.choice(["two", "delay", "three", "killed"])
    with ExitStack() as stack:
        runs = [stack.enter_context(one.suite())]
        if how == "delay" and not one.waits(runs[0], started=True):
            return None
        runs += [stack.enter_context(one.suite()) for _ in range(2 if how == "three" else 1)]
        if how == "killed":
            if not one.waits(runs[0]):
                return None
            runs.pop(0).kill(signal.SIGKILL, group=one.rng.random() < 0.5)
            return [problem for run in runs for problem in run.end(0)] + one.bench.compare(one.results)
        return _all_done_once(one, runs)


def _all_done_once(one: Try, runs: list[Run]) -> list[str]:
    """What is not as it should be where several suites shared the work."""
    problems = [problem for run in runs for problem in run.end(0)] + one.bench.compare(one.results)
    attempts = {path.name: SearchFolder(path).attempts() for path in (one.results / "searches").iterdir()}
    problems += [f"{name} was run {number} times" for name, number in attempts.items() if number != 1]
    return problems if len({run.table for run in runs}) == 1 else [*problems, "the tables differ"]
