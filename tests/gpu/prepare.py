"""Makes what the real jobs share beside the other parts: decoded images, the features' classifier, baselines."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

from benchmark.config.protocol import load_protocol, override
from benchmark.config.tables import assigned
from benchmark.datasets.archives import download
from benchmark.errors import InputError
from benchmark.paths import data_root
from tests.gpu.part import Arguments, read_arguments

SEEDS = {"mnist": (0, 1, 2, 3, 4), "eurosat": (0,)}
SMALL_SEEDS = {"mnist": (0, 1), "eurosat": (0,)}


def seeds_of(name: str, is_small: bool) -> tuple[int, ...]:
    """The seeds of a job."""
    return (SMALL_SEEDS if is_small else SEEDS)[name]


def done_file(out: Path, name: str) -> Path:
    """Says how the data of a job are: empty where they are ready, else why they are not."""
    return out / f"{name}-data.txt"


def wait_for_data(name: str, arguments: Arguments, seconds: float) -> str:
    """Why the data of a job cannot be had; empty where they are ready."""
    path, begin = done_file(arguments.out, name), time.monotonic()
    while not path.exists():
        if time.monotonic() - begin > seconds:
            return f"not ready within {seconds:g} s"
        time.sleep(0.2)
    return path.read_text(encoding="utf-8")


def _no_network(url: str) -> None:
    raise URLError("make gpu uses no network")


def prepare(name: str, arguments: Arguments) -> None:
    """Makes one job's data ready, on the CPU."""
    from benchmark.suite.worker import _prepared

    protocol = override(load_protocol(f"ald-{name}"), assigned("evaluation.features", "classifier"))
    protocol = replace(protocol, seeds=seeds_of(name, arguments.is_small))
    try:
        _prepared(None, protocol, "cpu", True)  # type: ignore[arg-type]  # which says nothing of its stages
        why = ""
    except (InputError, OSError) as error:
        why = str(error)
        arguments.report.add(f"{name}'s images", f"in {data_root()}", why[:200], None)
    done_file(arguments.out, name).write_text(why, encoding="utf-8")


def main() -> None:
    """Each job's in turn."""
    arguments = read_arguments("prepare")
    download.open_url = _no_network
    for name in SEEDS:
        done_file(arguments.out, name).unlink(missing_ok=True)
    for name in SEEDS:
        prepare(name, arguments)


if __name__ == "__main__":
    sys.exit(main())
