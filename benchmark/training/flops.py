"""Counts FLOPs with torch; the counts are the same on every device and version."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.linear import FLOP_FORMULAS


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Counts the FLOPs of the block, with attention as the matrix products of its definition.

    Fused attention kernels are off: which ones torch uses, counts and pads inputs for depends on device and version.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        yield counter
