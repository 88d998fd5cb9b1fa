"""FLOPs as torch counts them, the same on every device and version."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.linear import FLOP_FORMULAS


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Counts the FLOPs of what runs within it, attention as the matrix products of its definition.

    Which fused attention kernels torch takes, counts and gives padded input depends on device and version.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        yield counter
