"""Records a training step as a CUDA graph and replays it: one launch replaces hundreds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Generator, Tensor

Step = Callable[[Tensor, Sequence[Generator], Tensor], None]
"""Takes images, the generators of the noise, and the sums of losses, to which it adds its losses in place."""

WARM_UP = 3  # steps before the recording, in which libraries choose kernels and allocate memory


class Replay:
    """Runs a step `WARM_UP` times directly, then records it and replays the recording. All batches have one shape.

    Every call is exactly one step of the training, because recording a graph does not run it. The noise is the same as
    without a graph, because every replay advances the generators. Whoever keeps it in what the step refers to must drop
    it there in the end: Python frees such a circle late, and the recording's memory with it.
    """

    def __init__(self, step: Step, members: int, device: torch.device) -> None:
        self.totals = torch.zeros(members, device=device)
        self._step = step
        self._generators = [Generator(device) for _ in range(members)]
        self._warm_up = WARM_UP
        self._images = torch.empty(0, device=device)
        self._replay: Callable[[], None] | None = None

    def start(self, noise: Sequence[Generator]) -> None:
        """Begins an epoch: sets `totals` to 0 and takes the seeds of the noise from these fresh generators."""
        for recorded, fresh in zip(self._generators, noise, strict=True):
            recorded.manual_seed(fresh.initial_seed())
        self.totals.zero_()

    def __call__(self, images: Tensor) -> None:
        """Does one step on stored images on the device. The host does not wait for the result."""
        if self._warm_up:
            self._warm_up -= 1
            with _side_stream():
                self._step(images, self._generators, self.totals)
            return
        if self._replay is None:
            self._images = images.clone()
            self._replay = _record(lambda: self._step(self._images, self._generators, self.totals), self._generators)
        self._images.copy_(images)
        self._replay()


@cache
def _recording_stream(gpu: int) -> torch.cuda.Stream:
    """A GPU's stream of recordings and of the steps before them: autograd may remember the one that it met first."""
    return torch.cuda.Stream(gpu)


@contextmanager
def _side_stream() -> Iterator[None]:
    """Runs the block on another stream, as CUDA requires before a recording."""
    side, current = _recording_stream(torch.cuda.current_device()), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


def _record(work: Callable[[], None], generators: Sequence[Generator]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=_recording_stream(torch.cuda.current_device())):
        work()
    return graph.replay
