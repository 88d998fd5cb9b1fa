"""What is started when: claims of others, lost nodes, trainings and their searches; without a process being started."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.config.protocol import parse_protocol
from benchmark.errors import InputError
from benchmark.store.claims import claim
from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Mirror, Results
from benchmark.suite.dispatch import SHARED_SECONDS, Dispatch
from benchmark.suite.estimate import item_flops
from benchmark.suite.executors.local_pool import Death, Offer, Task
from benchmark.suite.executors.ray_pool import _silence
from benchmark.suite.forecast import longest_first
from benchmark.suite.plan import Prepared, Shared, plan
from benchmark.suite.work import make_items
from benchmark.suite.worker import _claimed

PROTOCOL = """
dataset = {name = "digits"}
backbone = {name = "mlp", hidden = [8]}
resources = {max_retries = 2}
space = {sizes = [2, 4]}
searchers."grid@again" = {sizes = [4, 8]}
searchers."halving@asha" = {reduction_factor = 2, asynchronous = true}
searchers.halving = {reduction_factor = 2}
training = {epochs = 2}
"""
LOST = Death("its node was lost", lost=True)
IMAGES = ((1, 8, 8), 100)


class Display:
    """What the user is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.outcomes: dict[int, str] = {}
        self.progress: list[tuple[Any, ...]] = []

    def epoch(self, *progress: int) -> None:
        self.progress.append(progress)

    def stacked(self, *progress: Any) -> None:
        self.progress.append(progress)

    def notice(self, line: str) -> None:
        self.notices.append(line)

    def ended(self, index: int, outcome: str) -> None:
        self.outcomes[index] = outcome


class Suite:
    """A dispatch whose tasks are never started."""

    def __init__(
        self,
        results: str | Path,
        searchers: str = "grid",
        seeds: tuple[int, ...] = (0,),
        execution: str = "sequential",
        on_nodes: bool = False,
        sizes: str = "2, 4",
        size_only: bool = False,
        waits: bool = True,
    ) -> None:
        protocol = parse_protocol(PROTOCOL.replace("2, 4", sizes), "tiny")
        protocol = replace(protocol, size_only=size_only)
        self.specs = plan(protocol, "data", searchers.split(), seeds, execution=execution)
        self.results = Results(results)
        self.folders = [SearchFolder(self.results.path / "searches" / spec.search_id) for spec in self.specs]
        for folder in self.folders:
            folder.path.mkdir(parents=True, exist_ok=True)
        pending = list(zip(self.specs, self.folders, strict=True))
        self.prepared = Prepared("cpu", protocol, "fingerprint", "data", *IMAGES, Shared("code", {}))
        self.items = make_items(pending, self.results)
        self.ahead = [index for index, item in enumerate(self.items) if item.trainings]
        self.dispatch = Dispatch(pending, self.items, self.results, self.prepared, on_nodes, waits)
        self.display = Display()
        self.dispatch.run(lambda *_: None, 1, self.display)  # type: ignore[arg-type]

    def item(self, search: int = 0) -> int:
        """The item that is this search."""
        return next(i for i, item in enumerate(self.items) if not item.trainings and item.search == search)

    def offer(self, index: int) -> Any:
        """LATER, ENDED, or what the worker is given."""
        task = self.dispatch.offer(index)
        return task.arguments[0] if isinstance(task, Task) else task

    def end(self, index: int, death: Death | None = None) -> bool:
        """True where the item is put back."""
        return self.dispatch.on_end(index, death)

    def finish(self, search: int, status: str = "done") -> None:
        """What a worker writes."""
        values = {"error": "no"} if status == "failed" else {"latent_dim": 4}
        self.folders[search].begin(**self.specs[search].identity())
        self.folders[search].finish(status, **values)


