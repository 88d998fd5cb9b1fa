"""Runs a suite: every searcher with every seed on one protocol, and nothing that is already done."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config.protocol import Protocol
from benchmark.errors import Damaged, InputError
from benchmark.machine import code_digest, n_cpus
from benchmark.store import ResultsStore, SearchFolder
from benchmark.store.atomic_files import Checked
from benchmark.store.checked_files import checked_files
from benchmark.store.claims import Watch, clear
from benchmark.store.remote import Results
from benchmark.suite.dispatch import Dispatch, Unit, make_units
from benchmark.suite.estimate import search_flops, training_flops
from benchmark.suite.local_pool import Death, RunTasks, Task, run_tasks, warm_up
from benchmark.suite.placement import longest_first
from benchmark.suite.plan import Prepared, SearchSpec, plan
from benchmark.suite.ray_pool import Cluster, connect
from benchmark.terminal.plan_table import long_suite, print_plan
from benchmark.terminal.progress import SuiteDisplay
from benchmark.terminal.stage_display import StageDisplay
from benchmark.text import printable


@dataclass(frozen=True)
class Suite:
    """What to run and where. results: a folder, or a URL (`benchmark.store.remote`).

    jobs: searches at a time; None is one a core on a CPU, one on a GPU, and as many as a cluster has room for.
    ahead: see `plan`. executor: one of `benchmark.config.protocol.EXECUTORS`. address: see
    `benchmark.suite.ray_pool.connect`.
    studies: see `BenchProblem`. verify: reads all files of finished searches, also those that seem unchanged.
    """

    protocol: Protocol
    searchers: tuple[str, ...]
    seeds: tuple[int, ...]
    results: str | Path
    device: str = "auto"
    jobs: int | None = None
    ahead: str = ""
    executor: str = "local"
    address: str | None = None
    studies: str | None = None
    verify: bool = False


def run_suite(suite: Suite) -> pd.DataFrame:
    """Runs what is not done yet, shows progress and a summary; the suite's rows of `ResultsStore.searches()`.

    Raises InputError before anything is written where the suite cannot run.
    """
    with _planned(suite) as planned:
        specs, cluster = planned.specs, planned.cluster
        folders = [SearchFolder(planned.results.path / "searches" / spec.search_id) for spec in specs]
        with checked_files(planned.results.path, suite.verify) as checked:
            pending = [
                (spec, folder)
                for spec, folder in zip(specs, folders, strict=True)
                if not _has_result(folder, planned.results, checked)
            ]
        open_specs = [spec for spec, _ in pending]
        units = make_units(open_specs)
        if cluster is not None:
            units = _longest_first(units, open_specs, planned.prepared)
        dispatch = Dispatch(pending, units, planned.results, planned.prepared, suite.studies, cluster is not None)
        at_most = planned.room if cluster is None else len(units)  # a cluster may grow
        workers = suite.jobs or planned.room
        line = long_suite(open_specs, planned.prepared, workers, lambda: _known_searches(planned.results))
        if line is not None:
            print(line, flush=True)
        trainings = [spec.n_trainings() for spec in open_specs]
        with SuiteDisplay(open_specs, trainings, len(specs) - len(pending)) as display:
            if cluster is not None:
                cluster.on_status = display.status
            dispatch.run(planned.run_tasks, suite.jobs or at_most, display)
        searches = ResultsStore(planned.results.path).searches()
    return searches[searches["search_id"].isin([spec.search_id for spec in specs])]


def show_plan(suite: Suite) -> None:
    """Prints what `run_suite` would run, and what that is estimated to cost. Trains nothing and writes no results."""
    with _planned(suite, dry_run=True) as planned:
        searches = _known_searches(planned.results)
        done = set(searches.loc[searches["status"] == "done", "search_id"]) if len(searches) else set()
        prepared = planned.prepared
        workers = min(planned.room, suite.jobs or planned.room)
        print_plan(planned.specs, prepared.image_shape, prepared.n_images, done, searches, workers)


def prepare(protocol: Protocol, device: str) -> Prepared:
    """Makes all that the protocol's suites share on this machine: downloads, decoded images, features.

    Raises InputError where that fails.
    """
    warm_up()
    return _prepare(protocol, device, run_tasks)


def _known_searches(results: Results) -> pd.DataFrame:
    exists = (results.path / "searches").is_dir()
    return ResultsStore(results.path).searches() if exists else pd.DataFrame()


@dataclass(frozen=True)
class _Planned:
    """A suite that can run. room: for so many searches at a time."""

    specs: Sequence[SearchSpec]
    prepared: Prepared
    results: Results
    run_tasks: RunTasks
    room: int
    cluster: Cluster | None


@contextmanager
def _planned(suite: Suite, dry_run: bool = False) -> Iterator[_Planned]:
    protocol = suite.protocol
    plan(protocol, "", suite.searchers, suite.seeds, ahead=suite.ahead)  # settings and names, before any data
    results = Results(suite.results)
    _check_results(results.path)
    if not dry_run:
        results.check_writable()
    if suite.studies is not None:
        from benchmark.suite.studies import check_studies  # SQLAlchemy takes a while

        check_studies(suite.studies)
    with _executor(suite) as (run, device, cluster):
        prepared = _prepare(protocol, device, run, with_features=not dry_run)
        print(f"{printable(protocol.dataset.name)}: {prepared.data}", flush=True)
        specs = plan(
            prepared.protocol,
            prepared.fingerprint,
            suite.searchers,
            suite.seeds,
            prepared.device,
            suite.ahead,
            prepared.data,
        )
        _check_precision(specs)
        if cluster is not None and prepared.shared.code != code_digest():
            raise InputError("latentbench on the cluster is another version than this one; install the same there")
        threads = protocol.training.threads
        room = _default_jobs(prepared.device, threads) if cluster is None else cluster.room()
        yield _Planned(specs, prepared, results, run, room, cluster)


@contextmanager
def _executor(suite: Suite) -> Iterator[tuple[RunTasks, str, Cluster | None]]:
    """What runs the tasks, on which device."""
    if suite.executor == "local":
        warm_up()
        yield run_tasks, suite.device, None
        return
    with ExitStack() as stack:
        with StageDisplay("connecting to the Ray cluster"):
            cluster = stack.enter_context(connect(suite.address, suite.protocol, suite.device))
        yield cluster.run_tasks, cluster.device, cluster


def _longest_first(units: Sequence[Unit], specs: Sequence[SearchSpec], prepared: Prepared) -> list[Unit]:
    """What comes last by itself, a search whose trainings are spread, costs nothing here."""
    data = (prepared.image_shape, prepared.n_images)

    def flops(unit: Unit) -> float:
        spec = specs[unit.search]
        if unit.training is not None:
            return training_flops(spec, *data, spec.known_sizes()[unit.training])
        if spec.ahead == "population":  # one task trains those of all seeds
            return sum(search_flops(other, *data) for other in specs if other.searcher == spec.searcher)
        return 0.0 if spec.ahead == "spread" else search_flops(spec, *data)

    return [units[i] for i in longest_first([flops(unit) for unit in units])]


def _has_result(folder: SearchFolder, results: Results, checked: Checked, copied: bool = False) -> bool:
    """True where the search is done and its files are as they were then; damage is said, and that search not done.

    checked: see `benchmark.store.atomic_files.check_digests`.
    """
    try:
        if folder.read().get("status") != "done":
            return False
        folder.check(checked)
    except Damaged as damage:
        if results.url is not None and not copied:  # the copy may be damaged, and not what is at the URL
            results.refresh(folder.path.name)
            return _has_result(folder, results, checked, copied=True)
        if damage.path.parent == folder.path:  # of a training's files the search itself says it
            print(f"{damage.path} is damaged: what it belongs to is done anew")
        folder.reopen()
        results.publish(folder.path.name)
        return False
    if Watch().next_number(folder.path) is not None:
        folder.tidy()
        clear(folder.path)
        shutil.rmtree(folder.path / "ahead", ignore_errors=True)
    return True


def _prepare(protocol: Protocol, device: str, run_tasks: RunTasks, with_features: bool = True) -> Prepared:
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
    with StageDisplay("starting") as display:
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
        if in_bf16 and spec.device == "cpu" and spec.ahead == "population":  # convolutions would be float32
            raise InputError(f"precision is bf16 and {spec.searcher} is stacked, on a CPU; expected one of the two")


def _check_results(path: Path) -> None:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.is_symlink() or parent.exists())
    if not existing.is_dir():
        raise InputError(f"results folder {path}: {existing} is a file; expected a folder or a new name")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"results folder {path}: no permission to read and write {existing}; choose another")
