"""Plain trainings are done once for all searches of a results folder: who does them, who waits, and who pays."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_bench import Killed, SmallResults, assert_same, spec_of

from benchmark.store import claims
from benchmark.store.claims import claim
from benchmark.store.folders import TrialFolder
from benchmark.suite import problem as problem_module
from benchmark.suite.shared_trainings import SharedFolder, remove_optimizers
from searchers.base import Choice, Problem, Searcher

FOREIGN = '{"machine": ["elsewhere", "", ""], "pid": 1, "started": "1"}'


@dataclass(frozen=True)
class Listed(Searcher):
    """One training of each size."""

    sizes: Sequence[int] = (2, 4)

    def search(self, problem: Problem) -> Choice:
        return Choice([problem.train(size) for size in self.sizes][-1])


def _folders(results: SmallResults) -> list[Path]:
    return sorted(path for path in results.trainings.iterdir() if path.is_dir())


def test_it_is_done_once_and_charged_to_each(tmp_path: Path) -> None:
    """Under the number that each search has for it; rows and models are those of a search alone, bit for bit."""
    results, alone = SmallResults(tmp_path / "both"), SmallResults(tmp_path / "alone")
    first, second = spec_of("first"), spec_of("second")
    results.search(Listed((2, 4)), first)
    results.epochs.clear()
    results.search(Listed((6, 4)), second)
    alone.search(Listed((6, 4)), second)
    assert [one for one in results.epochs if one[0] == 1] == [(1, 4)]  # that it has ended
    assert len(_folders(results)) == 3
    own, expected = SmallResults(tmp_path / "both"), alone
    epochs, others = (one.store.epochs().query("searcher == 'second'") for one in (own, expected))
    different = ["train_seconds", "eval_seconds", "wall_seconds"]
    assert epochs.drop(columns=different).reset_index(drop=True).equals(others.drop(columns=different))
    assert epochs["trial"].tolist() == [0] * 4 + [1] * 4

    frame = results.store.epochs().set_index(["searcher", "trial", "epoch"])
    shared = {name: frame.loc[name, 1] for name in ("first", "second")}
    for name in ("train_seconds", "eval_seconds", "train_flops", "images_seen", "recon_nll"):
        assert shared["first"][name].tolist() == shared["second"][name].tolist(), name
    searches = results.store.searches().set_index("searcher")
    for name, search in searches.iterrows():
        assert search["train_seconds"] == pytest.approx(frame.loc[name]["train_seconds"].sum())
        assert frame.loc[name]["wall_seconds"].is_monotonic_increasing
        assert search["wall_seconds"] >= frame.loc[name]["wall_seconds"].iloc[-1]
        assert frame.loc[name, 1]["wall_seconds"].iloc[0] > frame.loc[name, 0]["wall_seconds"].iloc[-1]
    took = [shared[name]["wall_seconds"].diff().dropna().to_numpy() for name in ("first", "second")]
    assert took[0] == pytest.approx(took[1])
    models = [results.folder(spec).trial(1).model for spec in (first, second)]
    assert models[0].read_bytes() == models[1].read_bytes() and models[0].samefile(models[1])


def test_other_conditions_seeds_and_budgets_share_nothing(tmp_path: Path) -> None:
    results, spec = SmallResults(tmp_path), spec_of()
    keys = {spec.training_key(4, 4), spec.training_key(4, 3), spec.training_key(6, 4)}
    keys |= {spec_of(seed=4).training_key(4, 4), spec_of(device="cuda").training_key(4, 4)}
    keys |= {spec_of(data_fingerprint="g").training_key(4, 4)}
    assert len(keys) == 6 and spec_of("other").training_key(4, 4) == spec.training_key(4, 4)
    results.search(Listed((2,)), spec)
    results.search(Listed((2,)), spec_of(seed=4))
    assert len(_folders(results)) == 2


def test_a_search_waits_for_a_training_that_another_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, is not charged the waiting, and takes what the other has done."""
    monkeypatch.setattr(problem_module, "POLL_SECONDS", 0.05)
    results, spec, donor = SmallResults(tmp_path / "own"), spec_of(), SmallResults(tmp_path / "donor")
    donor.search(Listed((2,)), spec)
    path = results.trainings / spec.training_key(2, 4)
    path.mkdir(parents=True)
    (path / "claim-000001").write_text(FOREIGN)

    def other_process() -> None:
        time.sleep(1.0)
        for name in ("epochs.arrow", "curves.arrow", "model.pt", "trial.json"):
            (path / name).write_bytes((donor.trainings / path.name / name).read_bytes())

    thread = threading.Thread(target=other_process)
    thread.start()
    results.search(Listed((2,)), spec)
    thread.join()
    assert results.notices == [f"{spec.search_id} waits for a training that another search does"]
    assert results.epochs == [(0, 4)]
    assert_same(results, donor)
    search = results.store.searches().iloc[0]
    assert search["wall_seconds"] < results.store.epochs()["wall_seconds"].iloc[-1] + 0.5


def test_a_training_of_a_machine_that_is_gone_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing has touched its claim for a while."""
    monkeypatch.setattr(problem_module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.5)
    results, spec = SmallResults(tmp_path), spec_of()
    path = results.trainings / spec.training_key(2, 4)
    path.mkdir(parents=True)
    (path / "claim-000001").write_text(FOREIGN)
    begin = time.monotonic()
    results.search(Listed((2,)), spec)
    assert time.monotonic() - begin > 0.5 and results.epochs == [(0, epoch) for epoch in (1, 2, 3, 4, 4)]
    assert len(results.notices) == 1 and not list(path.glob("claim-*"))


def test_while_another_process_trains_its_checkpoint_is_not_touched(tmp_path: Path) -> None:
    results, spec = SmallResults(tmp_path), spec_of()
    path = results.trainings / spec.training_key(2, 4)
    path.mkdir(parents=True)
    for name, content in {
        "claim-000001": FOREIGN,
        "checkpoint.pt": "half written",
        ".0123456789ab.checkpoint.pt": "",
    }.items():
        (path / name).write_text(content)
    shared = SharedFolder(path, results.notices.append)
    assert shared.finished() is None
    with shared.claimed() as free:
        assert not free
    shared.tidy()
    assert len(list(path.iterdir())) == 3 and results.notices == []


def test_a_killed_training_goes_on_in_whichever_search_comes(tmp_path: Path) -> None:
    results, whole = SmallResults(tmp_path / "killed"), SmallResults(tmp_path / "whole")
    with pytest.raises(Killed):
        results.search(Listed(), spec_of("first"), killed_at=(1, 2))
    path = results.trainings / spec_of().training_key(4, 4)
    (path / ".0123456789ab.checkpoint.pt").touch()
    results.epochs.clear()
    results.search(Listed((4,)), spec_of("second"))
    assert results.epochs[:2] == [(0, 3), (0, 4)]
    results.search(Listed(), spec_of("first"))
    for name, sizes in (("second", (4,)), ("first", (2, 4))):
        whole.search(Listed(sizes), spec_of(name))
    assert_same(results, whole)
    assert {file.name for file in path.iterdir()} == {"trial.json", "epochs.arrow", "curves.arrow", "model.pt"}


DAMAGES = ["model.pt", "epochs.arrow", "curves.arrow", "trial.json", "checkpoint.pt"]


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_said_and_mended(name: str, tmp_path: Path) -> None:
    """By the search that needs it; a search that has its copy of the rows goes without."""
    results, whole = SmallResults(tmp_path / "damaged"), SmallResults(tmp_path / "whole")
    whole.search(Listed((2,)), spec_of("second"))
    path = results.trainings / spec_of().training_key(2, 4)
    if name == "checkpoint.pt":
        with pytest.raises(Killed):
            results.search(Listed((2,)), spec_of("second"), killed_at=(0, 2))
    else:
        results.search(Listed((2,)), spec_of("first"))
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).unlink()  # the copy is a second name of the same file
    (path / name).write_bytes(content)
    results.epochs.clear()
    results.search(Listed((2,)), spec_of("second"))
    assert results.notices == [f"{path / name} is damaged: that training is done anew"]
    assert results.epochs == [(0, epoch) for epoch in (1, 2, 3, 4, 4)]
    own = SmallResults(tmp_path / "damaged")
    if name != "checkpoint.pt":
        first = own.folder(spec_of("first"))
        first.check()  # its own copy is whole
        (first.path / "search.json").unlink()
    assert own.store.epochs()["recon_nll"].tolist() == whole.store.epochs()["recon_nll"].tolist()
    assert {file.name for file in path.iterdir()} == {"trial.json", "epochs.arrow", "curves.arrow", "model.pt"}


def test_what_killed_processes_left_of_a_finished_training_is_tidied(tmp_path: Path) -> None:
    results = SmallResults(tmp_path)
    results.search(Listed((2,)), spec_of("first"))
    (path,) = _folders(results)
    (path / "claim-000001").write_text(json.dumps({}))
    (path / ".0123456789ab.claim-000002").touch()
    results.search(Listed((2,)), spec_of("second"))
    assert {file.name for file in path.iterdir()} == {"trial.json", "epochs.arrow", "curves.arrow", "model.pt"}


def test_optimizers_go_with_the_suite_unless_somebody_uses_them(tmp_path: Path) -> None:
    for key in ("free", "held"):
        (tmp_path / key / "again").mkdir(parents=True)
        (tmp_path / key / "optimizer.pt").touch()
    (tmp_path / "stack-0.pt").touch()
    own = claim(tmp_path / "held" / "again", 1, lambda: None)
    assert own is not None
    remove_optimizers(tmp_path)
    assert not (tmp_path / "free" / "again").exists() and own.path.exists()
    assert not list(tmp_path.rglob("*.pt"))
    own.release(finished=True)


def test_watchers_see_the_rows_of_a_training_under_way(tmp_path: Path) -> None:
    """`ResultsStore` finds them where the shared training has them, under the search's own number."""
    results = SmallResults(tmp_path)
    with pytest.raises(Killed):
        results.search(Listed((2, 4)), killed_at=(1, 2))
    epochs = results.store.epochs()
    assert epochs[["trial", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4], [1, 1], [1, 2]]
    assert not TrialFolder(results.folder(spec_of()).trial(1).path).rows.exists()
    assert results.store.trials()["status"].tolist() == ["done", "running"]
