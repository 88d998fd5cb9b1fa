"""What a suite gives its workers: searches, and trainings that several searches will ask for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Results
from benchmark.suite.plan import SearchSpec


class SearchTask(NamedTuple):
    """A search for a worker.

    path: the search's folder. trainings: the folder of the trainings that searches share
    (`benchmark.suite.shared_trainings`). claim_number: the number under which the worker claims the search.
    """

    spec: SearchSpec
    path: Path
    trainings: Path
    claim_number: int


class SharedTraining(NamedTuple):
    """A plain training for a worker, in the folder `path`. spec: of a search that will ask for it."""

    spec: SearchSpec
    latent_dim: int
    epochs: int
    path: Path


class WorkItem(NamedTuple):
    """One task of a suite: a search, or plain trainings that searches will ask for.

    search: the index of the search; for trainings, of the first search that will ask. trainings: empty for a search.
    askers: for each training the searches that will ask for it, each with the trial's number there.
    """

    search: int
    trainings: tuple[SharedTraining, ...] = ()
    askers: tuple[tuple[tuple[int, int], ...], ...] = ()


def trainings_folder(results: Results, search: Path) -> Path:
    """The folder of the trainings that a search shares. With results at a URL each search has a folder of its own."""
    return results.path / "trainings" if results.url is None else search / "trainings"


def make_items(pending: Sequence[tuple[SearchSpec, SearchFolder]], results: Results) -> list[WorkItem]:
    """An item for each search, after the items of trainings that are done first: one each, or one for a whole stack."""
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
