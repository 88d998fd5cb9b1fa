"""Runs a suite: each searcher with each seed on one protocol, except the searches that are already done."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config.protocol import Protocol
from benchmark.errors import Damaged, InputError
from benchmark.machine import n_cpus
from benchmark.provenance import code_digest
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import Checked
from benchmark.store.checked_files import checked_files
from benchmark.store.claims import Watch, clear
from benchmark.store.folders import SearchFolder
from benchmark.store.kept import KEPT, keep_protocol
from benchmark.store.remote import Results
from benchmark.suite.dispatch import Dispatch
from benchmark.suite.display import Screen
from benchmark.suite.estimate import item_flops
from benchmark.suite.executors.gpus import gpu_places
from benchmark.suite.executors.here import run_tasks_here
from benchmark.suite.executors.local_pool import Death, RunTasks, Task, run_tasks, warm_up
from benchmark.suite.executors.ray_pool import Cluster, connect
from benchmark.suite.forecast import long_suite, longest_first
from benchmark.suite.plan import Prepared, SearchSpec, plan
from benchmark.suite.shared_trainings import remove_optimizers
from benchmark.suite.work import WorkItem, make_items
from benchmark.text import printable


@dataclass(frozen=True)
class Suite:
    """What to run and where.

    results: a folder, or a URL (`benchmark.store.remote`). jobs: searches at a time; None means one per core on a CPU,
    one for each GPU, or several by `[resources]`, and as many as a cluster has room for. execution: see `plan`.
    executor: one of `benchmark.config.protocol.EXECUTORS`. address: see `benchmark.suite.executors.ray_pool.connect`.
    verify: read all files of finished searches, even those that seem unchanged. waits: for the searches that other
    commands have.
    """

    protocol: Protocol
    searchers: tuple[str, ...]
    seeds: tuple[int, ...]
    results: str | Path
    device: str = "auto"
    jobs: int | None = None
    execution: str = "sequential"
    executor: str = "local"
    address: str | None = None
    verify: bool = False
    waits: bool = True


def run_suite(suite: Suite, screen: Screen) -> pd.DataFrame:
    """Runs what is not done yet and returns the suite's rows of `ResultsStore.searches()`.

    Raises InputError before anything is written where the suite cannot run.
    """
    with _planned(suite, screen) as planned:
        specs, cluster, results = planned.specs, planned.cluster, planned.results
        folders = [SearchFolder(results.path / "searches" / spec.search_id) for spec in specs]
        with checked_files(results.path, suite.verify) as checked:
            pending = [
                (spec, folder)
                for spec, folder in zip(specs, folders, strict=True)
                if not _has_result(folder, results, checked) or spec.size_only and not folder.is_complete(True)
            ]
        open_specs = [spec for spec, _ in pending]
        items = make_items(pending, results)
        if cluster is not None:
            shape, n_images = planned.prepared.image_shape, planned.prepared.n_images
            items = [items[i] for i in longest_first(item_flops(items, open_specs, shape, n_images))]
        at_most = planned.room if cluster is None else len(items)  # a cluster may grow
        workers = suite.jobs or planned.room
        line = long_suite(open_specs, items, planned.prepared, workers, lambda: _known_searches(results))
        if line is not None:
            screen.line(line)
        n_trainings = [len(spec.planned()) for spec in open_specs]
        asked = replace(suite.protocol, run=suite.searchers, seeds=suite.seeds)
        keep_protocol(results.path, asked, specs[0].protocol_hash)
        results.publish_beside(KEPT)
        with screen.searches(open_specs, n_trainings, len(specs) - len(pending)) as display:
            if cluster is not None:
                cluster.on_status = display.status
            dispatch = Dispatch(pending, items, results, planned.prepared, cluster is not None, suite.waits)
            dispatch.run(planned.run_tasks, suite.jobs or at_most, display)
        if not dispatch.left:  # to a command that may need them
            remove_optimizers(results.path / "trainings")
        searches = ResultsStore(results.path).searches()
    return searches[searches["search_id"].isin([spec.search_id for spec in specs])]


@dataclass(frozen=True)
class Plan:
    """What `run_suite` would run.

    done: ids of finished searches. searches: the results so far. workers: tasks at a time.
    """

    specs: Sequence[SearchSpec]
    items: Sequence[WorkItem]
    prepared: Prepared
    done: set[str]
    searches: pd.DataFrame
    workers: int


def plan_suite(suite: Suite, screen: Screen) -> Plan:
    """Plans what `run_suite` would run, without training or writing results."""
    with _planned(suite, screen, dry_run=True) as planned:
        searches = _known_searches(planned.results)
        folders = [(spec, SearchFolder(planned.results.path / "searches" / spec.search_id)) for spec in planned.specs]
        pending = [(spec, folder) for spec, folder in folders if not folder.is_complete(spec.size_only)]
        done = {spec.search_id for spec in planned.specs} - {spec.search_id for spec, _ in pending}
        workers = min(planned.room, suite.jobs or planned.room)
        items = make_items(pending, planned.results)
        return Plan(planned.specs, items, planned.prepared, done, searches, workers)


def prepare(protocol: Protocol, device: str, screen: Screen, executor: str = "local") -> Prepared:
    """Makes what all suites of the protocol share on this machine: downloads, decoded images, features.

    executor: local or here. Raises InputError where that fails.
    """
    return _prepare(protocol, device, _run_on_this_machine(executor), screen)


def _run_on_this_machine(executor: str) -> RunTasks:
    if executor == "here":
        return run_tasks_here
    warm_up()
    return run_tasks


def _known_searches(results: Results) -> pd.DataFrame:
    exists = (results.path / "searches").is_dir()
    return ResultsStore(results.path).searches() if exists else pd.DataFrame()


@dataclass(frozen=True)
class _Planned:
    """A suite that is ready to run. room: how many searches fit at a time."""

    specs: Sequence[SearchSpec]
    prepared: Prepared
    results: Results
    run_tasks: RunTasks
    room: int
    cluster: Cluster | None


@contextmanager
def _planned(suite: Suite, screen: Screen, dry_run: bool = False) -> Iterator[_Planned]:
    protocol = suite.protocol
    plan(protocol, "", suite.searchers, suite.seeds, execution=suite.execution)  # settings and names, before any data
    results = Results(suite.results)
    check_results(results.path)
    if not dry_run:
        results.check_writable()
    with _executor(suite, screen) as (run, device, cluster):
        asked = replace(protocol, seeds=suite.seeds)
        prepared = _prepare(asked, device, run, screen, with_features=not dry_run)
        screen.line(f"{printable(protocol.dataset.name)}: {prepared.data}")
        specs = plan(
            prepared.protocol,
            prepared.fingerprint,
            suite.searchers,
            suite.seeds,
            prepared.device,
            suite.execution,
            prepared.data,
        )
        _check_precision(specs)
        if cluster is not None and prepared.shared.code != code_digest():
            raise InputError("latentbench on the cluster is another version than this one; install the same there")
        if cluster is None:
            is_pool = suite.executor == "local"
            places = gpu_places(prepared.device, protocol.resources, suite.jobs) if is_pool else []
            room = len(places) or _default_jobs(prepared.device, protocol.training.threads)
            run = partial(run_tasks, places=places) if places else run
        else:
            room = cluster.room()
        yield _Planned(specs, prepared, results, run, room, cluster)


@contextmanager
def _executor(suite: Suite, screen: Screen) -> Iterator[tuple[RunTasks, str, Cluster | None]]:
    """Yields what runs the tasks, the device, and the cluster if there is one."""
    if suite.executor != "ray":
        yield _run_on_this_machine(suite.executor), suite.device, None
        return
    with ExitStack() as stack:
        with screen.waiting("connecting to the Ray cluster"):
            cluster = stack.enter_context(connect(suite.address, suite.protocol, suite.device))
        yield cluster.run_tasks, cluster.device, cluster


def _has_result(folder: SearchFolder, results: Results, checked: Checked, copied: bool = False) -> bool:
    """Whether the search is done and its files are undamaged; a damaged search is reported and counts as not done.

    checked: see `benchmark.store.atomic_files.check_digests`.
    """
    try:
        if folder.read().get("status") != "done":
            return False
        folder.check(checked)
    except Damaged as damage:
        if results.url is not None and not copied:  # perhaps only the local copy is damaged
            results.refresh(folder.path.name)
            return _has_result(folder, results, checked, copied=True)
        if damage.path.parent == folder.path:  # the search itself reports damaged trainings
            print(f"{damage.path} is damaged: what it belongs to is done anew")
        folder.reopen()
        results.publish(folder.path.name)
        return False
    if Watch().next_number(folder.path) is not None:
        folder.tidy()
        clear(folder.path)
    return True


def _prepare(
    protocol: Protocol, device: str, run_tasks: RunTasks, screen: Screen, with_features: bool = True
) -> Prepared:
    answers: list[tuple[str, Any]] = []
    deaths: list[Death | None] = []

    def on_message(_: int, message: tuple[str, Any]) -> None:
        kind, content = message
        if kind == "stage":
            display.show(content)
        elif kind == "notice":
            display.notice(content)
        else:
            answers.append(message)

    def on_end(_: int, death: Death | None) -> bool:
        deaths.append(death)
        return False

    task = Task("benchmark.suite.worker:prepare", (protocol, device, with_features))
    with screen.waiting("starting") as display:
        run_tasks(1, 1, lambda _: task, on_message, on_end)
    if answers and isinstance(answers[-1][1], Prepared):
        return answers[-1][1]
    problems = [content for kind, content in answers if kind == "input_error"]
    problems += [f"preparing the data failed: {death.cause}" for death in deaths if death is not None]
    raise InputError(problems[0])


def _default_jobs(device: str, threads: int) -> int:
    return max(1, n_cpus() // threads) if device.startswith("cpu") else 1


def _check_precision(specs: Sequence[SearchSpec]) -> None:
    for spec in specs:
        in_bf16 = spec.training.precision == "bf16"
        if in_bf16 and spec.device == "cpu" and spec.execution == "stacked":  # convolutions would be float32
            raise InputError(f"precision is bf16 and {spec.searcher} is stacked, on a CPU; expected one of the two")


def check_results(path: Path) -> None:
    """Raises InputError where no results can be written to this folder."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.is_symlink() or parent.exists())
    if not existing.is_dir():
        raise InputError(f"results folder {path}: {existing} is a file; expected a folder or a new name")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"results folder {path}: no permission to read and write {existing}; choose another")
