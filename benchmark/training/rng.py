"""Derives random streams from their purpose, so that a resumed run needs no saved generator state.

The streams of a training derive from the seed of its search and from its origin, which encodes its start: two searches
with one seed that ask for the same training get the same one.
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What the numbers of a stream are used for. The values determine results: never renumber them."""

    INIT = 0
    ORDER = 1
    NOISE = 2
    EVALUATION = 3
    TEST = 4
    IMAGES = 5
    ASSESSMENT = 6


def origin_of(origin: int, epochs: int, keep: Sequence[int]) -> int:
    """The origin of a training that continues one of this origin, after so many epochs, with the latents `keep`.

    The origin of a fresh training is the number of latents that it starts with.
    """
    digest = hashlib.sha256(repr((origin, epochs, list(keep))).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def stream_seed(purpose: Purpose, seed: int, origin: int = 0, epoch: int = 0) -> int:
    """A 63-bit seed that differs for each purpose, search seed, origin of a training and epoch."""
    state = np.random.SeedSequence([seed, origin, epoch, purpose]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def stream(
    purpose: Purpose, seed: int, origin: int = 0, epoch: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator at the start of the stream."""
    return torch.Generator(device).manual_seed(stream_seed(purpose, seed, origin, epoch))
