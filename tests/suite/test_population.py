"""Grid's sizes and seeds as one stacked model: the results of one training after another, killed or not."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import TINY, benchmark, kill_when
from torch import Generator

from benchmark import cli
from benchmark.config.protocol import Evaluation, Named, Training
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.metrics.evaluation import Evaluator
from benchmark.store import ResultsStore
from benchmark.store.folders import SearchFolder, TrialFolder
from benchmark.store.rows import ARRAYS
from benchmark.suite.plan import SearchSpec
from benchmark.suite.population import Population, train_population
from benchmark.suite.problem import BenchProblem
from searchers.whole_run.grid import Grid

EPOCHS, KILLED_AFTER = 14, 4
TIMES = ["train_seconds", "eval_seconds", "wall_seconds"]
EXACT = ["latent_dim", "images_seen", "train_flops", "fid_features"]
KEYS = ["seed", "trial", "epoch"]
NAME = "grid@population"

# --- by the command line


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=EPOCHS))
    return folder


def _command(searchers: str, seeds: str, results: str) -> list[str]:
    return f"--protocol tiny.toml --searchers {searchers} --seeds {seeds} --results {results}".split()


def _run(work: Path, *command: str) -> tuple[ResultsStore, str]:
    done = benchmark(*command, cwd=work, cache=work / "cache")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return ResultsStore(work / command[-1]), done.stdout


@pytest.fixture(scope="module")
def plain(work: Path) -> ResultsStore:
    """One training after another."""
    return _run(work, "run", *_command("grid random", "0 1", "plain"))[0]


@pytest.fixture(scope="module")
def whole(work: Path) -> ResultsStore:
    """As a population, with another searcher in the suite, undisturbed."""
    return _run(work, "run", "--population", *_command("grid random sparsity", "0 1", "whole"))[0]


def _rows_on_disk(results: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """Each training's rows; a search that another's process leads has no search.json before its own turn."""
    searches = results / "searches"
    paths = searches.iterdir() if searches.exists() else ()
    trials = [trial for path in paths for trial in SearchFolder(path).trials()]
    return {(t.path.parent.parent.name, t.path.name): pd.DataFrame(t.read_rows()) for t in trials}


def _epochs(store: ResultsStore, searcher: str = NAME) -> pd.DataFrame:
    epochs = store.epochs()
    own = epochs[epochs["searcher"] == searcher].set_index(KEYS).sort_index()
    return own.drop(columns=["search_id", "searcher"]).dropna(axis="columns", how="all")  # other searchers' traces


def _searches(store: ResultsStore, searcher: str = NAME) -> pd.DataFrame:
    searches = store.searches()
    return searches[searches["searcher"] == searcher].set_index("seed").sort_index()


def _assert_near(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Rows of the same trainings: counts exactly, metrics to what float32's rounding grows to in so many epochs."""
    pd.testing.assert_frame_equal(got[EXACT], expected[EXACT], check_exact=True)
    rest = [name for name in expected.columns if name not in (*EXACT, *TIMES)]
    pd.testing.assert_frame_equal(got[rest], expected[rest], check_exact=False, rtol=1e-3)


def _assert_tidy(results: Path) -> None:
    names = {path.name for path in results.rglob("*")}
    assert not [name for name in names if name.startswith((".", "claim-", "population", "checkpoint"))]


@pytest.mark.parametrize("searcher", ["grid", "random"])
def test_results_are_those_of_one_training_after_another(
    plain: ResultsStore, whole: ResultsStore, searcher: str
) -> None:
    name = f"{searcher}@population"
    statuses = whole.searches()[["searcher", "status"]].value_counts().to_dict()
    assert statuses[name, "done"] == statuses["sparsity", "done"] == 2  # another searcher beside it
    searches, expected = _searches(whole, name), _searches(plain, searcher)
    for column in ("latent_dim", "chosen_trial", "pareto", "n_trials", "n_epochs", "train_flops", "images_seen"):
        assert searches[column].tolist() == expected[column].tolist(), column
    tested = [column for column in searches.columns if column.startswith("test_") and column != "test_fid_features"]
    pd.testing.assert_frame_equal(searches[tested], expected[tested], check_exact=False, rtol=1e-3)
    _assert_near(_epochs(whole, name), _epochs(plain, searcher))
    _assert_tidy(whole.path)


