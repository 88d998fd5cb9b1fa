"""What happens in a worker process: preparing the data, or one search from start to exported model."""

import errno
import os
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # the first optimiser would import it, which takes seconds, on the search's clock
from torch import Tensor

from benchmark.backbones.export import build_vae, save_model
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Protocol
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split
from benchmark.errors import InputError
from benchmark.machine import (
    code_digest,
    environment,
    limit_threads,
    reset_peak_memory,
    resolve_device,
    set_determinism,
)
from benchmark.metrics.baselines import baselines_file, late_gain, load_baselines
from benchmark.metrics.classifier import classifier_file
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import load_features
from benchmark.paths import cache_root, data_root
from benchmark.stages import listening
from benchmark.store import SearchFolder
from benchmark.store.atomic_files import replacing
from benchmark.store.claims import claim, newest_claim
from benchmark.suite.local_pool import Sender
from benchmark.suite.plan import Assignment, Prepared, SearchSpec, Shared, make_searcher
from benchmark.suite.population import train_population
from benchmark.suite.problem import BenchProblem
from benchmark.suite.studies import check_studies
from benchmark.text import features_kind, one_line, printable
from benchmark.training.rng import Purpose, stream
from searchers.base import Choice
from searchers.parts.objectives import reparameterise
from searchers.quantities import METRICS

GALLERY_IMAGES = 10
TAKEN_OVER = 3  # exit code
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def prepare(connection: Sender, protocol: Protocol, device_name: str, with_features: bool = True) -> None:
    """Makes what all searches share (downloads, caches, the features) and sends (kind, content).

    ("stage", Stage) while it works, ("notice", line), and at the end ("ready", Prepared) or ("input_error", one line).
    with_features: False leaves out what takes long and no plan depends on: Inception's weights, a classifier to train,
    the baselines.
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
    fewest = min(len(split) for split in (dataset.train, dataset.val, dataset.test))
    if fewest < 2:
        raise InputError(f"dataset {dataset.name}: a split has {fewest} image; expected at least 2: add images")
    build_vae(protocol.backbone.name, protocol.backbone.options, dataset.image_shape, latent_dim=2, seed=0)
    asked = protocol.evaluation.features
    make = partial(_make_features, connection) if with_features else _planned_features
    features = make(asked, dataset, device)
    if with_features:
        load_baselines(dataset)
    made = [baselines_file(dataset), *([classifier_file(dataset)] if features_kind(features) == "classifier" else [])]
    files = [path for path in made if path.is_file()]
    shared = Shared(code_digest(), {str(path.relative_to(cache_root())): path.read_bytes() for path in files})
    n_images = len(dataset.train)
    evaluation = replace(protocol.evaluation, features=features)
    resolved = replace(protocol, evaluation=evaluation, training=protocol.training.with_epochs(n_images))
    data = (dataset.fingerprint, dataset.description, dataset.image_shape)
    return Prepared(str(device), resolved, *data, n_images, shared)


def _make_features(connection: Sender, asked: str, dataset: Dataset, device: torch.device) -> str:
    """Which features the suite has: where `auto` means Inception and its weights cannot be had, the classifier."""
    name = resolve_features(asked, device)
    try:
        return load_features(name, dataset, device).name
    except InputError as error:
        if name == asked or name == "classifier":
            raise
        connection.send(("notice", f"FIDs are on the classifier's features, as Inception's cannot be had: {error}"))
        return load_features("classifier", dataset, device).name


def _planned_features(asked: str, dataset: Dataset, device: torch.device) -> str:
    """Which features suites have had here, without making them: where weights are missing, `auto` did without them."""
    name = resolve_features(asked, device)
    if name != asked and name == "inception":
        from benchmark.metrics.inception import WEIGHTS_PATH  # torch-fidelity takes a while

        name = name if (data_root() / WEIGHTS_PATH).is_file() else "classifier"
    if name == "classifier" and classifier_file(dataset).is_file():
        return load_features(name, dataset, device).name  # whose digest belongs to the searches' ids
    return name


def resolve_features(name: str, device: torch.device) -> str:
    """Which features `auto` means: Inception takes 0.1 s an image on a CPU, so there it is the classifier."""
    if name != "auto":
        return name
    return "inception" if device.type == "cuda" else "classifier"


def run_search(
    connection: Sender,
    task: Assignment,
    companions: Sequence[Assignment],
    device_name: str,
    studies: str | None = None,
) -> None:
    """One search, its result in its folder; an exception becomes a failed search's row.

    companions: searches whose population is trained together with this one's. studies: see `BenchProblem`. Sends
    ("epoch", (trial, epoch, epochs, latent_dim)) after every epoch, or ("population", (trainings, epoch, epochs)),
    ("stage", Stage) while it computes features, ("notice", line), ("taken", "") where another process runs the search,
    and ("cannot_write", line) where the results folder takes no more files.
    """
    try:
        with _claimed(task) as free, listening(lambda stage: connection.send(("stage", stage))):
            if free:
                _run_claimed(connection, task, companions, resolve_device(device_name), studies)
            else:
                connection.send(("taken", ""))
    except BrokenPipeError:  # the parent is gone: not this search's failure
        os._exit(1)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        connection.send(("cannot_write", f"{error.filename or task.path}: {error.strerror}"))


@contextmanager
def _claimed(task: Assignment) -> Iterator[bool]:
    """Whether the search is this process's until the end of the block: none other runs it, or has."""
    own = claim(task.claim_path, task.claim_number, on_lost=lambda: os._exit(TAKEN_OVER))
    folder = SearchFolder(task.path)
    try:
        contested = any(newest_claim(path) > ended for path, ended in task.rivals)
        yield own is not None and not contested and folder.status() != "done"
    finally:
        if own is not None:
            with suppress(OSError):
                done = folder.status() == "done"
                own.release(finished=done)
                if done:
                    shutil.rmtree(task.path / "ahead", ignore_errors=True)


