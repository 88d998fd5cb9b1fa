"""Which searches of a suite are started when, and what their workers' messages and deaths mean."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import Damaged, InputError
from benchmark.store import SearchFolder
from benchmark.store.claims import Watch, newest_claim
from benchmark.store.doubts import doubts
from benchmark.store.remote import Results
from benchmark.suite.local_pool import Death, Offer, RunTasks, Task
from benchmark.suite.plan import Assignment, Prepared, SearchSpec, claim_path
from benchmark.terminal.progress import SuiteDisplay

ENDED = ("done", "failed")
SHARED_SECONDS = 60.0  # until what one machine wrote is seen by another, at the latest


class Unit(NamedTuple):
    """What a task does: a search, or one of its trainings ahead of it."""

    search: int
    training: int | None = None


class Dispatch:
    """Runs searches that are not done, each in a task of its own; and trainings of theirs that are spread.

    on_nodes: the workers may be on other machines. Its methods are the callbacks of
    `benchmark.suite.local_pool.RunTasks`, which take the index of a unit.
    """

    def __init__(
        self,
        pending: Sequence[tuple[SearchSpec, SearchFolder]],
        units: Sequence[Unit],
        results: Results,
        prepared: Prepared,
        studies: str | None,
        on_nodes: bool,
    ) -> None:
        self.pending, self.units = pending, units
        self._results, self._prepared, self._studies = results, prepared, studies
        self._on_nodes = on_nodes or results.url is not None
        self._leaders = _leaders([spec for spec, _ in pending])
        self._leading: set[int] = set()  # searches whose worker trains those of their companions too
        self._attempts_before = [folder.attempts() for _, folder in pending]
        self._watch = Watch()
        self._open = {unit for unit in units if unit.training is not None}
        self._elsewhere: set[Unit] = set()
        self._taken: set[Unit] = set()
        self._claimed: dict[Unit, int] = {}  # the numbers under which this command's workers claim
        self._with: dict[Unit, dict[Unit, int]] = {}  # those of the companions that a worker claims too
        self._lost: dict[Unit, int] = {}  # how often their node was lost
        self._gone: dict[Unit, int] = {}  # the number of a claim that went with its node
        self._unseen: dict[Unit, float] = {}  # those that ended elsewhere: until when their result must be seen here

    def run(self, run_tasks: RunTasks, jobs: int, display: SuiteDisplay) -> None:
        """Returns when all have ended."""
        self._display = display
        run_tasks(len(self.units), jobs, self.offer, self.on_message, self.on_end)

    def offer(self, index: int) -> Task | Offer:
        """The task of a unit, unless it waits or has ended elsewhere."""
        unit = self.units[index]
        spec, folder = self.pending[unit.search]
        if unit in self._unseen:
            return self._offer_unseen(unit)
        if self._leaders.get(unit.search) in self._leading - {unit.search}:
            return Offer.LATER
        if self._has_ended(unit):
            self._claimed.pop(unit, None)
            return Offer.ENDED
        if unit.training is None and any(other.search == unit.search for other in self._open):
            return Offer.LATER
        number = self._free_number(unit)
        rivals = {rival: self._free_number(rival) for rival in self._rivals(unit)}
        if number is None or None in rivals.values():
            if unit not in self._elsewhere:
                self._display.notice(
                    f"{spec.searcher} seed {spec.seed} is being run by another command; waiting for it"
                )
            self._elsewhere.add(unit)
            return Offer.LATER
        self._claimed[unit] = number
        self._with[unit] = self._companions(unit)
        task = self._assignment(unit, number, [(rival, free - 1) for rival, free in rivals.items() if free is not None])
        companions = [self._assignment(other, free) for other, free in self._with[unit].items()]
        arguments = (task, companions, self._prepared.device, self._studies)
        if self._on_nodes:
            return Task("benchmark.suite.node:run_search", (*arguments, self._prepared.shared, self._results.url))
        return Task("benchmark.suite.worker:run_search", arguments)

    def _has_ended(self, unit: Unit) -> bool:
        """Whether another command on these results was faster, or the training was finished before."""
        _, folder = self.pending[unit.search]
        status = folder.status()
        ended = status == "done" or status == "failed" and folder.attempts() > self._attempts_before[unit.search]
        if ended or unit.training is None:
            return ended
        try:
            return folder.trial(unit.training).finished() is not None
        except Damaged:
            return False

    def _free_number(self, unit: Unit) -> int | None:
        """The number under which a unit can be claimed; None where another command's worker has it."""
        path = self._claim_path(unit)
        newest = newest_claim(path)
        return newest + 1 if newest and newest == self._gone.get(unit) else self._watch.next_number(path)

    def _rivals(self, unit: Unit) -> list[Unit]:
        """Who must not run beside a unit: a search and its own trainings."""
        own = [other for other in self.units if other.search == unit.search]
        return [other for other in own if (other.training is None) != (unit.training is None)]

    def _companions(self, unit: Unit) -> dict[Unit, int]:
        others = [Unit(i) for i, leader in self._leaders.items() if leader == unit.search != i]
        if others:
            self._leading.add(unit.search)
        numbers = {other: self._free_number(other) for other in others}
        return {other: free for other, free in numbers.items() if free is not None}

    def _assignment(self, unit: Unit, number: int, rivals: Sequence[tuple[Unit, int]] = ()) -> Assignment:
        spec, folder = self.pending[unit.search]
        seen = tuple((self._claim_path(rival).absolute(), newest) for rival, newest in rivals)
        return Assignment(spec, folder.path.absolute(), number, unit.training, seen)

    def _claim_path(self, unit: Unit) -> Path:
        return claim_path(self.pending[unit.search][1].path, unit.training)

    def on_message(self, index: int, message: tuple[str, Any]) -> None:
        """What a worker says: see `benchmark.suite.worker.run_search`, and ("started", node)."""
        unit, display = self.units[index], self._display
        kind, content = message
        if kind == "epoch":
            display.epoch(unit.search, *content)
        elif kind == "population":
            members = [i for i, leader in self._leaders.items() if leader == unit.search]
            display.population(unit.search, members, *content)
        elif kind == "stage":
            display.stage(unit.search, content)
        elif kind == "started":
            display.started(unit.search, content)
        elif kind == "notice":
            display.notice(content)
        elif kind == "taken":
            self._taken.add(unit)
        elif kind == "cannot_write":
            raise InputError(f"cannot write {content}; make room or give access, and run the same command again")

    def on_end(self, index: int, death: Death | None) -> bool:
        """Whether a unit has to be run again."""
        unit = self.units[index]
        spec, folder = self.pending[unit.search]
        self._leading.discard(unit.search)
        newest = newest_claim(self._claim_path(unit))
        if unit in self._taken or unit in self._claimed and newest not in (0, self._claimed[unit]):
            self._taken.discard(unit)
            self._results.refresh(spec.search_id)
            return True  # another process has it, or had it
        if death is not None and death.lost:
            self._gone |= {unit: self._claimed[unit], **self._with[unit]}
            self._lost[unit] = self._lost.get(unit, 0) + 1
            if self._lost[unit] <= self._prepared.protocol.resources.max_retries:
                why = death.cause.partition(";")[0]
                self._display.notice(f"{spec.searcher} seed {spec.seed} goes on elsewhere: {why}")
                return True
        self._open.discard(unit)
        if unit.training is not None:  # what it has left undone the search itself does
            return False
        self._results.refresh(spec.search_id)
        if death is not None and folder.status() != "done":
            folder.finish("failed", error=death.cause, **spec.identity())
            self._results.publish(spec.search_id)
        if self._on_nodes and folder.status() not in ENDED:
            self._unseen[unit] = time.monotonic() + SHARED_SECONDS
            return True
        self._display.ended(unit.search, _outcome(folder.read()))
        return False

    def _offer_unseen(self, unit: Unit) -> Offer:
        """Others go on while a shared file system is slow to show what a node wrote. Raises InputError at last."""
        folder = self.pending[unit.search][1]
        if folder.status() in ENDED:
            del self._unseen[unit]
            return Offer.ENDED
        if time.monotonic() > self._unseen[unit]:
            raise InputError(f"{folder.path} is not where its node wrote it; expected a path that all nodes share")
        return Offer.LATER


def make_units(specs: Sequence[SearchSpec]) -> list[Unit]:
    """A unit for each search, after those of its trainings that are spread."""
    units = []
    for i, spec in enumerate(specs):
        ahead = len(spec.known_sizes()) if spec.ahead == "spread" else 0
        units += [*(Unit(i, number) for number in range(ahead)), Unit(i)]
    return units


def _leaders(specs: Sequence[SearchSpec]) -> dict[int, int]:
    """For each search that trains a population the first one of its searcher: its worker trains those of all seeds."""
    first: dict[str, int] = {}
    return {i: first.setdefault(spec.searcher, i) for i, spec in enumerate(specs) if spec.ahead == "population"}


def _outcome(search: dict[str, Any]) -> str:
    what = f"failed, {search['error']}" if search["status"] == "failed" else f"{search['latent_dim']} latents"
    active = search.get("test_active_units")
    what += "" if active is None else f", {active} in use"
    return "; ".join([f"{what} ({search['train_seconds'] + search['eval_seconds']:.1f} s)", *doubts(search)])
