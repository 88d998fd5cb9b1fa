"""Runs a suite: every searcher with every seed on one protocol, and nothing that is already done."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.claims import Watch, clear
from benchmark.config import Protocol
from benchmark.dispatch import Dispatch, Unit, make_units
from benchmark.dry_run import print_plan
from benchmark.errors import Damaged, InputError
from benchmark.estimate import search_flops, training_flops
from benchmark.machine import code_digest, n_cpus
from benchmark.mirror import Results
from benchmark.placement import longest_first
from benchmark.plan import Prepared, SearchSpec, plan
from benchmark.pool import Death, RunTasks, Task, run_tasks, warm_up
from benchmark.progress import SuiteDisplay
from benchmark.ray_pool import Cluster, connect
from benchmark.store import ResultsStore, SearchFolder


@dataclass(frozen=True)
class Suite:
    """What to run and where. results: a folder, or a URL (`benchmark.mirror`).

    jobs: searches at a time; None is one a core on a CPU, one on a GPU, and as many as a cluster has room for.
    ahead: see `plan`. executor: one of `benchmark.config.EXECUTORS`. address: see `benchmark.ray_pool.connect`.
    studies: see `BenchProblem`.
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


def run_suite(suite: Suite) -> pd.DataFrame:
    """Runs what is not done yet, shows progress and a summary; the suite's rows of `ResultsStore.searches()`.

    Raises InputError before anything is written where the suite cannot run.
    """
    with _planned(suite) as planned:
        specs, cluster = planned.specs, planned.cluster
        folders = [SearchFolder(planned.results.path / "searches" / spec.search_id) for spec in specs]
        pending = [(s, f) for s, f in zip(specs, folders, strict=True) if not _has_result(f, planned.results)]
        open_specs = [spec for spec, _ in pending]
        units = make_units(open_specs)
        if cluster is not None:
            units = _longest_first(units, open_specs, planned.prepared)
        dispatch = Dispatch(pending, units, planned.results, planned.prepared, suite.studies, cluster is not None)
        trainings = [spec.n_trainings() for spec in open_specs]
        with SuiteDisplay(open_specs, trainings, len(specs) - len(pending)) as display:
            if cluster is not None:
                cluster.on_status = display.status
            at_most = planned.room if cluster is None else len(units)  # a cluster may grow
            dispatch.run(planned.run_tasks, suite.jobs or at_most, display)
        searches = ResultsStore(planned.results.path).searches()
    return searches[searches["search_id"].isin([spec.search_id for spec in specs])]


def show_plan(suite: Suite) -> None:
    """Prints what `run_suite` would run, and what that is estimated to cost."""
    with _planned(suite) as planned:
        known = (planned.results.path / "searches").is_dir()
        searches = ResultsStore(planned.results.path).searches() if known else pd.DataFrame()
        done = set(searches.loc[searches["status"] == "done", "search_id"]) if len(searches) else set()
        prepared = planned.prepared
        workers = min(planned.room, suite.jobs or planned.room)
        print_plan(planned.specs, prepared.image_shape, prepared.n_images, done, searches, workers)


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
def _planned(suite: Suite) -> Iterator[_Planned]:
    protocol = suite.protocol
    plan(protocol, "", suite.searchers, suite.seeds, ahead=suite.ahead)  # settings and names, before any data
    results = Results(suite.results)
    _check_results(results.path)
    results.check_writable()
    if suite.studies is not None:
        from benchmark.studies import check_studies  # SQLAlchemy takes a while

        check_studies(suite.studies)
    with _executor(suite) as (run, device, cluster):
        prepared = _prepare(protocol, device, run)
        specs = plan(
            prepared.protocol, prepared.fingerprint, suite.searchers, suite.seeds, prepared.device, suite.ahead
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
    with connect(suite.address, suite.protocol, suite.device) as cluster:
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


def _has_result(folder: SearchFolder, results: Results, copied: bool = False) -> bool:
    """Whether the search is done and its files are as they were then; damage is said, and that search not done."""
    try:
        if folder.read().get("status") != "done":
            return False
        folder.check()
    except Damaged as damage:
        if results.url is not None and not copied:  # the copy may be damaged, and not what is at the URL
            results.refresh(folder.path.name)
            return _has_result(folder, results, copied=True)
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


def _prepare(protocol: Protocol, device: str, run_tasks: RunTasks) -> Prepared:
    answers: list[tuple[str, Any]] = []
    deaths: list[Death | None] = []

    def on_end(_: int, death: Death | None) -> bool:
        deaths.append(death)
        return False

    run_tasks(
        1,
        1,
        lambda _: Task("benchmark.worker:prepare", (protocol, device)),
        lambda _, message: answers.append(message),
        on_end,
    )
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
