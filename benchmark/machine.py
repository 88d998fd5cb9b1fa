"""The machine: its device, threads, memory and software versions."""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_limits

from benchmark.errors import InputError

ROOT = Path(__file__).resolve().parent.parent  # the folder that holds the packages
PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "pandas", "scikit-learn", "optuna")


def resolve_device(name: str) -> torch.device:
    """Returns the device `name`; `auto` is a CUDA GPU if there is one, else the CPU. Raises InputError if missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type not in ("cpu", "cuda", "mps") or (device.type == "cpu" and device.index):
            raise RuntimeError(f"{device} is none of them")
    except (RuntimeError, AssertionError) as error:
        expected = "auto, cpu, cuda (with a GPU) or mps (Apple's)"
        raise InputError(f"device {name!r} cannot be used here; expected {expected}") from error
    return device


def float64_device(device: torch.device) -> torch.device:
    """The device for float64 computations on tensors of `device`: the CPU for Apple GPUs, which have no float64."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def n_cpus() -> int:
    """The number of CPUs that this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1  # not on macOS


def limit_threads(threads: int) -> None:
    """Sets the number of CPU threads of torch, NumPy and scikit-learn in this process."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def set_determinism(deterministic: bool) -> None:
    """Makes GPU results repeat bit for bit, or lets the GPU choose its fastest kernels."""
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it at its first use
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def reset_peak_memory() -> None:
    """Resets the peak memory of this process, so that an earlier search does not count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resident memory's high-water mark (proc(5))


def peak_memory_bytes(device: torch.device) -> int:
    """The peak memory of this process: torch's allocations on a GPU, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not at the top: Windows lacks it, and results can be read there

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def code_digest() -> str:
    """A hash of the code that determines the results."""
    paths = sorted(path for package in ("benchmark", "searchers") for path in (ROOT / package).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions, hardware, threads and, if the code is a git checkout, its commit."""
    return {
        "python": platform.python_version(),
        **{package.replace("-", "_"): version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": threads,
        "latentbench": _latentbench_version(),
        "git_commit": _git_commit(ROOT),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _latentbench_version() -> str | None:
    with contextlib.suppress(PackageNotFoundError):  # not installed: run from its sources
        return version("latentbench")
    return None


def _git_commit(root: Path) -> str | None:
    """The commit of the package's repository; None unless `root` is its top and it tracks this file.

    Without this check, a package installed inside a user's repository would report the user's commit.
    """
    this_file = Path(__file__).resolve().relative_to(ROOT).as_posix()
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve() or _git(root, "ls-files", this_file) != this_file:
        return None
    return _git(root, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        finished = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout.strip() or None if finished.returncode == 0 else None
