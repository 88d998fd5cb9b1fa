"""Random streams that follow from what they are for, so that a resumed run needs no saved generator state."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a stream's numbers are used for. Values are part of the results: never renumber."""

    INIT = 0
    ORDER = 1
    NOISE = 2
    EVALUATION = 3
    TEST = 4


def stream_seed(purpose: Purpose, seed: int, trial: int = 0, epoch: int = 0) -> int:
    """A 63-bit seed, different for each purpose, search seed, trial and epoch."""
    state = np.random.SeedSequence([seed, trial, epoch, purpose]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def stream(
    purpose: Purpose, seed: int, trial: int = 0, epoch: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator at the start of that stream."""
    return torch.Generator(device).manual_seed(stream_seed(purpose, seed, trial, epoch))
