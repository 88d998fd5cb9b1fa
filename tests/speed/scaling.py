"""How time and memory of training grow with the images, the latents, the batch and the number of processes."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.progress import track

from benchmark.config.protocol import Training
from tests.speed.cases import MLP, Case, together
from tests.speed.timing import Effort, Table

IMAGES = (1_000, 4_000, 16_000, 60_000)
LATENTS = (2, 16, 64, 256)
BATCHES = (16, 64, 256, 1_024)
EPOCH = 16_000  # images, where it is not their number that changes
AT_LEAST = 4.0  # seconds of trainings side by side

Series = Mapping[int, Sequence[float]]  # a setting's values over the rounds


def measure(effort: Effort) -> list[Table]:
    """Each epoch is trained in a fresh process of one thread, whose peak memory is its own."""
    rounds = effort.rounds or 3
    epoch = _epoch(effort.of(EPOCH), Training())
    cases = {
        "images": {n: _epoch(effort.of(n), Training()) for n in IMAGES},
        "latents": {n: replace(epoch, latents=n) for n in LATENTS},
        "images a batch": {n: _epoch(effort.of(EPOCH), Training(batch_size=n)) for n in BATCHES},
    }
    named = [(kind, n, case) for kind, series in cases.items() for n, case in series.items()]
    times: dict[str, dict[int, list[float]]] = {kind: {n: [] for n in series} for kind, series in cases.items()}
    memory: dict[str, dict[int, list[float]]] = {kind: {n: [] for n in series} for kind, series in cases.items()}
    for kind, n, case in track(named * rounds, description="scaling: epochs"):
        rate, mebibytes = together([[case]])
        times[kind][n].append(case.images_per_run / rate)
        memory[kind][n].append(mebibytes)
    jobs = sorted({1, 2, *(2**i for i in range(effort.threads.bit_length())), effort.threads})
    rates: dict[int, list[float]] = {n: [] for n in jobs}
    memory["processes"] = {n: [] for n in jobs}
    for n in track(jobs * rounds, description="scaling: processes"):
        rate, mebibytes = together([[epoch]] * n, AT_LEAST * effort.scale)
        rates[n].append(rate)
        memory["processes"][n].append(mebibytes)
    about = f"mlp: {EPOCH:,} images, 16 latents, batch 64, 1 process of 1 thread, unless the row says otherwise"
    resident = _table(f"peak resident memory, MiB together; {about}", memory)
    imports = {"imports alone": [together([[]])[1]]}
    return [
        _table(f"seconds of an epoch; {about}", times),
        _table("mlp: images/s together", {"processes": rates}),
        replace(resident, rows={**imports, **resident.rows}),
    ]


def _epoch(images: int, training: Training) -> Case:
    """One pass over this many."""
    batch_size = min(images, training.batch_size)
    return replace(MLP, images=images, steps=images // batch_size, training=replace(training, batch_size=batch_size))


def _table(title: str, kinds: Mapping[str, Series]) -> Table:
    rows: dict[str, Sequence[float]] = {}
    exponents: dict[str, float] = {}
    for kind, series in kinds.items():
        for n, values in series.items():
            rows[f"{n:,} {kind}"] = values
        exponents |= {f"{n:,} {kind}": slope for n, slope in growth(series).items()}
    return Table(title, rows, exponents)


def growth(series: Series) -> dict[int, float]:
    """The exponent from each setting to the next, of medians: 0 does not grow, 1 is linear."""
    medians = {n: statistics.median(values) for n, values in series.items()}
    pairs = zip(list(medians)[:-1], list(medians)[1:], strict=True)
    return {b: math.log(medians[b] / medians[a]) / math.log(b / a) for a, b in pairs}