def _foreign(folder: Path, number: int) -> None:
    """A live claim of another machine."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"claim-{number:06d}").write_text('{"machine": ["elsewhere", "", ""], "pid": 1, "started": "1"}')


def test_a_search_waits_for_its_trainings(tmp_path: Path) -> None:
    suite = Suite(tmp_path, execution="spread")
    first, second = suite.ahead
    assert suite.offer(suite.item()) is Offer.LATER
    sizes = [[one.latent_dim for one in suite.offer(index)] for index in (first, second)]
    assert sizes == [[2], [4]]
    assert not suite.end(first) and suite.offer(suite.item()) is Offer.LATER
    assert not suite.end(second, Death("killed"))  # what it has left undone the search does
    task = suite.offer(suite.item())
    assert task.path == suite.folders[0].path.absolute() and task.trainings == (tmp_path / "trainings").absolute()


def test_a_training_of_two_searches_is_done_once_and_both_wait(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "grid grid@again sparsity", execution="spread")
    assert [[one.latent_dim for one in suite.items[index].trainings] for index in suite.ahead] == [[2], [4], [8]]
    assert [suite.items[index].askers for index in suite.ahead] == [(((0, 0),),), (((0, 1), (1, 0)),), (((1, 1),),)]
    first, both, last = suite.ahead
    assert not suite.end(both)
    assert suite.offer(suite.item(0)) is suite.offer(suite.item(1)) is Offer.LATER
    assert not suite.end(first) and suite.offer(suite.item(0)).claim_number == 1
    assert suite.offer(suite.item(1)) is Offer.LATER and suite.offer(suite.item(2)).claim_number == 1
    assert not suite.end(last) and suite.offer(suite.item(1)).claim_number == 1


@pytest.mark.parametrize("at_url", [False, True])
def test_an_asynchronous_search_starts_beside_its_trainings(tmp_path: Path, at_url: bool) -> None:
    """The synchronous one asks for the same and waits; at a URL no search sees a training before it is published."""
    results = f"file://{tmp_path / 'store'}" if at_url else tmp_path
    suite = Suite(results, "halving@asha halving", execution="spread", sizes="2, 4, 8")
    assert len(suite.ahead) == (6 if at_url else 3)
    first, second = (suite.offer(suite.item(search)) for search in range(2))
    assert second is Offer.LATER and (first is Offer.LATER if at_url else first.claim_number == 1)


def test_an_epoch_is_shown_in_every_search_that_asks_for_it(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "grid grid@again", execution="spread")
    suite.dispatch.on_message(suite.ahead[1], ("epoch", (0, 1, 2, 4)))
    assert suite.display.progress == [(0, 1, 1, 2, 4), (1, 0, 1, 2, 4)]
    suite.dispatch.on_message(suite.item(1), ("epoch", (1, 2, 2, 8)))
    assert suite.display.progress[2:] == [(1, 1, 2, 2, 8)]


def test_stacks_are_of_equal_budgets_and_shown_as_one(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "grid grid@again", (0, 1), execution="stacked")
    (stack,) = suite.ahead
    sizes = [(one.spec.seed, one.latent_dim) for one in suite.offer(stack)]
    assert sorted(sizes) == [(seed, size) for seed in (0, 1) for size in (2, 4, 8)]
    assert all(suite.offer(suite.item(search)) is Offer.LATER for search in range(4))
    suite.dispatch.on_message(stack, ("stacked", (6, 1, 2)))
    assert suite.display.progress == [(suite.items[stack].search, [0, 1, 2, 3], 6, 1, 2)]
    assert not suite.end(stack) and suite.offer(suite.item(3)).claim_number == 1


def test_at_a_url_searches_share_nothing(tmp_path: Path) -> None:
    suite = Suite(f"file://{tmp_path / 'store'}", "grid grid@again", execution="spread")
    paths = [one.path for index in suite.ahead for one in suite.items[index].trainings]
    owners = [path.parents[1].name for path in paths]
    assert owners == [suite.specs[0].search_id] * 2 + [suite.specs[1].search_id] * 2 and len(set(paths)) == 4
    assert suite.dispatch.offer(suite.ahead[0]).target.startswith("benchmark.suite.executors.node:")  # type: ignore[union-attr]


def test_others_go_on_while_a_result_is_not_seen_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("benchmark.suite.dispatch.time.monotonic", lambda: now)
    suite = Suite(tmp_path, seeds=(0, 1), on_nodes=True)
    for index in (0, 1):
        suite.offer(index)
        assert suite.end(index)  # at once, and it is put back
        assert suite.offer(index) is Offer.LATER
    suite.finish(0)
    assert suite.offer(0) is Offer.ENDED and not suite.end(0)
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"}
    now += SHARED_SECONDS
    assert suite.offer(1) is Offer.LATER
    now += 0.1
    with pytest.raises(InputError, match="is not where its node wrote it; expected a path that all nodes share"):
        suite.offer(1)


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_search_that_ended_elsewhere_is_shown(tmp_path: Path, status: str) -> None:
    suite = Suite(tmp_path)
    suite.offer(0)
    _foreign(suite.folders[0].path, 2)  # it took ours over
    assert suite.end(0) and suite.offer(0) is Offer.LATER
    assert suite.display.notices == ["grid seed 0 is being run by another command; waiting for it"]
    suite.finish(0, status)
    assert suite.offer(0) is Offer.ENDED and not suite.end(0)
    assert suite.display.outcomes == {0: "4 latents (0.0 s)" if status == "done" else "failed, no (0.0 s)"}


def test_a_command_that_does_not_wait_leaves_what_others_have(tmp_path: Path) -> None:
    suite = Suite(tmp_path, seeds=(0, 1), waits=False)
    _foreign(suite.folders[0].path, 1)
    assert suite.offer(0) is Offer.ENDED and not suite.end(0)
    assert suite.display.outcomes == {0: "another command has it"} and suite.dispatch.left == {0}
    assert suite.offer(1).claim_number == 1  # free
    _foreign(suite.folders[1].path, 2)  # but another command was faster
    suite.dispatch.on_message(1, ("taken", ""))
    assert suite.end(1)
    assert suite.offer(1) is Offer.ENDED and not suite.end(1) and suite.dispatch.left == {0, 1}
    waiting = Suite(tmp_path)
    assert waiting.offer(0) is Offer.LATER and waiting.dispatch.left == set()


def test_a_search_claimed_between_the_offer_and_the_claim_is_not_run_twice(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    task = suite.offer(0)
    other = claim(task.path, 1, lambda: None)
    assert other is not None
    with _claimed(task) as free:
        assert not free
    other.release(finished=False)
    with _claimed(suite.offer(0)) as free:
        assert free
    suite.finish(0)
    with _claimed(task._replace(claim_number=9)) as free:
        assert not free  # another has finished it
    assert not list(task.path.glob("claim-*"))


def test_a_lost_nodes_claim_is_void_at_once(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    assert suite.offer(0).claim_number == 1
    _foreign(suite.folders[0].path, 1)  # its worker's
    assert suite.end(0, LOST)
    assert suite.offer(0).claim_number == 2
    _foreign(suite.folders[0].path, 2)  # but another command was faster
    suite.dispatch.on_message(0, ("taken", ""))
    assert suite.end(0)
    assert suite.offer(0) is Offer.LATER


@pytest.mark.parametrize("execution", ["sequential", "spread"])
def test_a_node_is_lost_max_retries_times_and_not_more(tmp_path: Path, execution: str) -> None:
    """A training ahead is then left to its search."""
    suite = Suite(tmp_path, execution=execution)
    for _ in range(2):
        suite.offer(0)
        assert suite.end(0, LOST)
    suite.offer(0)
    assert not suite.end(0, LOST)
    assert suite.display.notices == ["grid seed 0 goes on elsewhere: its node was lost"] * 2
    failed = {0: "failed, its node was lost (0.0 s)"}
    assert suite.display.outcomes == (failed if execution == "sequential" else {})
    assert suite.folders[0].status() == ("failed" if execution == "sequential" else None)


def test_a_done_search_is_offered_until_its_size_is_scored(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "sparsity", size_only=True)
    suite.finish(0)
    assert suite.offer(0).claim_number == 1
    suite.folders[0].update(size_only="done")
    assert suite.offer(0) is Offer.ENDED


def test_a_worker_that_dies_over_the_score_leaves_the_search_done(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "sparsity", size_only=True)
    suite.offer(0)
    suite.finish(0)
    assert not suite.end(0, Death("killed"))
    assert suite.display.notices == [f"{suite.specs[0].search_id} has no plain training of its size: killed"]
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"} and suite.folders[0].status() == "done"


def test_a_search_that_is_done_at_the_url_is_not_asked_for_again(tmp_path: Path) -> None:
    """Its node was lost between its last word and the task's end; the next worker finds nothing to do."""
    url = f"file://{tmp_path / 'store'}"
    suite = Suite(url)
    suite.offer(0)
    there = Suite(tmp_path / "there")
    there.finish(0)
    Mirror(f"{url}/searches/{suite.specs[0].search_id}", there.folders[0].path).push()
    suite.dispatch.on_message(0, ("taken", ""))
    assert suite.end(0)
    assert suite.offer(0) is Offer.ENDED and not suite.end(0)
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"}


def test_a_stack_is_placed_by_all_that_it_trains(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "sparsity random", (0, 1, 2), execution="stacked")
    order = [suite.items[i] for i in longest_first(item_flops(suite.items, suite.specs, *IMAGES))]
    assert len(order[0].trainings) > 3 and [len(item.trainings) for item in order[1:]] == [0] * 6
    assert [suite.specs[item.search].searcher for item in order[1:]] == ["sparsity"] * 3 + ["random"] * 3


@pytest.mark.parametrize("status", ["done", "failed"])
def test_an_outcome(tmp_path: Path, status: str) -> None:
    suite = Suite(tmp_path)
    suite.offer(0)
    suite.finish(0, status)
    assert not suite.end(0)
    assert suite.display.outcomes[0].startswith({"done": "4 latents", "failed": "failed, no"}[status])


def test_a_ray_without_its_private_function_is_left_alone() -> None:
    worker = SimpleNamespace(listen_error_messages=print)
    _silence(SimpleNamespace(_private=SimpleNamespace(worker=worker)))
    assert worker.listen_error_messages("a lost node's log") is None and worker.listen_error_messages is not print
    for ray in (SimpleNamespace(), SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace()))):
        _silence(ray)
