"""The size that a search found, scored by a plain training of it: shared, uncharged, and safe against kills."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from commands import TINY, benchmark
from small_bench import Killed, SmallResults, assert_same, spec_of

from benchmark.config.protocol import parse_protocol
from benchmark.store import ResultsStore
from benchmark.suite.plan import SearchSpec, plan
from benchmark.suite.problem import score_size
from searchers.base import KEEP_ALL, Choice, Controller, Decision, Expected, Model, Problem, Searcher
from searchers.parts.objectives import VAE
from searchers.quantities import TEST_METRICS

COSTS = ["train_seconds", "eval_seconds", "train_flops", "images_seen", "n_epochs", "n_trials", "wall_seconds"]


class Own(Controller):
    """Halves the decoder's first weights after every step, so that its model is not the plain one."""

    def after_step(self, vae: VAE) -> None:
        next(vae.decoder.parameters()).mul_(0.5)

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        return KEEP_ALL


@dataclass(frozen=True)
class Ours(Searcher):
    """One training that only this method does."""

    size: int = 4

    def search(self, problem: Problem) -> Choice:
        return Choice(problem.train(self.size, Own()))


@dataclass(frozen=True)
class Plain(Searcher):
    """Plain trainings, of which the last is chosen."""

    sizes: Sequence[int] = (2, 4)

    def search(self, problem: Problem) -> Choice:
        return Choice([problem.train(size) for size in self.sizes][-1])


def _score(results: SmallResults, spec: SearchSpec, killed_at: int | None = None) -> None:
    def report(trial: int, epoch: int, epochs: int, latent_dim: int) -> None:
        results.epochs.append((trial, epoch))
        if epoch == killed_at:
            raise Killed

    score_size(results.bench(spec), results.folder(spec), results.trainings, report, results.notices.append)


def _row(results: SmallResults, name: str) -> pd.Series:
    return results.store.searches().set_index("searcher").loc[name]


def test_two_searches_of_a_size_share_one_training_which_neither_pays(tmp_path: Path) -> None:
    results = SmallResults(tmp_path)
    for name in ("first", "second"):
        results.search(Ours(), spec_of(name))
    before = {name: _row(results, name) for name in ("first", "second")}
    results.epochs.clear()
    for name in ("first", "second"):
        _score(results, spec_of(name))
    assert results.epochs == [(1, epoch) for epoch in (1, 2, 3, 4, 4)] + [(1, 4)]  # once; then read
    assert [path.name for path in results.trainings.iterdir()] == [spec_of().training_key(4, 4)]
    for name, row in before.items():
        after = _row(results, name)
        assert after[COSTS].equals(row[COSTS]) and after["size_only"] == "done"
        model = results.store.curves().query("searcher == @name and split == 'test'").iloc[0]
        assert after["size_only_elbo"] != model["elbo"]
    values = [_row(results, name)[[f"size_only_{metric}" for metric in TEST_METRICS]] for name in before]
    assert values[0].equals(values[1]) and values[0].notna().all()


def test_it_equals_the_training_of_a_search_of_plain_ones(tmp_path: Path) -> None:
    """Which needs no other, and where it comes first is the one that is read."""
    results = SmallResults(tmp_path)
    results.search(Plain(), spec_of("grid"))
    results.search(Ours(), spec_of("own"))
    results.epochs.clear()
    for name in ("grid", "own"):
        _score(results, spec_of(name))
    assert results.epochs == [(1, 4)]  # no epoch was trained
    grid, own = _row(results, "grid"), _row(results, "own")
    assert (grid["size_only"], own["size_only"]) == ("native", "done")
    curves = results.store.curves().query("searcher == 'grid' and split == 'test' and size == 4").iloc[0]
    for metric in TEST_METRICS:
        assert own[f"size_only_{metric}"] == grid[f"size_only_{metric}"] == curves[metric], metric


def test_it_is_planned_where_it_may_be_needed_and_changes_no_id() -> None:
    protocol = parse_protocol(TINY.format(epochs=2), "tiny")
    both = [plan(replace(protocol, size_only=on), "data", ["grid", "sparsity"], [0]) for on in (False, True)]
    off, on = ({spec.searcher: spec for spec in specs} for specs in both)
    for name in ("grid", "sparsity"):
        assert on[name].search_id == off[name].search_id and on[name].training_key(4, 2) == off[name].training_key(4, 2)
        assert off[name].planned() == off[name].expected()
    assert on["grid"].planned() == on["grid"].expected()  # it hands one of its own over
    assert on["sparsity"].planned() == [*on["sparsity"].expected(), Expected(16, 2)]


def test_a_kill_does_not_change_it(tmp_path: Path) -> None:
    killed, whole = SmallResults(tmp_path / "killed"), SmallResults(tmp_path / "whole")
    for results in (killed, whole):
        results.search(Ours(), spec_of())
    killed.epochs.clear()
    with pytest.raises(Killed):
        _score(killed, spec_of(), killed_at=2)
    folder = killed.folder(spec_of())
    assert folder.is_complete() and not folder.is_complete(with_size_only=True)
    _score(killed, spec_of())
    _score(whole, spec_of())
    assert killed.epochs[:4] == [(1, 1), (1, 2), (1, 3), (1, 4)] and folder.is_complete(with_size_only=True)
    assert_same(killed, whole)


def test_a_command_trains_it_only_where_asked_and_then_adds_it_to_what_is_done(tmp_path: Path) -> None:
    """Without it there is no training beyond the search's own; with it the searches stay as they are."""
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=2))
    run = ["run", "--protocol", "tiny.toml", "--searchers", "sparsity", "pca", "--seeds", "0", "--jobs", "1"]
    run += ["--results", "results", "--device", "cpu"]
    frames = []
    for extra in ([], ["--set", "size_only=true"], ["--set", "size_only=true"]):
        done = benchmark(*run, *extra, cwd=tmp_path, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stdout + done.stderr
        frames.append((ResultsStore(tmp_path / "results").searches().set_index("searcher"), done.stdout))
        trainings = len(list((tmp_path / "results" / "trainings").iterdir()))
        assert trainings == (1 if not extra else 2)  # PCA's own training is plain
    (off, _), (on, _), (again, said) = frames
    assert off["size_only"].isna().all()
    assert on["size_only"].to_dict() == {"sparsity": "done", "pca": "native"}
    assert on.loc["pca", "size_only_elbo"] == on.loc["pca", "test_elbo"]
    assert on.loc["sparsity", "size_only_elbo"] != on.loc["sparsity", "test_elbo"]
    kept = [name for name in off.columns if not name.startswith("size_only")]
    pd.testing.assert_frame_equal(off[kept], on[kept])
    pd.testing.assert_frame_equal(on, again)
    assert "training" not in said