def _run_claimed(
    connection: Sender,
    task: Assignment,
    companions: Sequence[Assignment],
    device: torch.device,
    studies: str | None,
) -> None:
    spec, folder = task.spec, SearchFolder(task.path)
    reset_peak_memory()
    limit_threads(spec.training.threads)
    set_determinism(spec.training.deterministic)
    if device.index:
        torch.cuda.set_device(device)  # whose streams record steps
    torch.set_flush_denormal(True)  # weights that fade to denormals would slow the CPU down
    number = task.training
    if number is None:
        (folder.path / "error.txt").unlink(missing_ok=True)
        folder.tidy()
    if number is None or folder.status() != "running":
        used = environment(device, spec.training.threads)
        folder.begin(**spec.identity(), n_trainings=spec.n_trainings(), environment=used)
    try:
        bench = _Bench(connection, spec, device, studies)
        if number is None:
            _search(bench, task, companions)
        else:
            bench.problem_of(task).train_ahead(number, spec.known_sizes()[number])
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            raise
        what = f"{type(error).__name__}: {error}"
        if number is None:
            (folder.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
            folder.finish("failed", error=printable(what.splitlines()[0]))
        else:  # the search will meet it again
            left = f"training {number + 1} of {spec.search_id} is left to its search: {one_line(what)}"
            connection.send(("notice", left))


class _Bench:
    """What the problems of a worker process share: the data of a spec, on the device."""

    def __init__(self, connection: Sender, spec: SearchSpec, device: torch.device, studies: str | None) -> None:
        self.connection, self.device = connection, device
        dataset = load_dataset(spec.dataset.name, **spec.dataset.options)
        self.features = load_features(spec.evaluation.features, dataset, device)
        self.baselines = load_baselines(dataset)
        self.dataset = replace(dataset, train=dataset.train.to(device))
        self.validation = Evaluator(dataset.val, dataset.n_classes, self.features, spec.evaluation, device)
        self.studies = studies

    def problem_of(self, task: Assignment) -> BenchProblem:
        """The problem that the search is handed."""
        folder = SearchFolder(task.path)
        return BenchProblem(task.spec, self.dataset, self.validation, folder, self._report, self.notice, self.studies)

    def learning(self, choice: Choice) -> dict[str, float | None]:
        """The columns of `ResultsStore.searches()` that say whether the chosen model has learned."""
        gain, error = late_gain(choice.trial.history, self.baselines.val.no_latents_nll)
        test = self.baselines.test
        sse = test.pca_sse_of(choice.latent_dim)
        return {"late_gain": gain, "late_gain_error": error, "pca_sse": sse, "no_latents_nll": test.no_latents_nll}

    def _report(self, *progress: int) -> None:
        self.connection.send(("epoch", progress))

    def notice(self, line: str) -> None:
        """Something the user must see."""
        self.connection.send(("notice", line))


def _search(bench: _Bench, task: Assignment, companions: Sequence[Assignment]) -> None:
    spec, folder = task.spec, SearchFolder(task.path)
    dataset, features, device = bench.dataset, bench.features, bench.device
    if bench.studies is not None:
        check_studies(bench.studies)  # its imports are not on the search's clock
    problem, searcher = bench.problem_of(task), make_searcher(spec.searcher, spec.settings)
    if spec.ahead == "population":
        with ExitStack() as stack:
            own = [task, *(other for other in companions if stack.enter_context(_claimed(other)))]
            problems = [problem, *map(bench.problem_of, own[1:])]
            train_population(
                problems,
                [member.spec.known_sizes() for member in own],
                spec.training,
                folder.path / "population.pt",
                lambda *progress: bench.connection.send(("population", progress)),
                bench.notice,
            )
    choice = searcher.search(problem)
    wall_seconds = problem.clock.seconds()
    problem.discard_rest()
    last = choice.trial.history.iloc[-1]
    if not np.isfinite(last["train_loss"]):
        raise FloatingPointError(f"the loss is {last['train_loss']} in epoch {last['epoch']}; lower the learning rate")

    vae = problem.model(choice.trial)
    test = Evaluator(dataset.test, dataset.n_classes, features, spec.evaluation, device)
    metrics, _ = test.evaluate(vae, None, stream(Purpose.TEST, spec.seed, device=device))
    save_model(folder.path / "model.pt", vae, spec.backbone.name, spec.backbone.options, dataset.image_shape)
    _save_gallery(folder.path / "images.npz", vae, dataset.test, stream(Purpose.TEST, spec.seed, 1, device=device))
    folder.finish(
        "done",
        latent_dim=choice.latent_dim,
        chosen_trial=choice.trial.number,
        pareto=list(choice.pareto),
        settled=None if choice.settled is None else bool(choice.settled),
        wall_seconds=wall_seconds,
        test_fid_features=metrics["fid_features"],
        test_fid_images=test.fid_counts["fid_images"],
        **bench.learning(choice),
        **bench.validation.fid_counts,
        **{f"test_{name}": metrics[name] for name in METRICS},
    )


@torch.inference_mode()
def _save_gallery(path: Path, vae: VAE, split: Split, generator: torch.Generator) -> None:
    device = generator.device
    part = split.sample(GALLERY_IMAGES)
    originals = part.take(torch.arange(len(part)))
    mean, logvar = vae.encode(originals.to(device).float() / 255)
    z = reparameterise(mean, logvar, generator)
    prior = torch.empty_like(z).normal_(generator=generator)

    def pixels(latents: Tensor) -> np.ndarray:
        return (torch.sigmoid(vae.decode(latents)) * 255).round().to(torch.uint8).cpu().numpy()

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            labels=part.labels[part.rows].numpy(),
            originals=originals.numpy(),
            reconstructions=pixels(z),
            samples=pixels(prior),
        )
