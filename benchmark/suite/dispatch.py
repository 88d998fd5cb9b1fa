"""Which tasks of a suite are started when, and what their workers' messages and deaths mean."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import Damaged, InputError
from benchmark.store.claims import Watch, newest_claim
from benchmark.store.doubts import doubts
from benchmark.store.folders import SearchFolder, TrialFolder
from benchmark.store.remote import Results
from benchmark.suite.display import Display
from benchmark.suite.executors.local_pool import Death, Offer, RunTasks, Task
from benchmark.suite.plan import Prepared, SearchSpec
from benchmark.suite.work import SearchTask, WorkItem, trainings_folder

ENDED = ("done", "failed")
SHARED_SECONDS = 60.0  # until what one machine wrote is seen by another, at the latest


class Dispatch:
    """Runs each search that is not done as a task of its own, after the trainings that are done first.

    on_nodes: the workers may be on other machines. waits: for searches that other commands have; else they are `left`
    to them. Its methods are the callbacks of
    `benchmark.suite.executors.local_pool.RunTasks`; they take the index of an item.
    """

    def __init__(
        self,
        pending: Sequence[tuple[SearchSpec, SearchFolder]],
        items: Sequence[WorkItem],
        results: Results,
        prepared: Prepared,
        on_nodes: bool,
        waits: bool = True,
    ) -> None:
        self.pending, self.items = pending, items
        self._results, self._prepared = results, prepared
        self._on_nodes = on_nodes or results.url is not None
        self._waits = waits
        self.left: set[int] = set()
        self._keeps_optimizers = any(spec.make_searcher().continues for spec, _ in pending)
        self._attempts_before = [folder.attempts() for _, folder in pending]
        self._watch = Watch()
        self._awaited = {index for index, item in enumerate(items) if item.trainings}  # searches wait for these
        self._elsewhere: set[int] = set()
        self._taken: set[int] = set()
        self._claimed: dict[int, int] = {}  # the claim numbers given to this command's workers
        self._lost: dict[int, int] = {}  # how often their node was lost
        self._gone: dict[int, int] = {}  # claims of lost nodes
        self._unseen: dict[int, float] = {}  # searches that ended on a node: the deadline for seeing their result here

    def run(self, run_tasks: RunTasks, jobs: int, display: Display) -> None:
        """Returns when all have ended."""
        self._display = display
        run_tasks(len(self.items), jobs, self.offer, self.on_message, self.on_end)

    def offer(self, index: int) -> Task | Offer:
        """The task of an item, or why it does not start now."""
        item = self.items[index]
        if item.trainings:
            if all(_is_finished(training.path) for training in item.trainings):
                return Offer.ENDED
            arguments = (item.trainings, self._prepared.device, self._keeps_optimizers)
            return self._task("train_ahead", arguments)
        spec, folder = self.pending[item.search]
        if index in self._unseen:
            return self._offer_unseen(index)
        if self._has_ended(item):
            self._claimed.pop(index, None)
            return Offer.ENDED
        if not (spec.overlaps() and self._results.url is None) and any(
            search == item.search for i in self._awaited for asker in self.items[i].askers for search, _ in asker
        ):
            return Offer.LATER
        number = self._free_number(index)
        if number is None and not self._waits:
            self.left.add(index)
            return Offer.ENDED
        if number is None:
            if index not in self._elsewhere:
                self._display.notice(
                    f"{spec.searcher} seed {spec.seed} is being run by another command; waiting for it"
                )
            self._elsewhere.add(index)
            return Offer.LATER
        self._claimed[index] = number
        trainings = trainings_folder(self._results, folder.path).absolute()
        task = SearchTask(spec, folder.path.absolute(), trainings, number)
        return self._task("run_search", (task, self._prepared.device, self._keeps_optimizers))

    def _task(self, name: str, arguments: tuple[Any, ...]) -> Task:
        if self._on_nodes:
            shared, url = self._prepared.shared, self._results.url
            return Task(f"benchmark.suite.executors.node:{name}", (*arguments, shared, url))
        return Task(f"benchmark.suite.worker:{name}", arguments)

    def _has_ended(self, item: WorkItem) -> bool:
        """Whether another command has finished the search meanwhile."""
        spec, folder = self.pending[item.search]
        if folder.is_complete(spec.size_only):
            return True
        return folder.status() == "failed" and folder.attempts() > self._attempts_before[item.search]

    def _free_number(self, index: int) -> int | None:
        """The number under which the search can be claimed now; None while another process holds it."""
        path = self.pending[self.items[index].search][1].path
        newest = newest_claim(path)
        return newest + 1 if newest and newest == self._gone.get(index) else self._watch.next_number(path)

    def on_message(self, index: int, message: tuple[str, Any]) -> None:
        """Handles a worker's message: see `benchmark.suite.worker`, and ("started", node)."""
        item, display = self.items[index], self._display
        kind, content = message
        if kind == "epoch":
            for search, trial in item.askers[0] if item.askers else ((item.search, content[0]),):
                display.epoch(search, trial, *content[1:])
        elif kind == "stacked":
            askers = {search for asker in item.askers for search, _ in asker}
            display.stacked(item.search, sorted(askers), *content)
        elif kind == "stage":
            display.stage(item.search, content)
        elif kind == "started":
            display.started(item.search, content)
        elif kind == "notice":
            display.notice(content)
        elif kind == "taken":
            self._taken.add(index)
        elif kind == "cannot_write":
            raise InputError(f"cannot write {content}; make room or give access, and run the same command again")

    def on_end(self, index: int, death: Death | None) -> bool:
        """Handles the end of an item's process; returns True if the item has to run again."""
        item = self.items[index]
        spec, folder = self.pending[item.search]
        if index in self.left:
            self._display.ended(item.search, "another command has it")
            return False
        if not item.trainings:
            newest = newest_claim(folder.path)
            if index in self._taken or index in self._claimed and newest not in (0, self._claimed[index]):
                self._taken.discard(index)
                self._results.refresh(spec.search_id)
                return True  # another process has it, or had it
        if death is not None and death.lost:
            self._gone |= {index: self._claimed[index]} if index in self._claimed else {}
            self._lost[index] = self._lost.get(index, 0) + 1
            if self._lost[index] <= self._prepared.protocol.resources.max_retries:
                why = death.cause.partition(";")[0]
                self._display.notice(f"{spec.searcher} seed {spec.seed} goes on elsewhere: {why}")
                return True
        self._awaited.discard(index)
        if item.trainings:  # the searches do what is left
            return False
        self._results.refresh(spec.search_id)
        if death is not None and folder.status() != "done":
            folder.finish("failed", error=death.cause, **spec.identity())
            self._results.publish(spec.search_id)
        if self._on_nodes and folder.status() not in ENDED:
            self._unseen[index] = time.monotonic() + SHARED_SECONDS
            return True
        if death is not None and folder.is_complete() and not folder.is_complete(spec.size_only):
            self._display.notice(f"{spec.search_id} has no plain training of its size: {death.cause}")
        self._display.ended(item.search, _outcome(folder.read()))
        return False

    def _offer_unseen(self, index: int) -> Offer:
        """Waits, without blocking others, for a shared file system to show what a node wrote.

        Raises InputError when that takes too long.
        """
        folder = self.pending[self.items[index].search][1]
        if folder.status() in ENDED:
            del self._unseen[index]
            return Offer.ENDED
        if time.monotonic() > self._unseen[index]:
            raise InputError(f"{folder.path} is not where its node wrote it; expected a path that all nodes share")
        return Offer.LATER


def _is_finished(training: Path) -> bool:
    try:
        return TrialFolder(training).finished() is not None
    except Damaged:
        return False


def _outcome(search: dict[str, Any]) -> str:
    what = f"failed, {search['error']}" if search["status"] == "failed" else f"{search['latent_dim']} latents"
    active = search.get("test_active_units")
    what += "" if active is None else f", {active:.0f} in use"
    return "; ".join([f"{what} ({search['train_seconds'] + search['eval_seconds']:.1f} s)", *doubts(search)])