def test_costs(whole: ResultsStore) -> None:
    epochs, searches = _epochs(whole), _searches(whole)
    assert len(epochs) == 2 * 3 * EPOCHS and (epochs[TIMES] > 0).all(axis=None)
    assert (epochs.groupby("epoch")["train_seconds"].nunique() == 1).all()  # a share, the same for each
    assert epochs["train_seconds"].nunique() == EPOCHS
    for seed, own in epochs.groupby("seed"):
        wall = own["wall_seconds"].unstack("trial")  # [epoch, trial]
        assert (wall.diff().dropna() > 0).all(axis=None)
        assert (wall.nunique(axis=1) == 1).all()  # what the search's trainings cost together
        spent = (own["train_seconds"] + own["eval_seconds"]).groupby("epoch").sum().cumsum()
        assert (wall[0].to_numpy() >= spent.to_numpy()).all()
        search = searches.loc[seed]
        assert search["train_seconds"] == pytest.approx(own["train_seconds"].sum())
        assert search["wall_seconds"] >= wall[0].iloc[-1]
        assert search["wall_seconds"] >= search["train_seconds"] + search["eval_seconds"]


def test_killed_and_resumed_equals_undisturbed(work: Path, whole: ResultsStore) -> None:
    command, results = ["run", "--population", *_command("grid", "0 1", "killed")], work / "killed"
    n_rows = 6 * KILLED_AFTER
    kill_when(
        lambda: sum(map(len, _rows_on_disk(results).values())) >= n_rows, *command, cwd=work, cache=work / "cache"
    )
    before = _rows_on_disk(results)
    assert len(before) == 6 and all(KILLED_AFTER <= len(rows) < EPOCHS for rows in before.values())
    assert len(list(results.rglob("population.pt"))) == 1

    store, printed = _run(work, *command)
    assert "damaged" not in printed
    after = _rows_on_disk(results)
    for key, rows in before.items():  # as a row is timed where it is trained, none of these was trained anew
        pd.testing.assert_frame_equal(after[key][TIMES].iloc[: len(rows)], rows[TIMES], check_exact=True)
        assert after[key]["wall_seconds"].is_monotonic_increasing and len(after[key]) == EPOCHS
    rows, expected = (_epochs(own).drop(columns=TIMES) for own in (store, whole))
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
    resumed, undisturbed = (_searches(own).drop(columns=[*TIMES, "peak_memory_bytes"]) for own in (store, whole))
    pd.testing.assert_frame_equal(resumed, undisturbed[resumed.columns], check_exact=True)
    for search_id in resumed["search_id"]:
        models = [torch.load(s.folder(search_id).path / "model.pt", weights_only=True) for s in (store, whole)]
        for name, weights in models[0]["weights"].items():
            assert torch.equal(weights, models[1]["weights"][name]), name
    _assert_tidy(results)


