"""Runs a suite: every searcher with every seed on one protocol, and nothing that is already done."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.config import Protocol
from benchmark.errors import InputError
from benchmark.plan import SearchSpec, make_searcher, plan
from benchmark.pool import Task, run_tasks, warm_up
from benchmark.progress import SuiteDisplay
from benchmark.store import ResultsStore, SearchFolder


@dataclass(frozen=True)
class Suite:
    """What to run and where. jobs: searches at a time; None is one a core on a CPU, one on a GPU."""

    protocol: Protocol
    searchers: tuple[str, ...]
    seeds: tuple[int, ...]
    results: Path
    device: str = "auto"
    jobs: int | None = None


def run_suite(suite: Suite) -> pd.DataFrame:
    """Runs what is not done yet, shows progress and a summary; the suite's rows of `ResultsStore.searches()`.

    Raises InputError before anything is written where the suite cannot run.
    """
    _check_results(suite.results)
    warm_up()
    plan(suite.protocol, "", suite.searchers, suite.seeds)  # settings and names, before the data is touched
    device, protocol, fingerprint = _prepare(suite)
    specs = plan(protocol, fingerprint, suite.searchers, suite.seeds, device)
    folders = [SearchFolder(suite.results / "searches" / spec.search_id) for spec in specs]
    pending = [(s, f) for s, f in zip(specs, folders, strict=True) if f.read().get("status") != "done"]
    jobs = suite.jobs or _default_jobs(device, suite.protocol.training.threads)
    _run(pending, device, jobs, done_before=len(specs) - len(pending))
    searches = ResultsStore(suite.results).searches()
    return searches[searches["search_id"].isin([spec.search_id for spec in specs])]


def _run(pending: Sequence[tuple[SearchSpec, SearchFolder]], device: str, jobs: int, done_before: int) -> None:
    n_trainings = [make_searcher(spec.searcher, spec.settings).n_trainings for spec, _ in pending]
    tasks = [Task("benchmark.worker:run_search", (spec, folder.path, device)) for spec, folder in pending]
    with SuiteDisplay([spec for spec, _ in pending], n_trainings, done_before) as display:

        def on_end(index: int, death: str | None) -> None:
            folder = pending[index][1]
            if death is not None:
                folder.finish("failed", error=death, **pending[index][0].identity())
            result = folder.read()
            failed = result["status"] == "failed"
            outcome = f"failed, {result['error']}" if failed else f"{result['latent_dim']} latents"
            display.ended(index, f"{outcome} ({result['train_seconds'] + result['eval_seconds']:.1f} s)")

        run_tasks(tasks, jobs, lambda index, progress: display.epoch(index, *progress), on_end)


def _prepare(suite: Suite) -> Any:
    answers: list[tuple[str, Any]] = []
    deaths: list[str | None] = []
    run_tasks(
        [Task("benchmark.worker:prepare", (suite.protocol, suite.device))],
        1,
        lambda _, message: answers.append(message),
        lambda _, death: deaths.append(death),
    )
    if not answers:
        raise RuntimeError(f"preparing the data failed: {deaths[0]}")
    kind, content = answers[0]
    if kind == "input_error":
        raise InputError(content)
    return content


def _default_jobs(device: str, threads: int) -> int:
    return 1 if device.startswith("cuda") else max(1, len(os.sched_getaffinity(0)) // threads)


def _check_results(path: Path) -> None:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise InputError(f"results folder {path}: {existing} is a file; expected a folder or a new name")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"results folder {path}: no permission to read and write {existing}; choose another")
