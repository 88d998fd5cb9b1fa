"""What the metrics after an epoch cost: against its training, and each part's share."""

import torch
from torch import Generator

from benchmark.config.protocol import Evaluation
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.errors import InputError
from benchmark.metrics.evaluation import MAX_BATCH, Evaluator
from benchmark.metrics.features import load_features
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.metrics.latents import kmeans_silhouette, label_silhouette
from benchmark.training.rng import Purpose, stream
from tests.speed.cases import CPU, MLP, SHAPES, Case, ours
from tests.speed.timing import Effort, Measure, Table, interleaved, ratio, seconds, with_threads


def evaluation(effort: Effort) -> Table:
    """What all metrics after an epoch cost, on one thread."""
    dataset, case = _mnist(effort), MLP.shortened(effort)
    features, loop = load_features("classifier", dataset, CPU), ours(case)
    evaluator = Evaluator(dataset.val, dataset.n_classes, features, Evaluation(), CPU)
    vae = case.vae().eval()
    measures: dict[str, Measure] = {
        "all": lambda: seconds(lambda: evaluator.evaluate(vae, None, stream(Purpose.EVALUATION, 0))),
        "epoch": lambda: len(dataset.train) / loop.rate(),
        **_parts(case, evaluator),
    }
    measures = {name: with_threads(1, one) for name, one in measures.items()}
    values = interleaved("mlp: metrics", effort.rounds or 5, measures)
    shares = {name: ratio(values[name], values["all"]) for name in values if name not in ("all", "epoch")}
    rest = [1 - sum(parts) for parts in zip(*shares.values(), strict=True)]
    rows = {
        "metrics / training, one epoch (time)": ratio(values["all"], values["epoch"]),
        **shares,
        "the rest: likelihoods, sigmoids, loading": rest,
    }
    return Table(f"mlp on {dataset.name}, 1 thread: metrics, and shares of their time", rows)


def _parts(case: Case, evaluator: Evaluator) -> dict[str, Measure]:
    """An evaluation's parts alone, on what it computes them on."""
    vae, features = case.vae().eval(), evaluator.features
    with torch.inference_mode():
        images = evaluator.split.take(torch.arange(len(evaluator.split))).float() / 255
        batches = images.split(MAX_BATCH)
        latents = torch.cat([vae.encode(x)[0] for x in batches])
        latents += torch.randn(latents.shape, generator=Generator().manual_seed(0))
        fake = torch.cat([features(torch.sigmoid(vae.decode(z))) for z in latents.split(MAX_BATCH)])
    sample = latents[: evaluator.n_silhouette].numpy()
    labels = evaluator.labels[: evaluator.n_silhouette]

    @torch.inference_mode()
    def passes() -> None:
        for x in batches:
            mean, _ = vae.encode(x)
            vae.decode(mean)
            vae.decode(mean)

    def extract() -> None:
        for x in batches * 2:
            features(x)

    def distances() -> None:
        for _ in ("reconstructions", "samples"):
            frechet_distance(evaluator.real_stats, feature_stats(fake))

    def silhouettes() -> None:
        kmeans_silhouette(sample, evaluator.n_clusters, seed=0)
        label_silhouette(sample, labels)

    return {
        "passes of the model": lambda: seconds(passes),
        "features": lambda: seconds(extract),
        "Frechet distances": lambda: seconds(distances),
        "K-means and silhouettes": lambda: seconds(silhouettes),
    }


def _mnist(effort: Effort) -> Dataset:
    """Metrics depend on what images show: real ones where they are to be had."""
    try:
        return load_dataset("mnist")
    except InputError:
        count = max(100, effort.of(70_000))
        shape = (count, *SHAPES["mlp"])
        images = torch.randint(256, shape, dtype=torch.uint8, generator=Generator().manual_seed(0))
        labels, train = torch.arange(count) % 10, count * 6 // 7
        return make_dataset("noise", images[:train], labels[:train], images[train:], labels[train:], 10)
