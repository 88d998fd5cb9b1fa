"""The convolutional backbone: our loop against a plain one."""

from dataclasses import replace

from benchmark.config.protocol import Training
from tests.speed.cases import CONV, ours, plain_loop
from tests.speed.timing import Effort, Table, interleaved, ratio, with_threads


def measure(effort: Effort) -> list[Table]:
    """With all threads and with one."""
    case = CONV.shortened(effort)
    bf16 = replace(case, training=Training(precision="bf16"))
    loops = {"plain": plain_loop(case), "float32": ours(case), "bf16": ours(bf16)}
    counts = sorted({effort.threads, 1})
    measures = {f"{name} {n}": with_threads(n, loop.rate) for n in counts for name, loop in loops.items()}
    rates = interleaved("conv: training", effort.rounds or 5, measures)
    rows: dict[str, list[float]] = {}
    for n in counts:
        label = f"{n} thread{'s' * (n > 1)}"
        rows[f"plain loop, {label}: images/s"] = rates[f"plain {n}"]
        rows[f"ours, {label}: images/s"] = rates[f"float32 {n}"]
        rows[f"ours / plain, {label}"] = ratio(rates[f"float32 {n}"], rates[f"plain {n}"])
        rows[f"ours in bf16 / plain, {label}"] = ratio(rates[f"bf16 {n}"], rates[f"plain {n}"])
    return [Table(f"conv, 3x64x64, {case.latents} latents, batch {case.training.batch_size}, noise, CPU", rows)]
