"""Time to quality: what a training costs until its validation NLL is at most a target, ours against two others.

All have the same network, on one thread, and evaluations are outside the clock. Ours has a schedule, and with it a
budget: of the runs with 0.5, 1, 2, ... epochs the first that reaches the target is the one counted. The others are
evaluated every quarter of an epoch.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.errors import InputError
from benchmark.machine import limit_threads
from benchmark.text import short_number
from tests.speed.problem import STDERR, Point, QualityCase, load_problem
from tests.speed.timing import Effort
from tests.speed.trainers import trainers

CASES = {  # the target of sprites: what ours has after an epoch, which at 16 batches is still above the mean image's
    "mnist": QualityCase("mnist", "mlp", 16, nats=(90.0,)),
    "eurosat": QualityCase("eurosat", "conv", 32, pca=(8, 16), budgets=(2.0, 4.0), seconds=300.0),
    "mnist-geco-conv": QualityCase("mnist", "geco-conv", 16, nats=(90.0,), seconds=120.0),
    "sprites": QualityCase(
        *("sprites", "video", 16, (24_600.0,)), train_images=1_000, val_images=100, budgets=(1.0, 2.0), seconds=120.0
    ),
}


@dataclass(frozen=True)
class QualityTable:
    """What each trainer needed to reach a target. points: its evaluations by trainer; None: not installed."""

    title: str
    target: float
    points: Mapping[str, Sequence[Point] | None]

    def reached(self, name: str) -> Point | None:
        """The first point at or below the target."""
        return next((point for point in self.points[name] or () if point.nats <= self.target), None)

    def numbers(self) -> dict[str, dict[str, float]]:
        """A trainer's cost at the target; where it did not reach it, its best NLL and the epochs and seconds used."""
        rows = {}
        for name, points in self.points.items():
            point = self.reached(name)
            if point:
                rows[name] = vars(point) | {"reached": 1.0}
            elif points:
                most = max(points, key=lambda point: point.epochs)
                used = {"epochs": most.epochs, "cpu_seconds": most.cpu_seconds}
                rows[name] = used | {"nats": min(point.nats for point in points), "reached": 0.0}
        return rows

    def cells(self) -> list[list[str]]:
        """The header, then a line a trainer; > is what it had used without reaching the target."""
        numbers = self.numbers()
        first = numbers.get("ours", {"reached": 0.0})
        lines = [["", "epochs", "images", "TFLOPs", "CPU s", "wall s", "nats", "CPU s / ours"]]
        for name in self.points:
            row = numbers.get(name)
            if row is None:
                lines.append([name, "not installed", *[""] * 6])
                continue
            ratio = short_number(row["cpu_seconds"] / first["cpu_seconds"]) if first["reached"] else ""
            nats = f"{row['nats']:,.1f}"
            if row["reached"]:
                costs = row["epochs"], row["images"], row["flops"] / 1e12, row["cpu_seconds"], row["wall_seconds"]
                lines.append([name, *map(short_number, costs), nats, ratio])
            else:
                within, seconds = f"not within {short_number(row['epochs'])}", f"> {short_number(row['cpu_seconds'])}"
                lines.append([name, within, "", "", seconds, "", f"best {nats}", ratio and f"> {ratio}"])
        return lines


def measure(effort: Effort) -> list[QualityTable]:
    """A table for each target of each case; effort.scale does not shorten them, effort.seconds does."""
    limit_threads(1)
    return [table for name in effort.cases or CASES for table in _tables(name, effort)]


def _tables(name: str, effort: Effort) -> list[QualityTable]:
    case = CASES[name] if effort.seconds is None else replace(CASES[name], seconds=effort.seconds)
    try:
        problem = load_problem(case)
    except InputError as error:
        STDERR.print(f"quality: {name} left out: {error}", markup=False)
        return []
    STDERR.print(f"quality: {name}: {'; '.join(problem.targets)}", markup=False)
    points: dict[str, Sequence[Point] | None] = {}
    for trainer, train in trainers().items():
        STDERR.print(f"quality: {name}, {trainer}", markup=False)
        points[trainer] = train and train(problem)
    network = f"{case.backbone}, {case.latents} latents, {case.dataset}, {len(problem.train):,} images"
    load = f"1 thread, load {os.getloadavg()[0]:.1f}"
    return [QualityTable(f"{network}: {label}, {load}", nats, points) for label, nats in problem.targets.items()]
