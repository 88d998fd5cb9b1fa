"""How fast a step, stacked trainings, a new recording and an epoch's evaluation are, and what they should take."""

import json
import math
import sys
from dataclasses import replace

import torch

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import load_protocol
from benchmark.datasets import load_dataset
from benchmark.datasets.base import copy_splits
from benchmark.machine import limit_threads
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import load_features
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.training.loop import train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import new_state
from searchers.base import FixedSize
from tests.gpu.part import Arguments, read_arguments
from tests.gpu.prepare import wait_for_data
from tests.speed.gpu import MEMBERS, device_seconds, measure
from tests.speed.timing import Effort, markdown

PROTOCOLS = {"mnist": "ald-mnist", "eurosat": "eurosat"}  # of the real jobs
FLOOR = "replayed / floor of float32 GEMM and Adam's bytes (time)"
LATENTS, TRIES, WAIT = 32, 3, 10.0
KEEPS, KEEPS_AT_ALL = 10.0, 3.0  # stacked trainings / one, images a second: what is wanted; below this stacking goes


def steps(arguments: Arguments) -> dict[str, float]:
    """The table of `python -m tests.speed gpu`; returns the stacked images a second of the mlp."""
    report, counts = arguments.report, not arguments.is_small
    effort = Effort(rounds=1, scale=0.02, threads=1) if arguments.is_small else Effort(rounds=3)
    members = 2 if arguments.is_small else MEMBERS
    tables = measure(effort, torch.device(arguments.device), members)
    text = "\n\n".join(markdown(table.title, table.cells()) for table in tables)
    (arguments.out / "speed.md").write_text(text + "\n", encoding="utf-8")
    rates = {}
    for table in tables:
        backbone = table.title.partition(" ")[0]
        of = {row: numbers["median"] for row, numbers in table.numbers().items()}
        rates[backbone] = of["replayed step: ms"] / 1e3
        stacked = of[f"{members} stacked trainings / one: images/s"]
        rates[f"{backbone} stacked"] = rates[backbone] * members / stacked
        report.add(f"{backbone}: a step, eager and replayed", "", f"{of['eager step: ms']:.3g} and "
                   f"{of['replayed step: ms']:.3g} ms")  # fmt: skip
        is_mlp = counts and backbone == "mlp"
        report.at_least(f"{backbone}: eager / replayed (time)", of["eager / replayed (time)"], 3, counts=is_mlp)
        own = of["replayed / its kernels alone (time)"]
        if math.isnan(own):
            report.add(f"{backbone}: replayed / its kernels alone (time)", "at most 2", "the profiler sees no kernels")
        else:
            report.at_most(f"{backbone}: replayed / its kernels alone (time)", own, 2, counts=is_mlp)
        report.add(
            f"{backbone}: replayed / floor of products and Adam's bytes",
            "",
            f"{of[FLOOR]:.3g}",
        )
        report.at_least(f"{backbone}: {members} stacked trainings / one (images/s)", stacked, KEEPS, counts=is_mlp)
        report.add(
            f"{backbone}: the rule of docs/speed.md",
            f"stacking stays from {KEEPS_AT_ALL:g} on",
            "stays" if stacked >= KEEPS_AT_ALL else "goes",
            stacked >= KEEPS_AT_ALL if is_mlp else None,
        )
        again = of["recording the step anew after a removal: ms"]
        report.at_most(f"{backbone}: recording anew after a removal", again, 50, " ms", counts=counts)
    return rates


def evaluations(name: str, arguments: Arguments) -> dict[str, float]:
    """An epoch's evaluation against its training, on the images of a real job; returns the seconds of both."""
    report, device = arguments.report, torch.device(arguments.device)
    protocol = load_protocol(PROTOCOLS[name])
    dataset = load_dataset(name)
    few = 200 if arguments.is_small else protocol.evaluation.max_images
    train, val = copy_splits([dataset.train, dataset.val.sample(few)], device)
    evaluator = Evaluator(
        val, dataset.n_classes, load_features("classifier", dataset, device), protocol.evaluation, device
    )
    backbone = protocol.backbone
    vae = build_vae(backbone.name, backbone.options, dataset.image_shape, LATENTS, seed=0).to(device)
    settings = replace(protocol.training, epoch_batches=8 if arguments.is_small else 200)
    state = new_state(vae, FixedSize().to(device), settings.learning_rate)

    def epoch() -> None:
        train_epoch(state, train, settings, stream(Purpose.ORDER, 0), stream(Purpose.NOISE, 0, device=device))

    def evaluate() -> None:
        vae.eval()
        evaluator.evaluate(vae, None, stream(Purpose.EVALUATION, 0, device=device))

    seconds = {}
    for what, work in (("training", epoch), ("evaluation", evaluate)):
        work()
        seconds[what] = min(device_seconds(device, work) for _ in range(TRIES))
    seconds["training"] *= protocol.training.steps_per_epoch(len(train)) / settings.steps_per_epoch(len(train))
    share = seconds["evaluation"] / seconds["training"]
    report.at_most(f"{name}: evaluation / training of an epoch (time)", share, 0.2, counts=not arguments.is_small)
    report.add(f"{name}: an epoch", "", ", ".join(f"{what} {1e3 * value:.1f} ms" for what, value in seconds.items()))
    features = torch.rand(len(val), 64, device=device)
    stats = feature_stats(features)
    parts = {
        "K-means and silhouettes": lambda: evaluator._silhouettes(
            torch.randn(evaluator.n_silhouette, LATENTS, device=device),
            torch.ones(LATENTS, dtype=torch.bool, device=device),
            evaluator.labels[: evaluator.n_silhouette],
            0,
        ),
        "two Frechet distances of 64 features": lambda: [
            frechet_distance(stats, feature_stats(features)) for _ in "ab"
        ],
    }
    for what, part in parts.items():
        part()
        report.add(f"{name}: {what}", "", f"{1e3 * min(device_seconds(device, part) for _ in range(TRIES)):.2f} ms")
    return seconds


def inceptions_distance(arguments: Arguments) -> None:
    """The Frechet distance of 2,048 features, which a GPU may decompose more slowly than the host."""
    count = 100 if arguments.is_small else 6_000
    for name in dict.fromkeys((arguments.device, "cpu")):
        device = torch.device(name)
        stats = feature_stats(torch.rand(count, 2048, device=device))
        seconds = device_seconds(device, lambda stats=stats: frechet_distance(stats, stats))  # type: ignore[misc]
        arguments.report.add(f"Frechet distance of 2,048 features, on {name}", "", f"{1e3 * seconds:.0f} ms")


def main() -> None:
    """The steps and MNIST's epochs, or EuroSAT's epochs; notes what an epoch of each real job takes."""
    arguments = read_arguments("speed")
    (name,) = arguments.names
    path = arguments.out / "epoch-seconds.json"
    limit_threads(1)
    torch.set_flush_denormal(True)
    if name == "mnist":
        path.unlink(missing_ok=True)
        rates = steps(arguments)
        inceptions_distance(arguments)
    why = wait_for_data(name, arguments, WAIT)
    if why:
        arguments.report.add(f"{name}: an evaluation", "", f"not measured: {why[:150]}")
        return
    found = evaluations(name, arguments)
    if name == "mnist":  # 6 sizes x 5 seeds, evaluated every tenth epoch
        seconds = found["training"] * rates["mlp stacked"] / rates["mlp"] + MEMBERS * found["evaluation"] / 10
    else:  # two searches
        seconds = 2 * sum(found.values())
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, name: seconds}), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
