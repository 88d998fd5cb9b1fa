"""Which of this machine's GPUs each task of the local pool gets."""

import os
from collections.abc import Sequence

import torch

from benchmark.config.protocol import Resources


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; nothing is started on them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in allowed.split(",")] if allowed else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


def gpu_places(device: str, resources: Resources, jobs: int | None) -> list[str]:
    """A GPU for each task that may run at a time, tasks spread evenly: as many as `jobs`, by default what has room.

    device: as it was resolved. Where it is no GPU, or one by its number (`cuda:1`), there are none: tasks then use that
    device. resources.gpus: of a search; below 1 several share a GPU.
    """
    gpus = visible_gpus() if device == "cuda" else []
    if not gpus:
        return []
    return spread(gpus, jobs or max(1, int(len(gpus) / resources.gpus + 1e-9)))


def spread(gpus: Sequence[str], places: int) -> list[str]:
    """So many names, each GPU in its turn."""
    return [gpus[place % len(gpus)] for place in range(places)]
