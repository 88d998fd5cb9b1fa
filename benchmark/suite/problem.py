"""What a searcher is handed: trainings that survive a kill, on one dataset, backbone and budget."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae, make_backbone
from benchmark.backbones.initialise import scale_to_data
from benchmark.backbones.model_file import load_model, save_model
from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Dataset
from benchmark.errors import Damaged
from benchmark.machine import peak_memory_bytes, reserved_memory_bytes
from benchmark.metrics.assessment import assess
from benchmark.metrics.evaluation import Evaluator
from benchmark.store.atomic_files import remove_folder
from benchmark.store.columns import NATIVE
from benchmark.store.folders import (
    SearchFolder,
    TrialFolder,
    assessment_of,
    other_metrics,
    read_rows,
    summarise,
    write_rows,
)
from benchmark.suite.plan import SearchSpec
from benchmark.suite.shared_trainings import SharedFolder
from benchmark.training import checkpoint
from benchmark.training.clock import Clock
from benchmark.training.loop import train
from benchmark.training.model_view import assess_latents
from benchmark.training.rng import Purpose, origin_of, stream, stream_seed
from benchmark.training.state import TrainingState, new_state
from searchers.base import Assessment, Controller, FixedSize, Posterior, Trial
from searchers.quantities import TEST_METRICS

POLL_SECONDS = 0.2  # between two looks at a training that another process does

Report = Callable[[int, int, int, int], None]
"""Called after every epoch with the trial's number, the epoch, the trial's epochs and its latent size."""

Notice = Callable[[str], None]
"""Called with a line that the user must see."""

Start = tuple[Trial, Sequence[int] | None]
"""See `searchers.base.Problem.train`."""


@dataclass
class TrainingRun:
    """A training: its folder, the size it starts from, its streams (the search's seed, its origin), and its state."""

    folder: TrialFolder
    latent_dim: int
    streams: tuple[int, int]
    state: TrainingState


class Bench:
    """Makes, trains and finishes models: what all trainings of a spec share.

    dataset: its training split on the evaluator's device. test: makes the evaluator on the test split, which no
    searcher sees, or returns it. keeps_optimizers: finished trainings keep what another training needs to go on from
    them.
    """

    def __init__(
        self,
        spec: SearchSpec,
        dataset: Dataset,
        evaluator: Evaluator,
        test: Callable[[], Evaluator],
        keeps_optimizers: bool,
    ) -> None:
        self.spec, self.dataset, self.evaluator, self.test = spec, dataset, evaluator, test
        self.device = evaluator.device
        self.keeps_optimizers = keeps_optimizers

    def run(
        self, folder: TrialFolder, number: int, latent_dim: int, controller: Controller, start: "Started | None" = None
    ) -> TrainingRun:
        """A training where its last checkpoint left it, or at its start."""
        backbone, seed, rate = self.spec.backbone, self.spec.seed, self.spec.training.learning_rate
        if start is None:
            origin = latent_dim
            init = stream_seed(Purpose.INIT, seed, origin)
            data = self.dataset
            like = (data.likelihood, data.train.scaling)
            vae = build_vae(backbone.name, backbone.options, data.image_shape, latent_dim, init, *like)
            if make_backbone(backbone.name, backbone.options).init == "scaled":
                scale_to_data(vae, self.dataset.train, Generator().manual_seed(init))
        else:
            origin, vae = start.origin, load_model(start.folder.model).train()
            if vae.sampler is not None:
                raise ValueError("got a model with a sampler of its own to go on from; expected one without")
        vae, controller = vae.to(self.device), controller.to(self.device)
        if start is not None and not folder.checkpoint.exists():
            state = new_state(vae, controller, rate)
            checkpoint.load_moments(state, start.folder)
            state.remove_all_but(start.keep)
            state = replace(state, latent_ids=list(range(latent_dim)), latents_ever=0)
        else:
            if start is not None:
                vae.keep_latents(start.keep)
            state = checkpoint.restore(folder, vae, controller, rate)
        state.number = number
        return TrainingRun(folder, latent_dim, (seed, origin), state)

    def train(self, run: TrainingRun, epochs: int, clock: Clock, report: Report) -> dict[str, Any]:
        """Trains to the end and returns the training's record."""
        clock.resume_at(run.state.seconds)

        def after_epoch(state: TrainingState) -> None:
            checkpoint.save(state, run.folder)
            rows = state.rows
            report(state.number, state.epochs, epochs, rows[-1]["latent_dim"] if rows else run.latent_dim)

        settings = replace(self.spec.training, epochs=epochs)
        try:
            train(run.state, settings, self.dataset.train, self.evaluator, run.streams, clock, after_epoch)
        finally:
            run.folder.write_rows(run.state.rows)
        return self.finish(run, self.keeps_optimizers, clock)

    def finish(self, run: TrainingRun, keep_optimizer: bool, clock: Clock) -> dict[str, Any]:
        """Assesses a training's model, and writes it and the training's record, which it returns."""
        vae, rows, backbone = run.state.vae, run.state.rows, self.spec.backbone
        save_model(run.folder.model, vae, backbone.name, backbone.options, self.dataset.image_shape)
        assessments = self._assessments(vae, clock)
        keys = {"trial": run.state.number, "epoch": run.state.epochs}
        write_rows(run.folder.curves, [*run.state.curve, *({**keys, **row} for row in assessments)])
        if keep_optimizer:
            checkpoint.save_optimizer(run.state, run.folder)
        record = summarise(
            pd.DataFrame(rows),
            status="done" if np.isfinite(rows[-1]["train_loss"]) else "failed",
            start_latent_dim=run.latent_dim,
            latent_dim=vae.latent_dim,
            peak_memory_bytes=peak_memory_bytes(self.device),
            reserved_memory_bytes=reserved_memory_bytes(self.device),
            **self.evaluator.fid_counts,
        )
        for name in ("eval_seconds", "wall_seconds"):
            record[name] += assessments[0]["eval_seconds"]
        run.folder.finish(record)
        run.folder.checkpoint.unlink(missing_ok=True)
        return record

    def _assessments(self, vae: VAE, clock: Clock) -> list[dict[str, Any]]:
        """Rows of `ResultsStore.curves()`: on validation data, then on the test split, which is off the clock."""
        validation = assess_latents(vae, range(vae.latent_dim), self.evaluator, clock, self.spec.seed)
        now = clock.seconds()
        test = assess(self.test(), vae, None, stream_seed(Purpose.ASSESSMENT, self.spec.seed, 1), with_iwae=True)
        clock.go_to(now)
        test = {**test, "losses": [], "split": "test", "eval_seconds": 0.0}
        return [{**row, "wall_seconds": now} for row in (validation, test)]


def train_shared(bench: Bench, shared: SharedFolder, latent_dim: int, epochs: int, report: Report) -> bool:
    """Does a plain training unless it has finished; returns False if another process is at it."""
    with shared.claimed() as free:
        if free and shared.finished() is None:
            run = bench.run(shared.files, 0, latent_dim, FixedSize())
            bench.train(run, epochs, Clock(bench.device), report)
    return free


def await_shared(
    bench: Bench, shared: SharedFolder, latent_dim: int, epochs: int, report: Report, notice: Notice
) -> dict[str, Any]:
    """The record of a plain training, done here unless another process is at it: then it waits."""
    told = False
    while (record := shared.finished()) is None:
        if not train_shared(bench, shared, latent_dim, epochs, report):
            if not told:
                notice(f"{bench.spec.search_id} waits for a training that another search does")
            told = True
            time.sleep(POLL_SECONDS)
    shared.tidy()
    return record


def score_size(bench: Bench, folder: SearchFolder, trainings: Path, report: Report, notice: Notice) -> None:
    """Scores what a finished search has found apart from its model: a plain training of its size, from scratch.

    It is the training that the grid does, and whoever needs it first does it. Nothing of it is charged to the search.
    Writes the columns `size_only...` of `ResultsStore.searches()`.
    """
    search, epochs = folder.read(), bench.spec.training.epochs
    size, number = search["latent_dim"], search["n_trials"]
    key = bench.spec.training_key(size, epochs)
    training, status = folder.trial(search["chosen_trial"]), NATIVE
    if (training.request() or {}).get("shared") != key:
        shared = SharedFolder(trainings / key, notice)
        record = await_shared(bench, shared, size, epochs, lambda _, *at: report(number, *at), notice)
        report(number, epochs, epochs, size)
        training, status = shared.files, record["status"]
    test = training.assessments()[1]
    names = (*TEST_METRICS, *other_metrics(test))
    folder.update(size_only=status, **{f"size_only_{name}": test[name] for name in names})


@dataclass(frozen=True)
class Started:
    """Where a training goes on from: the folder of a finished one, the latents to keep, and its origin."""

    folder: TrialFolder
    keep: Sequence[int]
    origin: int


class BenchProblem:
    """The bench behind `searchers.base.Problem`.

    A search that is run again repeats its calls: what has finished is read back, a training that was cut short goes on
    from its checkpoint. trainings: the folder of those that searches share.
    """

    def __init__(
        self,
        bench: Bench,
        folder: SearchFolder,
        trainings: Path,
        no_latents_nll: float,
        report: Report,
        notice: Notice,
    ) -> None:
        self.spec = bench.spec
        self.epochs, self.seed, self.space = self.spec.training.epochs, self.spec.seed, self.spec.space
        self.rule, self.no_latents_nll = self.spec.choice, no_latents_nll
        self.clock = Clock(bench.device)
        self._bench, self._folder, self._trainings = bench, folder, trainings
        self._report, self._notice = report, notice
        self._origins: list[int] = []  # of the trials so far
        self._curve: list[dict[str, Any]] = []  # the evaluations so far
        self._curve_before = read_rows(folder.curves)  # those of an earlier process

    def train(
        self,
        latent_dim: int,
        controller: Controller | None = None,
        epochs: int | None = None,
        start: Start | None = None,
    ) -> Trial:
        """See `searchers.base.Problem.train`."""
        epochs = self.epochs if epochs is None else epochs
        if latent_dim < 2 or epochs < 1:
            raise ValueError(f"got latent_dim {latent_dim} and epochs {epochs}; expected at least 2 and at least 1")
        started = None if start is None else self._started(*start, latent_dim)
        number = len(self._origins)
        folder = self._folder.trial(number)
        is_shared = controller is None and started is None
        key = self.spec.training_key(latent_dim, epochs) if is_shared else None
        controller = controller or FixedSize()
        request: dict[str, Any] = {
            "latent_dim": latent_dim,
            "epochs": epochs,
            "controller": type(controller).__name__,
            "origin": latent_dim if started is None else started.origin,
            "shared": key,
        }
        finished = self._begin(number, request)
        if finished is None and key is not None:
            finished = self._share(number, latent_dim, epochs, SharedFolder(self._trainings / key, self._notice))
        elif finished is None:
            run = self._bench.run(folder, number, latent_dim, controller, started)
            finished = self._bench.train(run, epochs, self.clock, self._report)
        folder.checkpoint.unlink(missing_ok=True)  # a kill may have left it
        self._origins.append(request["origin"])
        self._report(number, epochs, epochs, finished["latent_dim"])
        validation, _ = folder.assessments()
        self.clock.resume_at(validation["wall_seconds"])
        history = pd.DataFrame(folder.read_rows())
        return Trial(number, finished["latent_dim"], history, assessment_of(validation))

    def _begin(self, number: int, request: dict[str, Any]) -> dict[str, Any] | None:
        """Makes the folder one of this training: its record where an earlier process has finished just that one."""
        folder = self._folder.trial(number)
        before, finished = self._as_left(folder)
        if before == request:
            return finished
        if before is not None:  # the searcher's code has changed: what it asked for then is void
            self._discard(number)
        remove_folder(folder.path)  # a kill amid a deletion may have left the checkpoint
        folder.begin(request)
        return None

    def _as_left(self, folder: TrialFolder) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """What an earlier process asked a training to be, and its outcome; a damaged training is deleted."""
        try:
            folder.check()
            checkpoint.check(folder)
            return folder.request(), folder.finished()
        except Damaged as damage:
            self._notice(f"{damage.path} is damaged: that training is done anew")
            remove_folder(folder.path)
            return None, None

    def _share(self, number: int, latent_dim: int, epochs: int, shared: SharedFolder) -> dict[str, Any]:
        """The record of a plain training that is done by whoever is first, copied to this search's folder."""
        base = self.clock.seconds()
        record = await_shared(
            self._bench, shared, latent_dim, epochs, lambda _, *at: self._report(number, *at), self._notice
        )
        folder = self._folder.trial(number)
        for ours, theirs in ((folder.rows, shared.files.rows), (folder.curves, shared.files.curves)):
            rows = read_rows(theirs)
            write_rows(ours, [{**row, "trial": number, "wall_seconds": base + row["wall_seconds"]} for row in rows])
        shared.copy_model(folder.model)
        record = {**record, "trial": number}
        folder.finish(record)
        self.clock.go_to(folder.assessments()[0]["wall_seconds"])
        return record

    def discard_rest(self) -> None:
        """Deletes what an earlier process left of trainings and evaluations beyond those asked for so far."""
        self._discard(len(self._origins))
        for folder in self._folder.trials():
            folder.optimizer.unlink(missing_ok=True)
        write_rows(self._folder.curves, self._curve)

    def _discard(self, first: int) -> None:
        for folder in list(self._folder.trials()):
            if folder.number >= first:
                remove_folder(folder.path)

    def _started(self, trial: Trial, keep: Sequence[int] | None, latent_dim: int) -> Started:
        indices = list(range(trial.latent_dim)) if keep is None else list(keep)
        if len(indices) != latent_dim:
            raise ValueError(f"got latent_dim {latent_dim} and {len(indices)} latents to keep; expected as many")
        folder = self._folder.trial(trial.number)
        key = (folder.request() or {}).get("shared")
        folder = TrialFolder(self._trainings / key) if key else folder
        if not checkpoint.has_moments(folder):
            folder = self._again(folder, trial)
        return Started(folder, indices, origin_of(self._origins[trial.number], trial.epochs, indices))

    def _again(self, folder: TrialFolder, trial: Trial) -> TrialFolder:
        """The folder of a shared training that is done once more, since it has kept no optimizer state: not charged."""
        if folder.path.parent != self._trainings or not self._bench.keeps_optimizers:
            raise ValueError("the training to go on from kept no optimizer state; set `continues` on the searcher")
        again, base = SharedFolder(folder.path / "again", self._notice), self.clock.seconds()
        if again.finished() is None:
            self._notice(f"{self.spec.search_id} repeats a training that kept no optimizer state, to go on from it")
        await_shared(self._bench, again, trial.latent_dim, trial.epochs, lambda *_: None, self._notice)
        self.clock.go_to(base)
        return again.files

    def evaluate(self, trial: Trial, keep: Sequence[int]) -> Assessment:
        """See `searchers.base.Problem.evaluate`."""
        indices, number, epoch = [int(i) for i in keep], len(self._curve), trial.epochs
        before = self._curve_before[number] if number < len(self._curve_before) else {}
        if (before.get("trial"), before.get("keep")) == (trial.number, indices):
            row = before
            self.clock.resume_at(row["wall_seconds"])
        else:
            self._curve_before = []
            found = assess_latents(self.model(trial), indices, self._bench.evaluator, self.clock, self.seed)
            row = {
                "trial": trial.number,
                "epoch": epoch,
                **found,
                "keep": indices,
                "wall_seconds": self.clock.seconds(),
            }
        self._curve.append(row)
        if row is not before:
            write_rows(self._folder.curves, self._curve)
        return assessment_of(row)

    def encode(self, trial: Trial, n: int) -> Posterior:
        """See `searchers.base.Problem.encode`."""
        return self._bench.evaluator.posterior(self.model(trial), n)

    def images(self, n: int) -> Tensor:
        """See `searchers.base.Problem.images`."""
        split = self._bench.dataset.train
        chosen = torch.randperm(len(split), generator=stream(Purpose.IMAGES, self.seed))[:n]
        return split.inputs(chosen.to(split.rows.device))

    def model(self, trial: Trial) -> VAE:
        """The finished model of a trial, on the evaluator's device."""
        return load_model(self._folder.trial(trial.number).model).to(self._bench.device)
