"""Plain trainings that searches of one results folder share: whoever needs one first does it, the others read it.

RESULTS/trainings/<key>/    the key follows from all that the training's numbers follow from (`SearchSpec.training_key`)
    checkpoint.pt, epochs.arrow      while it is under way
    trial.json, epochs.arrow, model.pt   when it has ended
    optimizer.pt            of suites with a searcher that goes on from trainings, until the suite ends
    again/                  the training done once more where it kept no optimizer state, until then
    claim-000001            which process does it (`benchmark.store.claims`)

A search keeps a copy of what it used, and is charged what the training cost, whoever did it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.errors import Damaged
from benchmark.processes import how_to_leave
from benchmark.store.atomic_files import is_temporary, remove_folder, replacing
from benchmark.store.claims import Watch, claim, clear
from benchmark.store.folders import TrialFolder
from benchmark.training import checkpoint

TAKEN_OVER = 3  # exit code of a process that was taken for dead


class SharedFolder:
    """The folder of one shared training. notice: gets a line where it is damaged."""

    def __init__(self, path: Path, notice: Callable[[str], None]) -> None:
        self.files = TrialFolder(path)
        self._notice = notice
        self._watch = Watch()

    def finished(self) -> dict[str, Any] | None:
        """Its record; None where it has not ended, or is damaged."""
        try:
            self.files.check()
            return self.files.finished()
        except (Damaged, FileNotFoundError):  # which another process may be mending now
            return None

    def mend(self) -> None:
        """Deletes half-written files, and all but the claim where it is damaged. For whoever holds the claim."""
        self._remove_temporary()
        try:
            checkpoint.check(self.files)
            self.files.check()
            self.files.finished()
        except Damaged as damage:
            self._notice(f"{damage.path} is damaged: that training is done anew")
            (self.files.path / "trial.json").unlink(missing_ok=True)  # first: without it the rest counts for nothing
            for path in (*self.files.path.glob("*.pt"), *self.files.path.glob("*.arrow")):
                path.unlink()

    def _remove_temporary(self) -> None:
        for leftover in filter(is_temporary, self.files.path.glob(".*")):
            leftover.unlink(missing_ok=True)

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Claims the training while the block runs; yields False if another process is at it."""
        path = self.files.path
        number = self._watch.next_number(path)
        own = None if number is None else claim(path, number, on_lost=how_to_leave(TAKEN_OVER))
        try:
            if own is not None:
                self.mend()
            yield own is not None
        finally:
            if own is not None:
                with suppress(OSError):
                    own.release(finished=(path / "trial.json").exists())

    def tidy(self) -> None:
        """Removes what processes have left that were killed after the training had ended."""
        if self._watch.next_number(self.files.path) is not None:
            self.files.checkpoint.unlink(missing_ok=True)
            clear(self.files.path)
            self._remove_temporary()

    def copy_model(self, target: Path) -> None:
        """Makes `target` its model: the same file under a second name where the file system can."""
        with replacing(target) as temporary:
            try:
                os.link(self.files.model, temporary)
            except OSError:
                shutil.copyfile(self.files.model, temporary)


def remove_optimizers(trainings: Path) -> None:
    """Deletes what only searches that are under way need."""
    for path in (*trainings.glob("*/optimizer.pt"), *trainings.glob("stack-*.pt")):
        path.unlink(missing_ok=True)
    for path in trainings.glob("*/again"):
        if Watch().next_number(path) is not None:
            remove_folder(path)
