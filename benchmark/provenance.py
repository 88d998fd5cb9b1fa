"""What a search records about its origin: the code, its versions and the hardware."""

import contextlib
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent  # the folder that holds the packages
PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "pandas", "scikit-learn", "optuna")


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
