"""What happens in a worker process: preparing the data, trainings, or one search up to the exported model."""

import errno
import hashlib
import os
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimiser needs it; imported here, it takes no seconds of the search's clock

from benchmark.backbones.build import build_vae
from benchmark.backbones.model_file import save_model
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Protocol
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split, copy_splits
from benchmark.datasets.likelihoods import for_likelihood, resolved_likelihood
from benchmark.errors import InputError
from benchmark.machine import limit_threads, reset_peak_memory, resolve_device, set_determinism
from benchmark.metrics.baselines import Baseline, baselines_file, late_gain, load_baselines
from benchmark.metrics.by_kind.gallery import save_gallery
from benchmark.metrics.classifier import classifier_file
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import Features, load_features, resolve_features
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.own import load_metrics
from benchmark.paths import cache_root, data_root
from benchmark.processes import how_to_leave, is_guest
from benchmark.provenance import code_digest, environment
from benchmark.stages import listening
from benchmark.store.claims import claim
from benchmark.store.folders import SearchFolder, other_metrics
from benchmark.suite.executors.local_pool import Sender
from benchmark.suite.plan import Prepared, SearchSpec, Shared
from benchmark.suite.population import train_stacked
from benchmark.suite.problem import Bench, BenchProblem, score_size, train_shared
from benchmark.suite.shared_trainings import TAKEN_OVER, SharedFolder
from benchmark.suite.work import SearchTask, SharedTraining
from benchmark.text import features_kind, one_line, printable
from benchmark.training.rng import Purpose, stream
from searchers.base import Choice
from searchers.quantities import DRAWN_METRICS, TEST_METRICS

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def prepare(connection: Sender, protocol: Protocol, device_name: str, with_features: bool = True) -> None:
    """Makes what all searches share: downloads, caches, the features.

    Sends ("stage", Stage) while it works, ("notice", line), and at the end ("ready", Prepared) or ("input_error",
    line). with_features: False leaves out what takes long and no plan needs: Inception's weights, training a
    classifier, the baselines.
    """
    try:
        with listening(lambda stage: connection.send(("stage", stage))):
            connection.send(("ready", _prepared(connection, protocol, device_name, with_features)))
    except InputError as error:
        connection.send(("input_error", str(error)))
    except OSError as error:
        name, roots = protocol.dataset.name, f"{data_root()} and {cache_root()}"
        connection.send(("input_error", f"cannot prepare dataset {name}: {error}; check its files in {roots}"))


def _prepared(connection: Sender, protocol: Protocol, device_name: str, with_features: bool) -> Prepared:
    device = resolve_device(device_name)
    limit_threads(protocol.training.threads)
    dataset = load_dataset(protocol.dataset.name, **protocol.dataset.options)
    load_metrics(protocol.evaluation.metrics)
    likelihood = resolved_likelihood(protocol.likelihood, dataset)
    dataset = for_likelihood(dataset, likelihood)
    fewest = min(len(split) for split in (dataset.train, dataset.val, dataset.test))
    if fewest < 2:
        raise InputError(f"dataset {dataset.name}: a split has {fewest} image; expected at least 2: add images")
    build_vae(protocol.backbone.name, protocol.backbone.options, dataset.image_shape, latent_dim=2, seed=0)
    asked = protocol.evaluation.features
    make = partial(_make_features, connection) if with_features else _planned_features
    features = make(asked, dataset, device)
    partitions = list(_partitions(dataset, protocol.seeds).values())
    if with_features:
        for partition in partitions:
            load_baselines(partition)
    made = [baselines_file(partition) for partition in partitions]
    made += [classifier_file(dataset)] if features_kind(features) == "classifier" else []
    files = [path for path in made if path.is_file()]
    shared = Shared(code_digest(), {str(path.relative_to(cache_root())): path.read_bytes() for path in files})
    evaluation, n_images = replace(protocol.evaluation, features=features), len(dataset.train)
    training = protocol.training.with_epochs(n_images)
    resolved = replace(protocol, evaluation=evaluation, training=training, likelihood=likelihood)
    data = (dataset.fingerprint, dataset.description, dataset.image_shape, n_images)
    return Prepared(str(device), resolved, *data, shared)


