"""The GPU: steps launched one kernel at a time and replayed as a graph, against what bytes and operations allow.

On another device, where nothing is recorded, the same trainings run; `make gpu DEVICE=cpu` tries itself so.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmark.machine import set_determinism
from benchmark.training.clock import Clock
from benchmark.training.cuda_graph import WARM_UP
from benchmark.training.state import TrainingState
from searchers.base import FixedSize
from tests.speed.cases import CONV, MLP, REMOVED, Case
from tests.speed.stacked import stacked
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio

COPIED = 2**28  # floats: beyond any cache
SIDE = 8192  # of the matrices that show the peak
ADAM_TRAFFIC = 7  # a parameter and its two moments are read and written, its gradient read
STEPS = {"mlp": 500, "conv": 200}
PROFILED = 50  # steps
MEMBERS = 30
CUDA = torch.device("cuda")


class _Eager(FixedSize):
    @property
    def capturable(self) -> bool:
        return False


def measure(effort: Effort, device: torch.device = CUDA, members: int = MEMBERS) -> list[Table]:
    """Both backbones. members: of the stacked trainings."""
    set_determinism(False)
    cases = [replace(case, steps=STEPS[case.backbone]).shortened(effort) for case in (MLP, CONV)]
    return [_backbone(case, effort, device, members) for case in cases]


def device_seconds(device: torch.device, work: Callable[[], object]) -> float:
    """Of work that the device has then done."""
    laps: list[float] = []
    with Clock(device).lap(laps):
        work()
    return laps[0]


def _backbone(case: Case, effort: Effort, device: torch.device, members: int) -> Table:
    case = replace(case, images=max(case.images, case.steps * case.training.batch_size))  # no shorter runs
    eager, captured = case.state(_Eager(), device), case.state(device=device)
    case.train(captured)  # records the step
    many = stacked([replace(case, steps=max(2, case.steps // 10))] * members, device)
    flops = captured.flops_per_step or 0
    adam_bytes = ADAM_TRAFFIC * sum(p.numel() * p.element_size() for p in captured.vae.parameters())
    measures: dict[str, Measure] = {
        "eager": lambda: device_seconds(device, lambda: case.train(eager)) / case.steps,
        "captured": lambda: device_seconds(device, lambda: case.train(captured)) / case.steps,
        "kernels": lambda: _kernel_seconds(case, captured, device),
        "floor": lambda: flops / _peak_flops(effort, device) + adam_bytes / _bandwidth(effort, device),
        "one": lambda: case.images_per_run / device_seconds(device, lambda: case.train(captured)),
        "many": lambda: many.images / device_seconds(device, many.run),
        "recapture": lambda: _recapture(case, device),
    }
    values = interleaved(f"gpu: {case.backbone}", effort.rounds or 5, measures)
    rows = {
        "eager step: ms": [1e3 * value for value in values["eager"]],
        "replayed step: ms": [1e3 * value for value in values["captured"]],
        "eager / replayed (time)": ratio(values["eager"], values["captured"]),
        "replayed / its kernels alone (time)": ratio(values["captured"], values["kernels"]),
        "replayed / floor of float32 GEMM and Adam's bytes (time)": ratio(values["captured"], values["floor"]),
        f"{members} stacked trainings / one: images/s": ratio(values["many"], values["one"]),
        "recording the step anew after a removal: ms": [1e3 * value for value in values["recapture"]],
    }
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Table(f"{case.backbone} on {where}, batch {case.training.batch_size}", rows)


def _recapture(case: Case, device: torch.device) -> float:
    """Seconds that the steps until the new recording take, beyond as many replayed ones."""
    few = replace(case, latents=64, steps=WARM_UP + 1)  # the last one records and replays
    state = few.state(device=device)
    few.train(state)
    replayed = device_seconds(device, lambda: few.train(state))
    state.remove_all_but(range(few.latents - REMOVED))
    return device_seconds(device, lambda: few.train(state)) - replayed


def _kernel_seconds(case: Case, state: TrainingState, device: torch.device) -> float:
    """A step's time if its kernels followed each other at once, by the profiler; NaN where it sees none."""
    few = replace(case, steps=min(PROFILED, case.steps))
    if device.type != "cuda":
        return math.nan
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
            device_seconds(device, lambda: few.train(state))
        busy = sum(event.self_device_time_total for event in profiled.key_averages())
    except (RuntimeError, AssertionError):  # without the right to profile
        busy = 0
    return busy / 1e6 / few.steps or math.nan


def _peak_flops(effort: Effort, device: torch.device) -> float:
    a, b = torch.rand(2, effort.of(SIDE), effort.of(SIDE), device=device)
    torch.mm(a, b)
    return 2 * len(a) ** 3 / device_seconds(device, lambda: torch.mm(a, b))


def _bandwidth(effort: Effort, device: torch.device) -> float:
    """Bytes per second, read and written."""
    source = torch.empty(effort.of(COPIED), device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() * source.element_size() / device_seconds(device, lambda: target.copy_(source))
