"""From a time limit to a budget of epochs, decided once and kept beside the results."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmark.config.protocol import Protocol
from benchmark.errors import Damaged
from benchmark.store.atomic_files import read_json, write_json
from benchmark.suite.plan import SearchSpec, short_hash
from benchmark.text import duration_text

PLANNED = 0.85  # of the time limit; the rest is for what takes longer than it was measured
REPORT_SECONDS = 20.0  # of one search's page, on a busy machine
FEW_EPOCHS = 5


@dataclass(frozen=True)
class Speed:
    """What a search costs on this machine, in seconds: an epoch of the budget, and all else, the page included."""

    epoch_seconds: float
    other_seconds: float


@dataclass(frozen=True)
class Budget:
    """What a suggestion trains with. full: the protocol's epochs. limit: seconds, None without one; spent: of it.

    threads: of the CPU. speed: None where nothing was measured, since there is no limit.
    """

    epochs: int
    full: int
    threads: int
    limit: float | None = None
    spent: float = 0.0
    speed: Speed | None = None

    def training(self, protocol: Protocol, n_images: int) -> Protocol:
        """The protocol with this budget as a scale of its own."""
        training = replace(protocol.training, threads=self.threads)
        if self.epochs < self.full:
            training = replace(training, scale=self.epochs / training.unscaled_epochs(n_images))
        return replace(protocol, training=training)

    def sentences(self) -> list[str]:
        """What the limit allows, and that it is too short where it allows fewer than 5 epochs."""
        if self.limit is None or self.speed is None:
            return [f"No time limit: {_epochs(self.full)}, as the protocol says; --time-limit 30m would set one."]
        before = self.spent + self.speed.other_seconds
        times = [before + epochs * self.speed.epoch_seconds for epochs in (self.full, self.epochs)]
        if self.epochs == self.full:
            return [f"{_epochs(self.full)}, as the protocol says, fit into the limit: about {duration_text(times[0])}."]
        limit = duration_text(self.limit)
        allows = f"{100 * PLANNED:.0f} % of the limit of {limit} are planned with and allow {self.epochs}"
        if times[1] > self.limit:
            allows = f"the limit of {limit} is too short even for one"
        lines = [f"{_epochs(self.full)} would take about {duration_text(times[0])}; {allows}."]
        if self.epochs < FEW_EPOCHS:
            enough = before + min(FEW_EPOCHS, self.full) * self.speed.epoch_seconds
            lines.append(f"That is too little to trust a size: give {duration_text(enough / PLANNED)} or more.")
        return lines


def budget_for(limit: float, spent: float, speed: Speed, full: int, threads: int) -> Budget:
    """As many epochs as end within the limit, at least 1. spent: seconds of the limit that are over."""
    left = PLANNED * limit - spent - speed.other_seconds
    epochs = min(full, max(1, int(left / speed.epoch_seconds)))
    return Budget(epochs, full, threads, limit, spent, speed)


def budget_file(results: Path, spec: SearchSpec, limit: float | None, asked_threads: int | None) -> Path:
    """The file of the budget, named by what it follows from: not by the seed, so that seeds have the same one."""
    given = [spec.protocol_hash, spec.searcher, dict(spec.settings), spec.device, limit, asked_threads]
    return results / "budgets" / f"budget-{short_hash(given)}.json"


def read_budget(path: Path) -> Budget | None:
    """The budget that was decided before; None where there is none, or its file is damaged."""
    try:
        content = read_json(path)
        speed = content.pop("speed")
        return Budget(**content, speed=None if speed is None else Speed(**speed))
    except (FileNotFoundError, Damaged):
        return None


def write_budget(path: Path, budget: Budget) -> None:
    """Writes the budget, atomically."""
    write_json(path, asdict(budget))


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
