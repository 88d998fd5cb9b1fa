"""What a suite's workers are given: searches, and trainings that are made ahead of the searches that need them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Results
from benchmark.suite.plan import SearchSpec


class SearchTask(NamedTuple):
    """A search for a worker: its folder, and the number under which it can be claimed.

    trainings: the folder of the trainings that searches share (`benchmark.suite.shared_trainings`).
    """

    spec: SearchSpec
    path: Path
    trainings: Path
    claim_number: int


class SharedTraining(NamedTuple):
    """A plain training for a worker, of a search that will ask for it; `path` is its folder."""

    spec: SearchSpec
    latent_dim: int
    epochs: int
    path: Path


class WorkItem(NamedTuple):
    """What a task does: a search (its index), or plain trainings that searches will ask for.

    trainings: none for a search. askers: of each training, the searches that will ask for it and under which number.
    """

    search: int
    trainings: tuple[SharedTraining, ...] = ()
    askers: tuple[tuple[tuple[int, int], ...], ...] = ()


def trainings_folder(results: Results, search: Path) -> Path:
    """Where the trainings are that a search shares with others: of results at a URL, with no other."""
    return results.path / "trainings" if results.url is None else search / "trainings"


def make_items(pending: Sequence[tuple[SearchSpec, SearchFolder]], results: Results) -> list[WorkItem]:
    """An item for each search, after those of the trainings that are made ahead: each its own, or stacked by budget."""
    ahead: dict[Path, tuple[SharedTraining, list[tuple[int, int]]]] = {}
    for i, (spec, folder) in enumerate(pending):
        if spec.execution == "sequential":
            continue
        trainings = trainings_folder(results, folder.path).absolute()
        for number, (size, epochs, certain) in enumerate(spec.expected()):
            if certain:
                path = trainings / spec.training_key(size, epochs)
                ahead.setdefault(path, (SharedTraining(spec, size, epochs, path), []))[1].append((i, number))
    groups: dict[Any, list[tuple[SharedTraining, tuple[tuple[int, int], ...]]]] = {}
    for path, (training, askers) in ahead.items():
        together = training.epochs if training.spec.execution == "stacked" else path
        groups.setdefault(together, []).append((training, tuple(askers)))
    items = []
    for group in groups.values():
        shared, askers_of = zip(*group, strict=True)
        items.append(WorkItem(askers_of[0][0][0], shared, askers_of))
    return [*items, *(WorkItem(i) for i in range(len(pending)))]
