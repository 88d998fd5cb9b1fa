"""What `latentbench suggest` is asked for. Without torch, so that bad input is refused at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.config.protocol import Protocol, dataset_protocol, override
from benchmark.config.tables import Table, assigned, parse_assignment
from benchmark.datasets import check_dataset_name
from benchmark.errors import InputError
from benchmark.paths import is_url, path_argument

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Request:
    """What was asked for. protocol: with what is to run, for `suggest` one searcher with one seed.

    limit: seconds for all of it, None without one. started: when the command began, by `time.monotonic`. asked_threads:
    where the user chose their number. asks_space: the user chose the sizes; else a small table has fewer. executor,
    jobs: see `benchmark.suite.runner.Suite`. makes_page: within the limit.
    """

    protocol: Protocol
    results: Path
    device: str
    limit: float | None
    started: float
    asked_threads: int | None = None
    asks_space: bool = False
    executor: str = "local"
    jobs: int = 1
    makes_page: bool = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `latentbench suggest`."""
    parser.add_argument("data", help="a dataset's name, folder:PATH or array:PATH")
    limit = "such as 90s, 30m or 2h: fewer epochs, so that the answer is there in time (default: the protocol's epochs)"
    parser.add_argument("--time-limit", type=duration_argument, metavar="TIME", help=limit)
    parser.add_argument("--searcher", default="nested", help="a name (see list), or your own as module:Class")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    value = "any value of the protocol, such as space.high=256; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=value)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (Apple's)")
    parser.add_argument("--results", type=path_argument, default=Path("results"), help="a folder (default: results)")


def read_request(options: argparse.Namespace, started: float) -> Request:
    """The request behind these options. Raises InputError where one does not fit."""
    if is_url(options.results) or str(options.results).partition(":/")[1]:  # a Path has one slash of a URL's two
        raise InputError(f"results is {options.results}; expected a folder on this machine")
    check_dataset_name(options.data)
    changes = [parse_assignment(text) for text in options.set]
    own = {"dataset.name": options.data, "run": [options.searcher], "seeds": [options.seed]}
    changes += [assigned(key, value) for key, value in own.items()]
    base = dataset_protocol(options.data)
    protocol = override(base, *changes, trimmed_sizes(base, changes))
    asks_threads = any("threads" in change.get("training", {}) for change in changes)
    threads = protocol.training.threads if asks_threads else None
    asks_space = any("space" in change for change in changes)
    return Request(protocol, options.results, options.device, options.time_limit, started, threads, asks_space)


def trimmed_sizes(base: Protocol, changes: Sequence[Table]) -> Table:
    """The base's sizes between a low and a high that came without sizes, and that high: a table for `override`."""
    asked: Table = {}
    for change in changes:
        asked |= change["space"] if isinstance(change.get("space"), Mapping) else {}
    low, high, sizes = asked.get("low", base.space.low), asked.get("high", base.space.high), base.space.sizes
    if "sizes" in asked or not (isinstance(low, int) and isinstance(high, int) and low <= high):
        return {}
    kept = [size for size in sizes if low <= size <= high]
    kept += [high] if high < sizes[-1] and high not in kept or not kept else []
    return {} if kept == list(sizes) else {"space": {"sizes": kept}}


def duration_argument(argument: str) -> float:
    """Reads a duration such as 90s, 30m or 2h: seconds. Use it as argparse's `type`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", argument)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"got {argument!r}; expected a number above 0 with s, m or h, such as 30m")
    return seconds
