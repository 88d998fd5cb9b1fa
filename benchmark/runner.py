"""Runs a suite: every searcher with every seed on one protocol, and nothing that is already done."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.claims import Watch, clear, newest_claim
from benchmark.config import Protocol
from benchmark.errors import Damaged, InputError
from benchmark.plan import Assignment, SearchSpec, make_searcher, plan
from benchmark.pool import Offer, Task, run_tasks, warm_up
from benchmark.progress import SuiteDisplay
from benchmark.store import ResultsStore, SearchFolder


@dataclass(frozen=True)
class Suite:
    """What to run and where. jobs: searches at a time; None is one a core on a CPU, one on a GPU.

    ahead: see `plan`.
    """

    protocol: Protocol
    searchers: tuple[str, ...]
    seeds: tuple[int, ...]
    results: Path
    device: str = "auto"
    jobs: int | None = None
    ahead: str = ""


def run_suite(suite: Suite) -> pd.DataFrame:
    """Runs what is not done yet, shows progress and a summary; the suite's rows of `ResultsStore.searches()`.

    Raises InputError before anything is written where the suite cannot run.
    """
    _check_results(suite.results)
    warm_up()
    plan(suite.protocol, "", suite.searchers, suite.seeds, ahead=suite.ahead)  # settings and names, before any data
    device, protocol, fingerprint = _prepare(suite)
    specs = plan(protocol, fingerprint, suite.searchers, suite.seeds, device, suite.ahead)
    _check_precision(specs)
    folders = [SearchFolder(suite.results / "searches" / spec.search_id) for spec in specs]
    pending = [(s, f) for s, f in zip(specs, folders, strict=True) if not _has_result(f)]
    jobs = suite.jobs or _default_jobs(device, suite.protocol.training.threads)
    _run(pending, device, jobs, done_before=len(specs) - len(pending))
    searches = ResultsStore(suite.results).searches()
    return searches[searches["search_id"].isin([spec.search_id for spec in specs])]


def _has_result(folder: SearchFolder) -> bool:
    """Whether the search is done and its files are as they were then; damage is said, and that search not done."""
    try:
        if folder.read().get("status") != "done":
            return False
        folder.check()
    except Damaged as damage:
        if damage.path.parent == folder.path:  # of a training's files the search itself says it
            print(f"{damage.path} is damaged: what it belongs to is done anew")
        folder.reopen()
        return False
    if Watch().next_number(folder.path) is not None:
        folder.tidy()
        clear(folder.path)
    return True


def _run(pending: Sequence[tuple[SearchSpec, SearchFolder]], device: str, jobs: int, done_before: int) -> None:
    searchers = [make_searcher(spec.searcher, spec.settings) for spec, _ in pending]
    leaders = _leaders([spec for spec, _ in pending])
    attempts_before = [folder.attempts() for _, folder in pending]
    watch = Watch()
    elsewhere: set[int] = set()
    taken: set[int] = set()
    claimed: dict[int, int] = {}  # the numbers under which this command's workers claim their searches
    leading: set[int] = set()  # searches whose worker trains those of their companions too

    def offer(index: int) -> Task | Offer:
        spec, folder = pending[index]
        if leaders.get(index) in leading - {index}:
            return Offer.LATER
        failed_since = folder.status() == "failed" and folder.attempts() > attempts_before[index]
        if folder.status() == "done" or failed_since:  # another command on these results was faster
            return Offer.ENDED
        number = watch.next_number(folder.path)
        if number is None:
            if index not in elsewhere:
                display.notice(f"{spec.searcher} seed {spec.seed} is being run by another command; waiting for it")
            elsewhere.add(index)
            return Offer.LATER
        claimed[index] = number
        others = [pending[i] for i, leader in leaders.items() if leader == index != i]
        if others:
            leading.add(index)
        numbered = [(other, at.path, watch.next_number(at.path)) for other, at in others]
        companions = [Assignment(other, path, free) for other, path, free in numbered if free is not None]
        return Task("benchmark.worker:run_search", (Assignment(spec, folder.path, number), companions, device))

    n_trainings = [searcher.n_trainings for searcher in searchers]
    with SuiteDisplay([spec for spec, _ in pending], n_trainings, done_before) as display:

        def on_message(index: int, message: tuple[str, Any]) -> None:
            kind, content = message
            if kind == "epoch":
                display.epoch(index, *content)
            elif kind == "population":
                display.population(index, [i for i, leader in leaders.items() if leader == index], *content)
            elif kind == "notice":
                display.notice(content)
            elif kind == "taken":
                taken.add(index)
            elif kind == "cannot_write":
                raise InputError(f"cannot write {content}; make room or give access, and run the same command again")

        def on_end(index: int, death: str | None) -> bool:
            spec, folder = pending[index]
            leading.discard(index)
            if index in taken or index in claimed and newest_claim(folder.path) not in (0, claimed[index]):
                taken.discard(index)
                return True  # another process has it, or had it
            if death is not None and folder.status() != "done":
                folder.finish("failed", error=death, **spec.identity())
            display.ended(index, _outcome(folder.read()))
            return False

        run_tasks(len(pending), jobs, offer, on_message, on_end)


def _leaders(specs: Sequence[SearchSpec]) -> dict[int, int]:
    """For each search that trains a population the first one of its searcher: its worker trains those of all seeds."""
    first: dict[str, int] = {}
    return {i: first.setdefault(spec.searcher, i) for i, spec in enumerate(specs) if spec.ahead == "population"}


def _outcome(search: dict[str, Any]) -> str:
    what = f"failed, {search['error']}" if search["status"] == "failed" else f"{search['latent_dim']} latents"
    return f"{what} ({search['train_seconds'] + search['eval_seconds']:.1f} s)"


def _prepare(suite: Suite) -> Any:
    answers: list[tuple[str, Any]] = []
    deaths: list[str | None] = []

    def on_end(_: int, death: str | None) -> bool:
        deaths.append(death)
        return False

    run_tasks(
        1,
        1,
        lambda _: Task("benchmark.worker:prepare", (suite.protocol, suite.device)),
        lambda _, message: answers.append(message),
        on_end,
    )
    if not answers:
        raise RuntimeError(f"preparing the data failed: {deaths[0]}")
    kind, content = answers[0]
    if kind == "input_error":
        raise InputError(content)
    return content


def _default_jobs(device: str, threads: int) -> int:
    return 1 if device.startswith("cuda") else max(1, len(os.sched_getaffinity(0)) // threads)


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
