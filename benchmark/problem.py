"""What a searcher is handed: trainings that survive a kill, on one dataset, backbone and budget."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmark import checkpoint
from benchmark.backbones.export import build_vae, load_model, save_model
from benchmark.backbones.vae import VAE
from benchmark.clock import Clock
from benchmark.datasets.base import Dataset
from benchmark.errors import Damaged
from benchmark.machine import peak_memory_bytes
from benchmark.metrics.evaluation import Evaluator
from benchmark.plan import SearchSpec
from benchmark.store import SearchFolder, TrialFolder, summarise
from benchmark.streams import Purpose, stream_seed
from benchmark.training import TrainingState, train
from searchers.base import Controller, FixedSize, Trial

Report = Callable[[int, int, int, int], None]
"""Called after every epoch with the trial's number, the epoch, the trial's epochs and its latent size."""

Notice = Callable[[str], None]
"""Called with a line that the user must see."""


@dataclass
class Member:
    """A training: its folder, the size it starts from, its streams (the search's seed, its number), and its state."""

    folder: TrialFolder
    latent_dim: int
    streams: tuple[int, int]
    state: TrainingState


class BenchProblem:
    """The bench behind `searchers.base.Problem`.

    dataset: its training split on the evaluator's device. A search that is run again repeats its calls: a training that
    has finished is read back, one that was cut short goes on from its checkpoint.
    """

    def __init__(
        self,
        spec: SearchSpec,
        dataset: Dataset,
        evaluator: Evaluator,
        folder: SearchFolder,
        report: Report,
        notice: Notice,
    ) -> None:
        self.epochs = spec.training.epochs
        self.seed = spec.seed
        self.n_classes = dataset.n_classes
        self.train_split = dataset.train
        self.evaluator = evaluator
        self._spec = spec
        self._image_shape = dataset.image_shape
        self._folder = folder
        self._report = report
        self._notice = notice
        self._trials = 0
        self.clock = Clock(evaluator.device)

    def train(self, latent_dim: int, controller: Controller | None = None, epochs: int | None = None) -> Trial:
        """See `searchers.base.Problem.train`."""
        epochs = self.epochs if epochs is None else epochs
        if latent_dim < 2 or epochs < 1:
            raise ValueError(f"got latent_dim {latent_dim} and epochs {epochs}; expected at least 2 and at least 1")
        controller = controller or FixedSize()
        number = self._trials
        folder = self._folder.trial(number)
        finished = self._begin(number, latent_dim, epochs, controller)
        self._trials += 1
        if finished is None:
            member = self._member(number, latent_dim, controller)
            self._train(member, epochs)
            finished = self.finish(member)
        folder.checkpoint.unlink(missing_ok=True)
        self._report(number, epochs, epochs, finished["latent_dim"])
        rows = folder.read_rows()
        self.clock.resume_at(rows[-1]["wall_seconds"])
        return Trial(number, finished["latent_dim"], pd.DataFrame(rows))

    def members(self, latent_dims: Sequence[int]) -> list[Member]:
        """Plain trainings of these sizes, the first ones that the search will ask for, where they are not finished."""
        wanted = [(n, size) for n, size in enumerate(latent_dims) if not self._begin(n, size, self.epochs, FixedSize())]
        return [self._member(number, latent_dim, FixedSize()) for number, latent_dim in wanted]

    def _begin(self, number: int, latent_dim: int, epochs: int, controller: Controller) -> dict[str, Any] | None:
        """Makes the folder one of this training: its record where an earlier process has finished just that one."""
        folder = self._folder.trial(number)
        request = {"latent_dim": latent_dim, "epochs": epochs, "controller": type(controller).__name__}
        before, finished = self._as_left(folder)
        if before == request:
            return finished
        if before is not None:  # the searcher's code has changed since: what it asked for then is void
            self._discard(number)
        shutil.rmtree(folder.path, ignore_errors=True)  # a kill amid a deletion may have left the checkpoint
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
            shutil.rmtree(folder.path)
            return None, None

    def discard_rest(self) -> None:
        """Deletes what an earlier process left of trainings beyond those asked for so far."""
        self._discard(self._trials)

    def _discard(self, first: int) -> None:
        for folder in list(self._folder.trials())[first:]:
            shutil.rmtree(folder.path)

    def _member(self, number: int, latent_dim: int, controller: Controller) -> Member:
        backbone, device = self._spec.backbone, self.clock.device
        init = stream_seed(Purpose.INIT, self.seed, number)
        vae = build_vae(backbone.name, backbone.options, self._image_shape, latent_dim, init).to(device)
        folder = self._folder.trial(number)
        state = checkpoint.restore(folder, vae, controller.to(device), self._spec.training.learning_rate)
        return Member(folder, latent_dim, (self.seed, number), state)

    def _train(self, member: Member, epochs: int) -> None:
        rows = member.state.rows
        if rows:
            self.clock.resume_at(rows[-1]["wall_seconds"])

        def after_epoch(state: TrainingState) -> None:
            checkpoint.save(state, member.folder)
            self._report(member.streams[1], len(rows), epochs, rows[-1]["latent_dim"])

        settings = replace(self._spec.training, epochs=epochs)
        train(member.state, settings, self.train_split, self.evaluator, member.streams, self.clock, after_epoch)

    def finish(self, member: Member) -> dict[str, Any]:
        """Writes a training's model and its record, which it returns."""
        vae, rows, backbone = member.state.vae, member.state.rows, self._spec.backbone
        save_model(member.folder.model, vae, backbone.name, backbone.options, self._image_shape)
        record = summarise(
            pd.DataFrame(rows),
            status="done" if np.isfinite(rows[-1]["train_loss"]) else "failed",
            start_latent_dim=member.latent_dim,
            latent_dim=vae.latent_dim,
            peak_memory_bytes=peak_memory_bytes(self.clock.device),
        )
        member.folder.finish(record)
        return record

    def study_storage(self) -> BaseStorage:
        """See `searchers.base.Problem.study_storage`. A repeated search writes its journal anew."""
        path = self._folder.path / "study.journal"
        for leftover in path.parent.glob(f"{path.name}*"):  # its lock too
            leftover.unlink()
        return JournalStorage(JournalFileBackend(str(path)))

    def model(self, trial: Trial) -> VAE:
        """The finished model of a trial, on the evaluator's device."""
        return load_model(self._folder.trial(trial.number).model).to(self.clock.device)
