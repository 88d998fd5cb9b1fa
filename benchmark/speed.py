"""`make bench`: our training loop against a plain PyTorch loop, interleaved in the same process.

Ratios are what counts: machines are shared and noisy, so each is printed with its spread over the rounds.
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from benchmark.backbones.export import build_vae
from benchmark.backbones.linear import Linear
from benchmark.config import Evaluation, Training
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split, make_dataset
from benchmark.errors import InputError
from benchmark.machine import limit_threads
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import load_features
from benchmark.pool import Task, run_tasks
from benchmark.streams import Purpose, stream
from benchmark.training import new_state, train_epoch
from searchers.base import Controller, FixedSize
from searchers.geco_l0arm import GecoController
from searchers.objectives import bernoulli_nll, kl_per_dim

ROUNDS = 7
STEPS = 300
BATCH = 64
LATENTS = 16
PAIR_SECONDS = 4.0


def main() -> None:
    """Prints the table, and the same numbers as JSON on the last line."""
    threads = torch.get_num_threads()
    dataset = _mnist()
    plain, ours, geco = plain_loop(dataset.train), our_loop(dataset.train), our_loop(dataset.train, gated=True)
    rates: dict[str, list[float]] = {name: [] for name in ("gemm", "plain", "ours", "geco", "pair", "evaluation")}
    for _ in track(range(ROUNDS), description="rounds"):
        limit_threads(threads)
        rates["gemm"].append(_gemm_rate())
        rates["plain"].append(_rate(plain))
        rates["ours"].append(_rate(ours))
        rates["geco"].append(_rate(geco))
        rates["pair"].append(_pair_rate())
    limit_threads(1)
    evaluate = _evaluation(dataset)
    one_epoch_steps = len(dataset.train) // BATCH
    for _ in track(range(3), description="metrics"):
        rate = _rate(ours)
        start = time.perf_counter()
        evaluate()
        rates["evaluation"].append((time.perf_counter() - start) / (one_epoch_steps * BATCH / rate))
    _print(rates, threads, dataset.name)


def plain_loop(split: Split) -> Callable[[int], None]:
    """A trainer as most people write it: float images in memory, an index gather a batch, unfused Adam."""
    images = split.images[split.rows].flatten(1).float() / 255
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU())
    heads = nn.ModuleList([nn.Linear(400, LATENTS), nn.Linear(400, LATENTS)])
    layers = (nn.Linear(LATENTS, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 784))
    decoder = nn.Sequential(*layers)
    parameters = [*encoder.parameters(), *heads.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    generator = torch.Generator().manual_seed(0)

    def run(steps: int) -> None:
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            x = images[order[step * BATCH : (step + 1) * BATCH]]
            h = encoder(x)
            mean, logvar = heads[0](h), heads[1](h)
            z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
            loss = bernoulli_nll(decoder(z), x) + kl_per_dim(mean, logvar).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def our_loop(split: Split, gated: bool = False) -> Callable[[int], None]:
    """The bench's own loop, of plain ELBO training or of GECO with gates."""
    controller: Controller = GecoController(LATENTS, tau=10.0) if gated else FixedSize()
    state = new_state(build_vae("mlp", {}, tuple(split.images.shape[1:]), LATENTS, seed=0), controller, 1e-3)

    def run(steps: int) -> None:
        part = Split(split.images, split.labels, split.rows[: steps * BATCH])
        train_epoch(state, part, Training(batch_size=BATCH), stream(Purpose.ORDER, 0), stream(Purpose.NOISE, 0))

    return run


def one_of_a_pair(connection: Connection, start_at: float) -> None:
    """A worker with one thread: trains for some seconds from a common start and sends its images per second."""
    limit_threads(1)
    torch.set_flush_denormal(True)
    run = our_loop(_mnist().train)
    run(STEPS)
    time.sleep(max(0.0, start_at - time.time()))
    images, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < PAIR_SECONDS:
        run(STEPS)
        images += STEPS * BATCH
    connection.send(images / (time.perf_counter() - begin))


def _pair_rate() -> float:
    rates: list[float] = []
    task = Task("benchmark.speed:one_of_a_pair", (time.time() + 4.0,))
    run_tasks(2, 2, lambda _: task, lambda _, rate: rates.append(rate), lambda _, death: False)
    return sum(rates)


def _rate(run: Callable[[int], None]) -> float:
    run(STEPS // 10)
    start = time.perf_counter()
    run(STEPS)
    return STEPS * BATCH / (time.perf_counter() - start)


def _gemm_rate() -> float:
    """Images per second if a training step's matrix products ran at the machine's float32 peak."""
    layer, x = Linear(1024, 1024), torch.rand(1024, 1024)
    with torch.inference_mode():
        start = time.perf_counter()
        for _ in range(20):
            layer(x)
    flops = 20 * 2 * 1024**3 / (time.perf_counter() - start)
    weights = 784 * 400 + 400 * 400 + 2 * 400 * LATENTS + LATENTS * 400 + 400 * 400 + 400 * 784
    return flops / (3 * 2 * weights - 2 * 784 * 400)  # forward, two products backward, none for the input's gradient


def _evaluation(dataset: Dataset) -> Callable[[], object]:
    device = torch.device("cpu")
    features = load_features("classifier", dataset, device)
    evaluator = Evaluator(dataset.val, dataset.n_classes, features, Evaluation(), device)
    vae = build_vae("mlp", {}, dataset.image_shape, LATENTS, seed=0).eval()
    return lambda: evaluator.evaluate(vae, None, stream(Purpose.EVALUATION, 0))


def _mnist() -> Dataset:
    try:
        return load_dataset("mnist")
    except InputError:
        images = torch.randint(256, (70_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(70_000) % 10
        return make_dataset("noise", images[:60_000], labels[:60_000], images[60_000:], labels[60_000:], 10)


def _print(rates: dict[str, list[float]], threads: int, data: str) -> None:
    def ratio(a: str, b: str) -> list[float]:
        return [x / y for x, y in zip(rates[a], rates[b], strict=True)]

    rows = {
        f"plain loop, {threads} threads: images/s": rates["plain"],
        f"ours, {threads} threads: images/s": rates["ours"],
        "ours / plain": ratio("ours", "plain"),
        "two trainers of 1 thread: images/s": rates["pair"],
        f"two of 1 thread / one of {threads}": ratio("pair", "ours"),
        "two of 1 thread / plain": ratio("pair", "plain"),
        "two of 1 thread / float32 GEMM peak": ratio("pair", "gemm"),
        "GECO/L0-ARM step / plain ELBO step (time)": ratio("ours", "geco"),
        "metrics / training, one epoch (time)": rates["evaluation"],
    }
    table = Table(title=f"mlp 784-400-400, {LATENTS} latents, batch {BATCH}, {data}, CPU")
    for column in ("", "median", "min", "max"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, values in rows.items():
        digits = max(0, 3 - math.ceil(math.log10(max(values))))
        table.add_row(
            name, *(f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
        )
    Console().print(table)
    print(json.dumps({name: statistics.median(values) for name, values in rows.items()}))


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
