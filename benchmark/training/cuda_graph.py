"""A training step as a CUDA graph: recorded once, then replayed with one launch in place of hundreds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

Step = Callable[[Tensor, Sequence[Generator], Tensor], None]
"""Gets images, the generators of its noise, and the sums of losses, to which it adds its own in place."""

WARM_UP = 3  # steps before the recording, in which libraries choose their kernels and allocate


class Replay:
    """A step that is carried out as it is `WARM_UP` times, then recorded, then replayed; batches have one shape.

    Every call is one step of the training, whichever way, since a recording only notes what would be done; and the
    noise is that of steps without a recording, as a graph moves its generators on at every replay.
    """

    def __init__(self, step: Step, members: int, device: torch.device) -> None:
        self.totals = torch.zeros(members, device=device)
        self._step = step
        self._generators = [Generator(device) for _ in range(members)]
        self._warm_up = WARM_UP
        self._images = torch.empty(0, device=device)
        self._replay: Callable[[], None] | None = None

    def start(self, noise: Sequence[Generator]) -> None:
        """Begins an epoch: its noise is that of these generators, which are at their start; `totals` are 0."""
        for own, generator in zip(self._generators, noise, strict=True):
            own.manual_seed(generator.initial_seed())
        self.totals.zero_()

    def __call__(self, images: Tensor) -> None:
        """One step on uint8 images on the device. The host does not wait for it."""
        if self._warm_up:
            self._warm_up -= 1
            with _aside():
                self._step(images, self._generators, self.totals)
            return
        if self._replay is None:
            self._images = images.clone()
            self._replay = _record(lambda: self._step(self._images, self._generators, self.totals), self._generators)
        self._images.copy_(images)
        self._replay()


@contextmanager
def _aside() -> Iterator[None]:
    """On a stream of its own, as CUDA asks of what precedes a recording."""
    aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        yield
    here.wait_stream(aside)


def _record(work: Callable[[], None], generators: Sequence[Generator]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay
