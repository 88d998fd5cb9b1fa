"""What is started when: claims of others, lost nodes, trainings and their search; without a process being started."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.config.protocol import parse_protocol
from benchmark.errors import InputError
from benchmark.store.claims import claim, clear
from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Mirror, Results
from benchmark.suite.dispatch import SHARED_SECONDS, Dispatch, Unit, make_units
from benchmark.suite.executors.local_pool import Death, Offer, Task
from benchmark.suite.executors.ray_pool import _silence
from benchmark.suite.plan import Assignment, Prepared, Shared, plan
from benchmark.suite.runner import _longest_first
from benchmark.suite.worker import _claimed

PROTOCOL = """
dataset = {name = "digits"}
backbone = {name = "mlp", hidden = [8]}
resources = {max_retries = 2}
space = {sizes = [2, 4]}
training = {epochs = 2}
"""
LOST = Death("its node was lost", lost=True)
IMAGES = ((1, 8, 8), 100)


class Display:
    """What the user is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.outcomes: dict[int, str] = {}

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
        ahead: str = "",
        on_nodes: bool = False,
    ) -> None:
        protocol = parse_protocol(PROTOCOL, "tiny")
        self.specs = plan(protocol, "data", searchers.split(), seeds, ahead=ahead)
        self.results = Results(results)
        self.folders = [SearchFolder(self.results.path / "searches" / spec.search_id) for spec in self.specs]
        for folder in self.folders:
            folder.path.mkdir(parents=True, exist_ok=True)
        pending = list(zip(self.specs, self.folders, strict=True))
        self.prepared = Prepared("cpu", protocol, "fingerprint", "data", *IMAGES, Shared("code", {}))
        self.units = make_units(self.specs)
        self.dispatch = Dispatch(pending, self.units, self.results, self.prepared, None, on_nodes)
        self.display = Display()
        self.dispatch.run(lambda *_: None, 1, self.display)  # type: ignore[arg-type]

    def offer(self, unit: Unit) -> Any:
        """LATER, ENDED, or the assignment."""
        task = self.dispatch.offer(self.units.index(unit))
        return task.arguments[0] if isinstance(task, Task) else task

    def companions(self, unit: Unit) -> list[Assignment]:
        """Of a unit that is offered now."""
        task = self.dispatch.offer(self.units.index(unit))
        assert isinstance(task, Task)
        companions: list[Assignment] = task.arguments[1]
        return companions

    def end(self, unit: Unit, death: Death | None = None) -> bool:
        """Whether the unit is put back."""
        return self.dispatch.on_end(self.units.index(unit), death)

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
    suite = Suite(tmp_path, ahead="spread")
    search, first, second = Unit(0), Unit(0, 0), Unit(0, 1)
    assert suite.offer(search) is Offer.LATER
    assert suite.offer(first).training == 0 and suite.offer(second).training == 1
    assert not suite.end(first) and suite.offer(search) is Offer.LATER
    assert not suite.end(second, Death("killed"))  # what it has left undone the search does
    assert suite.offer(search).training is None


def test_a_training_that_another_command_has_finished_holds_nothing_up(tmp_path: Path) -> None:
    suite = Suite(tmp_path, ahead="spread")
    search, first, second = Unit(0), Unit(0, 0), Unit(0, 1)
    suite.offer(first)
    suite.offer(second)
    _foreign(tmp_path / "searches" / suite.specs[0].search_id / "ahead" / "000", 2)  # it took ours over
    assert suite.end(first)
    assert suite.offer(first) is Offer.LATER
    suite.finish(0)
    assert suite.offer(first) is Offer.ENDED and not suite.end(first)
    assert not suite.end(second)
    assert suite.offer(search) is Offer.ENDED and not suite.end(search)
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"}


def test_others_go_on_while_a_result_is_not_seen_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("benchmark.suite.dispatch.time.monotonic", lambda: now)
    suite = Suite(tmp_path, seeds=(0, 1), on_nodes=True)
    for unit in suite.units:
        suite.offer(unit)
        assert suite.end(unit)  # at once, and it is put back
        assert suite.offer(unit) is Offer.LATER
    suite.finish(0)
    assert suite.offer(Unit(0)) is Offer.ENDED and not suite.end(Unit(0))
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"}
    now += SHARED_SECONDS
    assert suite.offer(Unit(1)) is Offer.LATER
    now += 0.1
    with pytest.raises(InputError, match="is not where its node wrote it; expected a path that all nodes share"):
        suite.offer(Unit(1))


def test_a_search_that_failed_elsewhere_is_shown(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    suite.offer(Unit(0))
    _foreign(suite.folders[0].path, 2)
    assert suite.end(Unit(0)) and suite.offer(Unit(0)) is Offer.LATER
    suite.finish(0, "failed")
    assert suite.offer(Unit(0)) is Offer.ENDED and not suite.end(Unit(0))
    assert suite.display.outcomes == {0: "failed, no (0.0 s)"}


def test_a_search_and_its_training_never_run_at_once(tmp_path: Path) -> None:
    """Whichever is claimed by another command keeps the other from starting, also between the offer and the claim."""
    suite = Suite(tmp_path, ahead="spread")
    folder = suite.folders[0].path
    training = suite.offer(Unit(0, 1))
    assert not suite.end(Unit(0, 0))
    held = claim(folder, 1, lambda: None)
    assert held is not None
    assert suite.offer(Unit(0, 0)) is Offer.LATER
    with _claimed(training) as free:
        assert not free
    held.release(finished=False)
    assert suite.offer(Unit(0, 0)).training == 0

    assert not suite.end(Unit(0, 1))
    clear(folder / "ahead" / "001")
    search = suite.offer(Unit(0))
    _foreign(folder / "ahead" / "001", 1)
    assert suite.offer(Unit(0)) is Offer.LATER
    with _claimed(search) as free:
        assert not free
    assert (folder / "ahead" / "001" / "claim-000001").exists()
    clear(folder / "ahead" / "001")
    clear(folder)
    with _claimed(suite.offer(Unit(0))) as free:
        assert free


def test_a_lost_nodes_claim_is_void_at_once(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    assert suite.offer(Unit(0)).claim_number == 1
    _foreign(suite.folders[0].path, 1)  # its worker's
    assert suite.end(Unit(0), LOST)
    assert suite.offer(Unit(0)).claim_number == 2
    _foreign(suite.folders[0].path, 2)  # but another command was faster
    suite.dispatch.on_message(0, ("taken", ""))
    assert suite.end(Unit(0))
    assert suite.offer(Unit(0)) is Offer.LATER


def test_a_node_is_lost_max_retries_times_and_not_more(tmp_path: Path) -> None:
    suite = Suite(tmp_path)
    for _ in range(2):
        suite.offer(Unit(0))
        assert suite.end(Unit(0), LOST)
    suite.offer(Unit(0))
    assert not suite.end(Unit(0), LOST)
    assert suite.display.notices == ["grid seed 0 goes on elsewhere: its node was lost"] * 2
    assert suite.display.outcomes == {0: "failed, its node was lost (0.0 s)"}
    assert suite.folders[0].status() == "failed"


def test_companions_of_a_lost_leader_stay_with_it(tmp_path: Path) -> None:
    suite = Suite(tmp_path, seeds=(0, 1, 2), ahead="population")
    assert [other.spec.seed for other in suite.companions(Unit(0))] == [1, 2]
    assert suite.offer(Unit(1)) is Offer.LATER
    for folder in suite.folders:
        _foreign(folder.path, 1)
    assert suite.end(Unit(0), LOST)
    assert [(other.spec.seed, other.claim_number) for other in suite.companions(Unit(0))] == [(1, 2), (2, 2)]


def test_a_search_that_is_done_at_the_url_is_not_asked_for_again(tmp_path: Path) -> None:
    """Its node was lost between its last word and the task's end; the next worker finds nothing to do."""
    url = f"file://{tmp_path / 'store'}"
    suite = Suite(url)
    suite.offer(Unit(0))
    there = Suite(tmp_path / "there")
    there.finish(0)
    Mirror(f"{url}/searches/{suite.specs[0].search_id}", there.folders[0].path).push()
    suite.dispatch.on_message(0, ("taken", ""))
    assert suite.end(Unit(0))
    assert suite.offer(Unit(0)) is Offer.ENDED and not suite.end(Unit(0))
    assert suite.display.outcomes == {0: "4 latents (0.0 s)"}


def test_a_population_is_placed_by_all_that_it_trains(tmp_path: Path) -> None:
    """And its first seed, whose worker trains those of all, comes first among them."""
    suite = Suite(tmp_path, "sparsity random", (0, 1, 2, 3, 4), ahead="population")
    costs = {spec.known_sizes() for spec in suite.specs if spec.searcher == "random@population"}
    assert len(costs) > 1
    order = [suite.specs[unit.search] for unit in _longest_first(suite.units, suite.specs, suite.prepared)]
    assert [(spec.searcher, spec.seed) for spec in order[:5]] == [("random@population", seed) for seed in range(5)]


@pytest.mark.parametrize("status", ["done", "failed"])
def test_an_outcome(tmp_path: Path, status: str) -> None:
    suite = Suite(tmp_path)
    suite.offer(Unit(0))
    suite.finish(0, status)
    assert not suite.end(Unit(0))
    assert suite.display.outcomes[0].startswith({"done": "4 latents", "failed": "failed, no"}[status])


def test_a_ray_without_its_private_function_is_left_alone() -> None:
    worker = SimpleNamespace(listen_error_messages=print)
    _silence(SimpleNamespace(_private=SimpleNamespace(worker=worker)))
    assert worker.listen_error_messages("a lost node's log") is None and worker.listen_error_messages is not print
    for ray in (SimpleNamespace(), SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace()))):
        _silence(ray)
