"""What a worker on another machine does before and after its task: it prepares data and copies results."""

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.datasets import load_dataset
from benchmark.errors import InputError
from benchmark.paths import cache_folder, cache_root
from benchmark.processes import machine, started
from benchmark.provenance import code_digest
from benchmark.stages import listening
from benchmark.store.atomic_files import replacing
from benchmark.store.remote import Mirror
from benchmark.suite import worker
from benchmark.suite.executors.local_pool import Sender
from benchmark.suite.plan import SearchSpec, Shared
from benchmark.suite.work import SearchTask, SharedTraining

_ready: set[str] = set()  # fingerprints of the data that this process has checked


def run_search(
    connection: Sender, task: SearchTask, device_name: str, keeps_optimizers: bool, shared: Shared, url: str | None
) -> None:
    """See `benchmark.suite.worker.run_search`. url: of the results; the worker writes to a scratch folder first."""
    _make_ready(connection, task.spec, shared)
    if url is None:
        worker.run_search(connection, task, device_name, keeps_optimizers)
        return
    with _scratch_folder() as scratch:
        folder = scratch / task.path.name
        sender = _MirroringSender(connection, [Mirror(f"{url}/searches/{folder.name}", folder)])
        sender.pull()
        task = task._replace(path=folder, trainings=folder / task.trainings.name)
        worker.run_search(sender, task, device_name, keeps_optimizers)
        sender.push()


def train_ahead(
    connection: Sender,
    trainings: Sequence[SharedTraining],
    device_name: str,
    keeps_optimizers: bool,
    shared: Shared,
    url: str | None,
) -> None:
    """See `benchmark.suite.worker.train_ahead`."""
    _make_ready(connection, trainings[0].spec, shared)
    if url is None:
        worker.train_ahead(connection, trainings, device_name, keeps_optimizers)
        return
    with _scratch_folder() as scratch:
        local, mirrors = [], []
        for training in trainings:  # RESULTS/searches/<id>/trainings/<key>
            key, folder = training.path.name, scratch / training.path.parents[1].name
            local.append(training._replace(path=folder / "trainings" / key))
            parts = (f"trainings/{key}/", *(["trainings/stack-"] if training is trainings[0] else []))
            mirrors.append(Mirror(f"{url}/searches/{folder.name}", folder, parts))
        sender = _MirroringSender(connection, mirrors)
        sender.pull()
        worker.train_ahead(sender, local, device_name, keeps_optimizers)
        sender.push()


def _make_ready(connection: Sender, spec: SearchSpec, shared: Shared) -> None:
    with listening(lambda stage: connection.send(("stage", stage))):
        make_ready(spec, shared)


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=f"{_scratch_prefix()}{os.getpid()}-") as scratch:
        yield Path(scratch)


class _MirroringSender:
    """A sender that copies the files of an epoch to the URL before it reports the epoch."""

    def __init__(self, connection: Sender, mirrors: Sequence[Mirror]) -> None:
        self._connection, self._mirrors = connection, mirrors

    def send(self, message: Any, /) -> None:
        if message[0] in ("epoch", "stacked"):
            self.push()
        self._connection.send(message)

    def pull(self) -> None:
        """Copies the files from the URL."""
        for mirror in self._mirrors:
            mirror.pull()

    def push(self) -> None:
        """Copies changed files. Raises RuntimeError, as a store's BrokenPipeError would look like a lost command."""
        try:
            for mirror in self._mirrors:
                mirror.push()
        except Exception as error:
            raise RuntimeError(f"the files cannot be mirrored ({type(error).__name__}: {error})") from error


def _scratch_prefix() -> str:
    """The prefix of this machine's scratch folders, before the process id. Containers may share the parent folder."""
    return f"latentbench-scratch-{hashlib.sha256(repr(machine()).encode()).hexdigest()[:8]}-"


def _remove_abandoned() -> None:
    """Removes scratch folders of killed processes of this machine."""
    for path in Path(tempfile.gettempdir()).glob(f"{_scratch_prefix()}*"):
        pid = path.name.removeprefix(_scratch_prefix()).partition("-")[0]
        if pid.isdecimal() and started(int(pid)) is None:
            shutil.rmtree(path, ignore_errors=True)


def make_ready(spec: SearchSpec, shared: Shared) -> None:
    """Creates a dataset's caches on this machine, once, and checks that code and data equal those of the suite.

    Raises InputError if they differ, or the data are missing here.
    """
    if spec.data_fingerprint in _ready:
        return
    here = f"on the node {socket.gethostname()}"
    if code_digest() != shared.code:
        raise InputError(f"latentbench {here} is another version than the suite's; install the same on all nodes")
    with _locked(cache_folder("locks") / f"{spec.data_fingerprint[:32]}.lock"):
        for name, content in shared.cache_files.items():
            path = cache_root() / name
            if not path.exists() or path.read_bytes() != content:
                with replacing(path) as temporary:
                    temporary.write_bytes(content)
        dataset = load_dataset(spec.dataset.name, **spec.dataset.options)
    if dataset.fingerprint != spec.data_fingerprint:
        raise InputError(f"dataset {spec.dataset.name} {here} has other content than the suite's; copy the same there")
    _ready.add(spec.data_fingerprint)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process of this machine at a time into the block."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # without locks, several processes make the caches
            stack.enter_context(FileLock(path))
        yield
