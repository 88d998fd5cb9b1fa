"""The GPU: steps launched one kernel at a time and replayed as a graph, against what bytes and operations allow."""

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmark.machine import set_determinism
from benchmark.training.clock import Clock
from benchmark.training.cuda_graph import WARM_UP
from searchers.base import FixedSize
from tests.speed.cases import CONV, MLP, REMOVED, Case
from tests.speed.stacked import stacked
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio

COPIED = 2**28  # floats: beyond any cache
SIDE = 8192  # of the matrices that show the peak
ADAM_TRAFFIC = 7  # a parameter and its two moments are read and written, its gradient read
STEPS = {"mlp": 500, "conv": 200}
MEMBERS = 30


class _Eager(FixedSize):
    @property
    def capturable(self) -> bool:
        return False


def measure(effort: Effort) -> list[Table]:
    """Both backbones."""
    set_determinism(False)
    return [_backbone(replace(case, steps=STEPS[case.backbone]).shortened(effort), effort) for case in (MLP, CONV)]


def _seconds(work: Callable[[], object]) -> float:
    laps: list[float] = []
    with Clock(torch.device("cuda")).lap(laps):
        work()
    return laps[0]


def _backbone(case: Case, effort: Effort) -> Table:
    device = torch.device("cuda")
    case = replace(case, images=max(case.images, case.steps * case.training.batch_size))  # no shorter runs
    eager, captured = case.state(_Eager(), device), case.state(device=device)
    case.train(captured)  # records the step
    many = stacked([replace(case, steps=max(2, case.steps // 10))] * MEMBERS, device)
    flops = captured.flops_per_step or 0
    adam_bytes = ADAM_TRAFFIC * sum(p.numel() * p.element_size() for p in captured.vae.parameters())
    measures: dict[str, Measure] = {
        "eager": lambda: _seconds(lambda: case.train(eager)) / case.steps,
        "captured": lambda: _seconds(lambda: case.train(captured)) / case.steps,
        "floor": lambda: flops / _peak_flops(effort) + adam_bytes / _bandwidth(effort),
        "one": lambda: case.images_per_run / _seconds(lambda: case.train(captured)),
        "many": lambda: many.images / _seconds(many.run),
        "recapture": lambda: _recapture(case),
    }
    values = interleaved(f"gpu: {case.backbone}", effort.rounds or 5, measures)
    rows = {
        "eager step: ms": [1e3 * value for value in values["eager"]],
        "replayed step: ms": [1e3 * value for value in values["captured"]],
        "eager / replayed (time)": ratio(values["eager"], values["captured"]),
        "replayed / floor of float32 GEMM and Adam's bytes (time)": ratio(values["captured"], values["floor"]),
        f"{MEMBERS} stacked trainings / one: images/s": ratio(values["many"], values["one"]),
        "recording the step anew after a removal: ms": [1e3 * value for value in values["recapture"]],
    }
    return Table(f"{case.backbone} on {torch.cuda.get_device_name(device)}, batch {case.training.batch_size}", rows)


def _recapture(case: Case) -> float:
    """Seconds that the steps until the new recording take, beyond as many replayed ones."""
    few = replace(case, latents=64, steps=WARM_UP + 1)  # the last one records and replays
    state = few.state(device=torch.device("cuda"))
    few.train(state)
    replayed = _seconds(lambda: few.train(state))
    state.remove_all_but(range(few.latents - REMOVED))
    return _seconds(lambda: few.train(state)) - replayed


def _peak_flops(effort: Effort) -> float:
    a, b = torch.rand(2, effort.of(SIDE), effort.of(SIDE), device="cuda")
    torch.mm(a, b)
    return 2 * len(a) ** 3 / _seconds(lambda: torch.mm(a, b))


def _bandwidth(effort: Effort) -> float:
    """Bytes per second, read and written."""
    source = torch.empty(effort.of(COPIED), device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() * source.element_size() / _seconds(lambda: target.copy_(source))