BAD = {
    "--searchers ald sparsity": "sizes are known beforehand, got ald, sparsity; ",
    "--searchers grid@population": "unknown variant 'grid@population'",
    "--protocol unsampled.toml --searchers grid": "whose sizes are known beforehand, got grid; ",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    unsampled = TINY.format(epochs=2).replace("latent_dims = [2, 4, 8]", "sampling = false")
    Path("unsampled.toml").write_text(unsampled)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--population", *arguments.split()])
    out, line = capsys.readouterr()
    assert (ended.value.code, out, line.count("\n")) == (2, "", 1) and line.startswith("latentbench: ")
    assert BAD[arguments] in line
    assert [path.name for path in tmp_path.iterdir()] == ["unsampled.toml"]


# --- in this process

CPU = torch.device("cpu")
SIZES = (2, 6, 4)
SETTINGS = Training(epochs=4, batch_size=32, learning_rate=1e-2)


class _Pixels(torch.nn.Flatten):
    name = "stub"  # features


def _dataset() -> Dataset:
    generator = Generator().manual_seed(0)
    factors, mixing = torch.randn(260, 2, generator=generator), torch.randn(2, 16, generator=generator)
    images = (255 * torch.sigmoid(2 * factors @ mixing)).to(torch.uint8).unflatten(1, (1, 4, 4))
    labels = (factors[:, 0] > 0).long()
    return make_dataset("tiny", images[:220], labels[:220], images[220:], labels[220:], n_classes=2)


DATASET = _dataset()
EVALUATION = Evaluation(silhouette_images=20)
EVALUATOR = Evaluator(DATASET.val, DATASET.n_classes, _Pixels(), EVALUATION, CPU)


class Killed(Exception):
    """In place of a signal."""


class _Bench:
    """A results folder, and what its notices said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "population.pt"
        self.notices: list[str] = []
        self.reports: list[tuple[int, int, int]] = []

    def problem(self, seed: int) -> BenchProblem:
        named = Named("mlp", {"hidden": [12]})
        spec = SearchSpec("tiny", Named("tiny"), "", named, SETTINGS, EVALUATION, NAME, {}, seed)
        folder = SearchFolder(self.path / f"s{seed}")
        return BenchProblem(spec, DATASET, EVALUATOR, folder, lambda *_: None, self.notices.append)

    def train(self, seeds: Sequence[int], killed_after: int | None = None) -> list[BenchProblem]:
        """The population of these seeds, killed after so many epochs."""
        problems = [self.problem(seed) for seed in seeds]

        def report(*progress: int) -> None:
            self.reports.append(progress)
            if progress[1] == killed_after:
                raise Killed

        train_population(problems, [SIZES] * len(problems), SETTINGS, self.checkpoint, report, self.notices.append)
        assert not self.checkpoint.exists()
        return problems

    def trial(self, seed: int, number: int) -> TrialFolder:
        return SearchFolder(self.path / f"s{seed}").trial(number)

    def rows(self, seeds: Sequence[int]) -> pd.DataFrame:
        """Of these seeds' trainings, as `_epochs` gives them."""
        trials = [(seed, self.trial(seed, number)) for seed in seeds for number in range(len(SIZES))]
        frames = [pd.DataFrame(trial.read_rows()).assign(seed=seed) for seed, trial in trials]
        return pd.concat(frames).drop(columns=list(ARRAYS), errors="ignore").set_index(KEYS)


@pytest.fixture
def bench(tmp_path: Path) -> _Bench:
    return _Bench(tmp_path / "bench")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of one training after another, of seeds 3 and 5."""
    own = _Bench(tmp_path_factory.mktemp("alone"))
    for seed in (3, 5):
        problem = own.problem(seed)
        for size in SIZES:
            problem.train(size)
    return own.rows((3, 5))


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these members (by their place) NaN from an epoch on."""

    def poison(*members: int, from_epoch: int) -> None:
        train_epoch = Population.train_epoch

        def poisoned(self: Population, epoch: int) -> list[float]:
            if epoch == from_epoch:
                for member in members:
                    self._stack.parameters["vae.mean_head.bias"].data[member].fill_(math.nan)
            return train_epoch(self, epoch)

        monkeypatch.setattr(Population, "train_epoch", poisoned)

    return poison


@pytest.mark.parametrize("seeds", [(3,), (5,), (3, 5)], ids=str)
def test_seeds_alone_or_together(seeds: tuple[int, ...], bench: _Bench, alone: pd.DataFrame) -> None:
    bench.train(seeds)
    _assert_near(bench.rows(seeds), alone.loc[list(seeds)])
    assert bench.reports == [(3 * len(seeds), epoch, 4) for epoch in (1, 2, 3, 4)] and bench.notices == []


def test_the_search_then_trains_nothing(bench: _Bench, alone: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = bench.train((3, 5))
    monkeypatch.delattr("benchmark.suite.problem.train")
    choices = [Grid(SIZES).search(problem) for problem in problems]
    for problem, choice in zip(problems, choices, strict=True):
        assert choice.latent_dim in SIZES and problem.model(choice.trial).latent_dim == choice.latent_dim
        assert problem.clock.seconds() >= choice.trial.history["wall_seconds"].iloc[-1]
    _assert_near(bench.rows((3, 5)), alone)
    bench.train((3, 5))
    assert len(bench.reports) == SETTINGS.epochs  # once


@pytest.mark.parametrize("from_epoch", [1, 3])
def test_a_diverged_member(from_epoch: int, bench: _Bench, alone: pd.DataFrame, diverging: Callable[..., None]) -> None:
    diverging(4, from_epoch=from_epoch)  # seed 5's second training
    _, problem = bench.train((3, 5))
    rows = bench.rows((3, 5))
    own = rows.loc[5, 1]
    assert len(own) == from_epoch and np.isnan(own["train_loss"].iloc[-1])
    assert np.isfinite(own["train_loss"].iloc[:-1]).all()
    diverged = (alone.index.get_level_values("seed") == 5) & (alone.index.get_level_values("trial") == 1)
    _assert_near(rows.drop(index=[(5, 1)]), alone[~diverged])
    record = bench.trial(5, 1).finished()
    assert record is not None and record["status"] == "failed"
    choice = Grid(SIZES).search(problem)
    assert choice.trial.number != 1 and np.isfinite(choice.trial.history["train_loss"]).all()


def test_when_all_have_diverged_it_ends(bench: _Bench, diverging: Callable[..., None]) -> None:
    diverging(0, 1, 2, from_epoch=2)
    bench.train((3,))
    assert bench.reports == [(3, 1, 4), (3, 2, 4)]
    assert bench.rows((3,))["train_loss"].isna().tolist() == [False, True] * 3


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_killed_with_a_diverged_member(
    killed_after: int, bench: _Bench, tmp_path: Path, diverging: Callable[..., None]
) -> None:
    """A kill comes before its epoch is reported or after: whichever, results are bit for bit the undisturbed ones."""
    diverging(1, from_epoch=2)
    whole = _Bench(tmp_path / "whole")
    whole.train((3, 5))
    with pytest.raises(Killed):
        bench.train((3, 5), killed_after)
    before = bench.rows((3, 5))
    assert bench.checkpoint.exists()
    bench.train((3, 5))
    after, expected = bench.rows((3, 5)), whole.rows((3, 5))
    pd.testing.assert_frame_equal(after.drop(columns=TIMES), expected.drop(columns=TIMES), check_exact=True)
    pd.testing.assert_frame_equal(after.loc[before.index, TIMES], before[TIMES], check_exact=True)
    assert [epoch for _, epoch, _ in bench.reports] == [1, 2, 3, 4]  # each once
    assert len(after.loc[3, 1]) == 2


def test_a_checkpoint_of_other_members_does_no_harm(bench: _Bench, alone: pd.DataFrame) -> None:
    with pytest.raises(Killed):
        bench.train((3,), killed_after=3)
    stale = bench.checkpoint.read_bytes()
    assert len(bench.rows((3,))) == 9
    bench.train((3, 5))
    assert bench.notices == [] and bench.reports[3:] == [(6, epoch, 4) for epoch in (1, 2, 3, 4)]
    _assert_near(bench.rows((3, 5)), alone)
    bench.checkpoint.write_bytes(stale)  # nothing is left to be trained
    bench.train((3, 5))
    assert len(bench.reports) == 7


def test_a_damaged_checkpoint_is_said(bench: _Bench, alone: pd.DataFrame) -> None:
    with pytest.raises(Killed):
        bench.train((3, 5), killed_after=3)
    content = bytearray(bench.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    bench.checkpoint.write_bytes(content)
    bench.train((3, 5))
    assert bench.notices == [f"{bench.checkpoint} is damaged: those trainings are done anew"]
    _assert_near(bench.rows((3, 5)), alone)


ENDINGS = [(TrialFolder, "write_rows", 20), *((BenchProblem, "finish", calls) for calls in (0, 1, 4))]


@pytest.mark.parametrize(("owner", "name", "calls"), ENDINGS)
def test_killed_when_all_epochs_are_trained(
    owner: type, name: str, calls: int, bench: _Bench, alone: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the trainings have all their rows, or their models and records: none is trained anew."""
    original, left = getattr(owner, name), iter(range(calls))

    def killed(*arguments: object) -> object:
        if next(left, None) is None:
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, killed)
        bench.train((3, 5))
    trained = len(bench.reports)
    bench.train((3, 5))
    _assert_near(bench.rows((3, 5)), alone)
    assert len(bench.reports) == trained