def _make_features(connection: Sender, asked: str, dataset: Dataset, device: torch.device) -> str:
    """Loads the suite's features and returns their name; `auto` falls back to the classifier without Inception."""
    name = resolve_features(asked, dataset, device)
    try:
        return load_features(name, dataset, device).name
    except InputError as error:
        if name == asked or name == "classifier":
            raise
        connection.send(("notice", f"FIDs are on the classifier's features, as Inception's cannot be had: {error}"))
        return load_features("classifier", dataset, device).name


def _planned_features(asked: str, dataset: Dataset, device: torch.device) -> str:
    """The features that earlier suites had on this machine, without making them."""
    name = resolve_features(asked, dataset, device)
    if name != asked and name == "inception":
        from benchmark.metrics.inception import WEIGHTS_PATH  # torch-fidelity takes a while

        name = name if (data_root() / WEIGHTS_PATH).is_file() else "classifier"
    if name == "classifier" and classifier_file(dataset).is_file():
        return load_features(name, dataset, device).name  # whose digest belongs to the searches' ids
    return name


def run_search(connection: Sender, task: SearchTask, device_name: str, keeps_optimizers: bool) -> None:
    """Runs one search and writes its result to its folder; an exception becomes a failed search's row.

    Then, or alone where the search is done, it scores its size (`score_size`) if the protocol asks for it.

    keeps_optimizers: see `Bench`. Sends ("epoch", (trial, epoch, epochs, latent_dim)) after every epoch, ("stage",
    Stage) while it computes features, ("notice", line), ("taken", "") if another process runs the search, and
    ("cannot_write", line) if the results folder takes no more files.
    """
    with _reported(connection), _claimed(task) as free:
        if free:
            _run_claimed(connection, task, resolve_device(device_name), keeps_optimizers)
        else:
            connection.send(("taken", ""))


def train_ahead(
    connection: Sender, trainings: Sequence[SharedTraining], device_name: str, keeps_optimizers: bool
) -> None:
    """Does plain trainings before searches ask for them: one, or several of equal budgets as one stacked model.

    Sends the messages of `run_search`, and ("stacked", (trainings, epoch, epochs)) after an epoch of a stacked model.
    """
    with _reported(connection):
        first, device = trainings[0], resolve_device(device_name)
        _set_up(first.spec, device)
        loaded = _load(connection, [one.spec for one in trainings], device)
        data = loaded[0]
        benches = [its.bench(one.spec, keeps_optimizers) for one, its in zip(trainings, loaded, strict=True)]
        try:
            if first.spec.execution == "stacked":
                digest = hashlib.sha256("".join(one.path.name for one in trainings).encode()).hexdigest()[:12]
                path = first.path.parent / f"stack-{digest}.pt"
                train_stacked(
                    list(zip(benches, trainings, strict=True)),
                    path,
                    lambda *progress: connection.send(("stacked", progress)),
                    data.notice,
                )
            else:
                shared = SharedFolder(first.path, data.notice)
                train_shared(benches[0], shared, first.latent_dim, first.epochs, data.report)
        except BrokenPipeError:
            raise
        except Exception as error:  # the searches will meet the same error
            if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
                raise
            what = one_line(f"{type(error).__name__}: {error}")
            data.notice(f"a training of {first.latent_dim} latents is left to its search: {what}")


@contextmanager
def _reported(connection: Sender) -> Iterator[None]:
    """Sends stages while the block runs, and a message if the results folder takes no more files."""
    try:
        with listening(lambda stage: connection.send(("stage", stage))):
            yield
    except BrokenPipeError:  # the parent is gone: not this search's failure
        if is_guest():
            raise
        os._exit(1)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        connection.send(("cannot_write", f"{error.filename or 'the results'}: {error.strerror}"))


