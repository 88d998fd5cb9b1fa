"""What a searcher is handed: trainings that survive a kill, on one dataset, backbone and budget."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from torch import Generator

from benchmark.backbones.export import build_vae, load_model, make_backbone, save_model
from benchmark.backbones.initialise import scale_to_data
from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Dataset
from benchmark.errors import Damaged
from benchmark.machine import peak_memory_bytes
from benchmark.metrics.evaluation import Evaluator
from benchmark.store import SearchFolder, TrialFolder, summarise
from benchmark.store.atomic_files import remove_folder
from benchmark.suite.plan import SearchSpec
from benchmark.suite.studies import study_storage
from benchmark.training import checkpoint
from benchmark.training.clock import Clock
from benchmark.training.loop import TrainingState, train
from benchmark.training.rng import Purpose, stream_seed
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
    has finished is read back, one that was cut short goes on from its checkpoint. studies: the URL of the database that
    keeps Optuna's studies, in place of a journal in the folder.
    """

    def __init__(
        self,
        spec: SearchSpec,
        dataset: Dataset,
        evaluator: Evaluator,
        folder: SearchFolder,
        report: Report,
        notice: Notice,
        studies: str | None = None,
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
        self._studies = studies
        self._trials = 0
        self._ahead = False
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

    def train_ahead(self, number: int, latent_dim: int) -> None:
        """The search's training of this number before the search asks for it, without touching the others."""
        self._trials, self._ahead = number, True
        self.train(latent_dim)

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
        if before is not None and not self._ahead:  # the searcher's code has changed: what it asked for then is void
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

    def discard_rest(self) -> None:
        """Deletes what an earlier process left of trainings beyond those asked for so far."""
        self._discard(self._trials)

    def _discard(self, first: int) -> None:
        for folder in list(self._folder.trials()):
            if folder.number >= first:
                remove_folder(folder.path)

    def _member(self, number: int, latent_dim: int, controller: Controller) -> Member:
        backbone, device = self._spec.backbone, self.clock.device
        init = stream_seed(Purpose.INIT, self.seed, number)
        vae = build_vae(backbone.name, backbone.options, self._image_shape, latent_dim, init)
        if make_backbone(backbone.name, backbone.options).init == "scaled":
            scale_to_data(vae, self.train_split, Generator().manual_seed(init))
        vae.to(device)
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
            **self.evaluator.fid_counts,
        )
        member.folder.finish(record)
        return record

    def create_study(self, sampler: BaseSampler, directions: Sequence[StudyDirection]) -> Study:
        """See `searchers.base.Problem.create_study`."""
        name, storage = self._spec.search_id, study_storage(self._folder.path / "study.journal", self._studies)
        with suppress(KeyError):  # none of this name yet
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, sampler=sampler, study_name=name, directions=directions)

    def model(self, trial: Trial) -> VAE:
        """The finished model of a trial, on the evaluator's device."""
        return load_model(self._folder.trial(trial.number).model).to(self.clock.device)
