"""`make gpu`: whether the GPU path works on this machine and how fast it is, in one table and one JSON file.

Each part is a process of its own with a time limit, so that one that fails or hangs leaves the others as they are.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tests.gpu.lines import Line, Report, markdown, read_lines

SOURCES = ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """A module of tests.gpu with its arguments. seconds: it may take; small: on a CPU, be it a busy one."""

    name: str
    module: str
    seconds: float
    small: float
    arguments: tuple[str, ...] = ()


BESIDE = (Part("prepare", "prepare", 400, 400),)  # starts first and runs beside the others
PARTS = (
    Part("tests", "cuda_tests", 60, 120),
    Part("same", "same", 95, 180),
    Part("speed", "speed", 50, 90, ("mnist",)),
    Part("mnist", "job", 110, 120, ("mnist",)),
    Part("speed-eurosat", "speed", 20, 60, ("eurosat",)),  # later, as its images and features take longer to make
    Part("eurosat", "job", 110, 150, ("eurosat",)),
    Part("compile", "compiled", 30, 20),
)


def main(arguments: Sequence[str] | None = None, parts: Sequence[Part] = PARTS, beside: Sequence[Part] = BESIDE) -> int:
    """Runs the parts and writes gpu.md and gpu.json; returns 1 where a line is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: the same at small sizes")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder to write to")
    options = parser.parse_args(arguments)
    is_small, out = options.device == "cpu", options.out.absolute()
    import torch

    if not is_small and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no CUDA device; DEVICE=cpu runs the same at small sizes")
    machine = _described(options.device)
    for folder in ("lines", "logs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    waiting = [(part, _start(part, options.device, out), time.monotonic()) for part in beside]
    try:
        for part in parts:
            process, started = _start(part, options.device, out), time.monotonic()
            waiting.append((part, process, started))
            _finish(part, process, started, out, part.small if is_small else part.seconds)
            _write(out, machine, [*beside, *parts])
        for part, process, started in waiting[: len(beside)]:
            _finish(part, process, started, out, part.small if is_small else part.seconds)
    finally:  # after Ctrl-C too
        for _, process, _ in waiting:
            if process.poll() is None:
                _end(process)
    seconds, limit, load = time.monotonic() - begin, 300 if is_small else 480, os.getloadavg()[0]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = f"{seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU, at a load of {load:.1f}"
    is_idle = not is_small or load <= 1.5 * (os.cpu_count() or 1)
    report = Report("all", _fresh(out / "lines" / "all.jsonl"))
    report.add(
        "time of all parts", f"at most {limit} s on an idle machine", found, seconds <= limit if is_idle else None
    )
    lines = _write(out, machine, [*beside, *parts, Part("all", "", 0, 0)])
    print((out / "gpu.md").read_text(encoding="utf-8"))
    return int(any(line.is_met is False for line in lines))


def describe(device: str) -> str:
    """The machine, in words."""
    from benchmark.machine import resolve_device
    from benchmark.provenance import environment

    used = environment(resolve_device(device), 1)
    name = used["cpu"] if device == "cpu" else used["device"]
    return f"{name}, {os.cpu_count()} CPU cores, torch {used['torch']}, Python {sys.version.split()[0]}"


def _described(device: str) -> str:
    """By another process: this one would keep a part of the GPU's memory."""
    code = f"from tests.gpu.__main__ import describe; print(describe({device!r}))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=True).stdout.strip()


def _fresh(path: Path) -> Path:
    path.unlink(missing_ok=True)
    return path


def _start(part: Part, device: str, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", f"tests.gpu.{part.module}", *part.arguments, "--device", device, "--out", str(out)]
    command += ["--lines", str(_fresh(out / "lines" / f"{part.name}.jsonl"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (out / "logs" / f"{part.name}.txt").open("wb") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _finish(part: Part, process: "subprocess.Popen[bytes]", started: float, out: Path, limit: float) -> None:
    """Waits for a part until its limit, then ends it and all that it has started."""
    report = Report(part.name, out / "lines" / f"{part.name}.jsonl")
    try:
        code = process.wait(max(0.0, started + limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        report.add("time", f"at most {limit:g} s", "cut", False)
        code = 0
    _end(process)
    if code:
        text = (out / "logs" / f"{part.name}.txt").read_text(encoding="utf-8", errors="replace").strip()
        report.add("end", "without an error", (text.splitlines() or ["no output"])[-1][:300], False)
    print(f"{part.name}: {time.monotonic() - started:.0f} s", flush=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process with all that it has started, in sessions of their own too, and waits for it."""
    running = process.poll() is None  # else its number may be another's by now
    for one in psutil.Process(process.pid).children(recursive=True) if running else ():
        with suppress(psutil.NoSuchProcess):
            one.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _write(out: Path, machine: str, parts: Sequence[Part]) -> list[Line]:
    lines = [line for part in parts for line in read_lines(out / "lines" / f"{part.name}.jsonl")]
    (out / "gpu.md").write_text(markdown(lines, machine), encoding="utf-8")
    content = {"machine": machine, "lines": [asdict(line) for line in lines]}
    (out / "gpu.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return lines


if __name__ == "__main__":
    sys.exit(main())
