"""What the three papers' whole suite would take on many workers: a simulation from FLOPs and this machine's speed."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from rich.progress import track

from benchmark.config.protocol import Named, load_protocol, protocol_names
from benchmark.provenance import environment
from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Results
from benchmark.suite.estimate import item_flops, measured_rate
from benchmark.suite.forecast import Placement, longest_first, place
from benchmark.suite.plan import SearchSpec, plan
from benchmark.suite.work import make_items
from benchmark.text import short_number
from tests.speed.timing import markdown

PAPERS = ("ald-", "geco-", "asperti-")  # 2312.06280, 2003.10901, 1812.07238
SEEDS = (0, 1, 2, 3, 4)
WORKERS = (1, 8, 64)
GPU_CORES = (25, 100)  # cores that one GPU is taken for; no GPU has been measured
EVALUATION_SHARE = 0.09  # of the training's time: docs/speed.md, mlp on MNIST with classifier features
ROUNDS = 5
NEAR = 1.05  # a makespan is explained by what it exceeds by less

# A training image's shape, and how many the training split has. Validation has a tenth of the official training images;
# where there is no official test split, a tenth of all is taken off for it first (benchmark/datasets/base.py).
IMAGES: dict[str, tuple[tuple[int, ...], int]] = {
    "mnist": ((1, 28, 28), 54_000),
    "fashionmnist": ((1, 28, 28), 54_000),
    "eurosat": ((3, 64, 64), 21_870),
    "sprites": ((3, 8, 64, 64), 9_448),
    "dsprites": ((1, 64, 64), 597_197),
    "shapes3d": ((3, 64, 64), 388_800),
    "cars3d": ((3, 64, 64), 14_230),
    "cifar100": ((3, 64, 64), 45_000),
    "tiles": ((1, 28, 28), 9_000),
}


@dataclass(frozen=True)
class Experiment:
    """A protocol's searches. shape, n_images: of its training split."""

    protocol: str
    specs: tuple[SearchSpec, ...]
    shape: tuple[int, ...]
    n_images: int

    @property
    def network(self) -> str:
        """What has a speed of its own: the backbone with its options, on images of this shape."""
        backbone = self.specs[0].backbone
        return f"{_options(backbone)} on {'x'.join(map(str, self.shape))}"

    def hours(self, speed: float, spread: bool = False) -> list[float]:
        """Core hours of each task, evaluations included: of searches, or where they are spread of each training too.

        speed: training FLOPs per second of a core.
        """
        specs = [replace(spec, execution="spread") for spec in self.specs] if spread else self.specs
        results = Results("results")
        items = make_items([(spec, SearchFolder(results.path / spec.search_id)) for spec in specs], results)
        flops = item_flops(items, specs, self.shape, self.n_images)
        return [(1 + EVALUATION_SHARE) * task / speed / 3600 for task in flops if task]


def experiments(names: Sequence[str], seeds: Sequence[int] = SEEDS) -> list[Experiment]:
    """These protocols' default searchers with these seeds at full budget."""
    found = []
    for name in names:
        protocol = load_protocol(name)
        shape, n_images = IMAGES[protocol.dataset.name]
        protocol = replace(protocol, training=protocol.training.with_epochs(n_images))
        found.append(Experiment(name, tuple(plan(protocol, "", protocol.run, seeds)), shape, n_images))
    return found


def paper_protocols() -> list[str]:
    """The protocols of the three papers."""
    return [name for name in protocol_names() if name.startswith(PAPERS)]


def speeds(suite: Sequence[Experiment]) -> dict[str, float]:
    """Training FLOPs per second of a core for each network, the best of a few rounds: other work only slows it down."""
    by_network = {experiment.network: experiment for experiment in suite}
    values: dict[str, list[float]] = {network: [] for network in by_network}
    for network in track(list(by_network) * ROUNDS, description="speeds"):
        values[network].append(measured_rate(by_network[network].specs[0], by_network[network].shape))
    return {network: max(measured) for network, measured in values.items()}


def suite_cells(suite: Sequence[Experiment], speed: Mapping[str, float]) -> list[list[str]]:
    """A line a protocol, and one for all: searches, their FLOPs and core hours."""
    lines, totals = [], [0.0, 0.0, 0.0, 0.0]
    for experiment in suite:
        core = speed[experiment.network]
        hours, parts = experiment.hours(core), experiment.hours(core, spread=True)
        petaflops = sum(hours) * 3600 * core / (1 + EVALUATION_SHARE) / 1e15
        numbers = [petaflops, sum(hours), max(hours), max(parts)]
        totals = [totals[0] + petaflops, totals[1] + sum(hours), *map(max, totals[2:], numbers[2:])]
        lines.append([experiment.protocol, str(len(experiment.specs)), *map(short_number, numbers)])
    header = ["", "searches", "PFLOPs", "core hours", "longest search: hours", "longest task when spread: hours"]
    searches = sum(len(experiment.specs) for experiment in suite)
    return [header, *lines, ["all", f"{searches:,}", *map(short_number, totals)]]


def speed_cells(speed: Mapping[str, float]) -> list[list[str]]:
    """A line a network."""
    return [["", "GFLOP/s of a core"], *([network, short_number(value / 1e9)] for network, value in speed.items())]


def hours_cells(suite: Sequence[Experiment], speed: Mapping[str, float]) -> list[list[str]]:
    """A line for each number of workers: hours until all is done, whole searches and spread ones, and what limits."""
    whole, spread = (
        list(chain.from_iterable(experiment.hours(speed[experiment.network], mode) for experiment in suite))
        for mode in (False, True)
    )
    header = ["", "whole searches: hours", "busy", "limited by", "spread: hours", "busy", "limited by"]
    lines = [[*header, "whole, in the protocols' order: hours"]]
    for cores in (1, *GPU_CORES):
        for workers in WORKERS:
            kind = f"CPU core{'s' * (workers > 1)}"
            if cores > 1:
                kind = f"GPU{'s' * (workers > 1)}, if one is {cores} cores"
            described = [_described([cost / cores for cost in costs], workers) for costs in (whole, spread)]
            in_order = place([cost / cores for cost in whole], workers)
            lines.append([f"{workers} {kind}", *chain(*described), short_number(in_order.makespan)])
    return lines


def _described(costs: Sequence[float], workers: int) -> list[str]:
    placement = place([costs[index] for index in longest_first(costs)], workers)
    return [short_number(placement.makespan), f"{placement.busy:.0%}", limit(placement)]


def limit(placement: Placement) -> str:
    """What the makespan follows from: the total work, the longest task, or that few long tasks do not fill rounds."""
    if placement.makespan <= NEAR * placement.longest:
        return "longest task"
    return "total work" if placement.busy >= 1 / NEAR else "coarse tasks"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed.scale", description=__doc__)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    options = parser.parse_args(arguments)
    suite = experiments(paper_protocols())
    speed = speeds(suite)
    used = environment(torch.device("cpu"), 1)
    tables = [
        f"{used['cpu']}, {os.cpu_count()} cores, 1 thread, torch {used['torch']}",
        markdown("Measured: the speed of training", speed_cells(speed)),
        markdown("Estimated: the suite on one core", suite_cells(suite, speed)),
        markdown(
            "Simulated: the suite on many workers, longest first; the speed of a GPU is assumed, not measured",
            hours_cells(suite, speed),
        ),
    ]
    text = "\n\n".join(tables) + "\n"
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


def _options(backbone: Named) -> str:
    values = ", ".join(f"{name} {value}" for name, value in backbone.options.items())
    return f"{backbone.name} ({values})" if values else backbone.name


if __name__ == "__main__":
    main()
