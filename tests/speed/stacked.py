"""Trainings as one stacked model against the same ones in turn and in processes of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.store.folders import TrialFolder
from benchmark.suite.population import Population
from benchmark.suite.problem import TrainingRun
from tests.speed.cases import CONV, CPU, MLP, Case, Loop, in_turn, ours, together
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio, with_threads

SIZES = (4, 8, 16, 32, 64)  # grid's
SEEDS = 3
MEMBERS = (1, 2, 5, 15, 30)
AT_LEAST = 4.0  # seconds of trainings in processes of their own


def measure(effort: Effort) -> list[Table]:
    """Both backbones, and how the rate grows with the number of members."""
    mlp, conv = replace(MLP, steps=30).shortened(effort), replace(CONV, steps=4).shortened(effort)
    many, few = [replace(mlp, latents=n) for n in SIZES * SEEDS], [replace(conv, latents=n) for n in SIZES]
    return [_against_alone("mlp", many, effort), _against_alone("conv", few, effort), _growth(mlp, effort)]


def stacked(cases: Sequence[Case], device: torch.device = CPU) -> Loop:
    """Trainings that differ in size and seed alone, as one model."""
    members = [
        TrainingRun(TrialFolder(Path("never-written")), case.latents, (seed, 0), case.state(device=device))
        for seed, case in enumerate(cases)
    ]
    population = Population(members, cases[0].settings, [cases[0].split(device)] * len(members))
    population.train_epoch(1)
    return Loop(lambda: population.train_epoch(1), sum(case.images_per_run for case in cases))


def _against_alone(title: str, cases: Sequence[Case], effort: Effort) -> Table:
    model, alone = stacked(cases), in_turn([ours(case) for case in cases])
    shares = [cases[first :: effort.threads] for first in range(min(effort.threads, len(cases)))]
    measures: dict[str, Measure] = {
        "alone": with_threads(1, alone.rate),
        "one": with_threads(1, model.rate),
        "all": with_threads(effort.threads, model.rate),
        "processes": lambda: together(shares, AT_LEAST * effort.scale)[0],
    }
    rates = interleaved(f"stacked: {title}", effort.rounds or 3, measures)
    rows = {
        "in turn, 1 thread: images/s together": rates["alone"],
        "stacked, 1 thread: images/s together": rates["one"],
        f"stacked, {effort.threads} threads: images/s together": rates["all"],
        f"{len(shares)} processes of 1 thread: images/s together": rates["processes"],
        "stacked / in turn, 1 thread": ratio(rates["one"], rates["alone"]),
        f"stacked, {effort.threads} threads / in turn": ratio(rates["all"], rates["alone"]),
        f"stacked, {effort.threads} threads / {len(shares)} processes": ratio(rates["all"], rates["processes"]),
    }
    return Table(f"{title}: {len(cases)} trainings of {SIZES[0]} to {SIZES[-1]} latents", rows)


def _growth(case: Case, effort: Effort) -> Table:
    measures = {
        f"{count} stacked, 1 thread: images/s together": with_threads(1, stacked([case] * count).rate)
        for count in MEMBERS
    }
    rows = interleaved("stacked: members", effort.rounds or 3, measures)
    return Table(f"mlp: the number of trainings, {case.latents} latents each", rows)