@contextmanager
def _claimed(task: SearchTask) -> Iterator[bool]:
    """Claims the search while the block runs; yields False if another process holds it or has finished it."""
    own = claim(task.path, task.claim_number, on_lost=how_to_leave(TAKEN_OVER))
    folder = SearchFolder(task.path)
    try:
        yield own is not None and not folder.is_complete(task.spec.size_only)
    finally:
        if own is not None:
            with suppress(OSError):
                own.release(finished=folder.is_complete(task.spec.size_only))


def _set_up(spec: SearchSpec, device: torch.device) -> None:
    reset_peak_memory()
    limit_threads(spec.training.threads)
    set_determinism(spec.training.deterministic)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # whose streams record steps
    torch.set_flush_denormal(True)  # weights that fade to denormals would slow the CPU down


def _run_claimed(connection: Sender, task: SearchTask, device: torch.device, keeps_optimizers: bool) -> None:
    spec, folder = task.spec, SearchFolder(task.path)
    _set_up(spec, device)
    folder.tidy()
    if not folder.is_complete():
        (folder.path / "error.txt").unlink(missing_ok=True)
        used = environment(device, spec.training.threads)
        folder.begin(**spec.identity(), n_trainings=len(spec.expected()), environment=used)
    try:
        data = _load(connection, [spec], device)[0]
        if not folder.is_complete():
            _search(data, task, keeps_optimizers)
        if spec.size_only:
            score_size(data.bench(spec, keeps_optimizers), folder, task.trainings, data.report, data.notice)
        if folder.path in task.trainings.parents:  # no other search shares them
            shutil.rmtree(task.trainings, ignore_errors=True)
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            raise
        what = f"{type(error).__name__}: {error}"
        if folder.is_complete():  # the search's own model stands
            connection.send(("notice", f"{spec.search_id} has no plain training of its size: {one_line(what)}"))
            return
        (folder.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
        folder.finish("failed", error=printable(what.splitlines()[0]))


def _partitions(dataset: Dataset, seeds: Sequence[int]) -> dict[int, Dataset]:
    """The dataset in the partitions of these seeds, by their numbers."""
    return {own.partition: own for own in map(dataset.for_seed, seeds)}


def _load(connection: Sender, specs: Sequence[SearchSpec], device: torch.device) -> list["_Data"]:
    """Loads the data of specs that differ in searcher and seed alone; an image is copied to the device once."""
    spec, evaluation = specs[0], specs[0].evaluation
    dataset = for_likelihood(load_dataset(spec.dataset.name, **spec.dataset.options), spec.likelihood)
    features = load_features(evaluation.features, dataset, device)
    partitions = _partitions(dataset, [spec.seed for spec in specs])
    splits = [(own.train, own.val.sample(evaluation.max_images)) for own in partitions.values()]
    copied = iter(copy_splits([split for pair in splits for split in pair], device))
    data = {
        number: _Data(connection, spec, device, features, own, next(copied), next(copied))
        for number, own in partitions.items()
    }
    return [data[dataset.for_seed(spec.seed).partition] for spec in specs]


class _Data:
    """The data in one partition, and what is computed from them once: features, baselines, the evaluator.

    train, val: on the device.
    """

    def __init__(
        self,
        connection: Sender,
        spec: SearchSpec,
        device: torch.device,
        features: Features,
        dataset: Dataset,
        train: Split,
        val: Split,
    ) -> None:
        self.connection, self.device, self._spec = connection, device, spec
        self.baselines = load_baselines(dataset)
        self.dataset = replace(dataset, train=train)
        self._features = features
        self.validation = self._evaluator(val, self.baselines.val)

    def bench(self, spec: SearchSpec, keeps_optimizers: bool) -> Bench:
        """The bench of one of the specs."""
        return Bench(spec, self.dataset, self.validation, self.test, keeps_optimizers)

    @cache  # noqa: B019  a worker has it until its end
    def test(self) -> Evaluator:
        """Evaluates on the test split."""
        return self._evaluator(self.dataset.test, self.baselines.test)

    def _evaluator(self, split: Split, baseline: Baseline) -> Evaluator:
        total_sse = None if self.dataset.is_images else baseline.pca_sse_of(0)
        how = (self._features, self._spec.evaluation, self.device, total_sse)
        return Evaluator(split, self.dataset.n_classes, *how)

    def learning(self, choice: Choice, vae: VAE) -> dict[str, float | None]:
        """The columns of `ResultsStore.searches()` that tell whether the chosen model has learned.

        vae: the model. The epochs of one with a sampler of its own are the sampler's, and tell nothing of the ELBO.
        """
        gain: float | None = None
        error: float | None = None
        if vae.sampler is None:
            gain, error = late_gain(choice.trial.history, self.baselines.val.no_latents_nll)
        test = self.baselines.test
        return {
            "late_gain": gain,
            "late_gain_error": error,
            "pca_sse": test.pca_sse_of(choice.latent_dim),
            "no_latents_nll": test.no_latents_nll,
            "val_no_latents_nll": self.baselines.val.no_latents_nll,
        }

    def report(self, *progress: int) -> None:
        """Reports an epoch to the command."""
        self.connection.send(("epoch", progress))

    def notice(self, line: str) -> None:
        """Sends a line that the user must see."""
        self.connection.send(("notice", line))


def _search(data: _Data, task: SearchTask, keeps_optimizers: bool) -> None:
    spec, folder = task.spec, SearchFolder(task.path)
    dataset, device = data.dataset, data.device
    if dataset.truth is not None:
        folder.update(true_low=dataset.truth[0], true_high=dataset.truth[1])
    bench = data.bench(spec, keeps_optimizers)
    no_latents_nll = data.baselines.val.no_latents_nll
    problem = BenchProblem(bench, folder, task.trainings, no_latents_nll, data.report, data.notice)
    choice = spec.make_searcher().search(problem)
    wall_seconds = problem.clock.seconds()
    problem.discard_rest()
    last = choice.trial.history.iloc[-1]
    if not np.isfinite(last["train_loss"]):
        raise FloatingPointError(f"the loss is {last['train_loss']} in epoch {last['epoch']}; lower the learning rate")

    vae = problem.model(choice.trial)
    save_model(folder.path / "model.pt", vae, spec.backbone.name, spec.backbone.options, dataset.image_shape)
    save_gallery(folder.path, vae, dataset, stream(Purpose.TEST, spec.seed, 1, device=device))
    folder.finish(
        "done",
        latent_dim=choice.latent_dim,
        chosen_trial=choice.trial.number,
        pareto=list(choice.pareto),
        settled=None if choice.settled is None else bool(choice.settled),
        wall_seconds=wall_seconds,
        **_chosen(choice),
        **_tested(folder.trial(choice.trial.number).assessments()[1], bench, dataset),
        **data.learning(choice, vae),
        **data.validation.fid_counts,
    )


def _chosen(choice: Choice) -> dict[str, Any]:
    """The columns of `ResultsStore.searches()` that tell what speaks for the chosen size."""
    columns: dict[str, Any] = {"as_good": [int(size) for size in choice.as_good], "estimate": choice.estimate}
    evidence = choice.evidence
    if evidence is not None:
        columns |= {"rule": evidence.rule, "as_good_shares": list(evidence.shares), "choice_loss": evidence.loss}
        columns |= {"choice_limit": evidence.limit, "choice_gap": evidence.gap, "choice_shown": evidence.is_shown}
    return columns


def _tested(row: dict[str, Any], bench: Bench, dataset: Dataset) -> dict[str, Any]:
    """The columns of `ResultsStore.searches()` that tell how good the chosen model is on the test split."""
    training_images = bench.evaluator.stats_of(dataset.train, row["fid_samples"])  # what real samples would have
    names = [*TEST_METRICS, *(f"{metric}_error" for metric in DRAWN_METRICS), "draws", "fid_samples", "fid_features"]
    return {
        **{f"test_{name}": row[name] for name in (*names, *other_metrics(row))},
        "test_fid_images": row["images"],
        "test_silhouette_noise": row["silhouette"] - row["silhouette_excess"],
        "fid_real": frechet_distance(bench.evaluator.real_stats, training_images),
        "test_fid_real": frechet_distance(bench.test().real_stats, training_images),
    }
