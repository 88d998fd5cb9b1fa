"""The machine: its device, threads, determinism and memory."""

import contextlib
import os
import sys
from pathlib import Path

import psutil
import torch
from threadpoolctl import threadpool_limits

from benchmark.errors import InputError


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


def reserved_memory_bytes(device: torch.device) -> int | None:
    """The most that torch has held of a GPU, recorded steps and what it keeps for later included; None on others."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def peak_memory_bytes(device: torch.device) -> int:
    """The peak memory of this process: torch's allocations on a GPU, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not at the top: Windows lacks it, and results can be read there

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
