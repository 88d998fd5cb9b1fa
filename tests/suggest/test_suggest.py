"""`latentbench suggest` as a user runs it: the answer, the same command again, kills, failures."""

import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import benchmark, kill_when, started

from benchmark.store import ResultsStore
from benchmark.suggest.budget import read_budget, write_budget

TINY = [
    "--set",
    "training.learning_rate=5e-3",
    "--set",
    "training.schedule=constant",
    "--set",
    "backbone.init=torch",
    "--set",
    "backbone.hidden=[32]",
    "--set",
    "space.high=8",
    "--set",
    "space.sizes=[2, 4, 8]",
]
GRID = ["suggest", "digits", "--searcher", "grid", "--set", "training.epochs=12", *TINY]
FAILS = """
from searchers.base import Searcher


class Fails(Searcher):
    def search(self, problem):
        raise RuntimeError("no idea")
"""


def _answer(printed: str) -> list[str]:
    """The lines from the first of the three sentences on."""
    lines = printed.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("Take ")) :]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the size for the digits was asked for; `printed` holds what was said."""
    folder = tmp_path_factory.mktemp("work")
    done = benchmark(*GRID, cwd=folder, cache=folder / "cache")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def test_the_answer(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = lines = (work / "printed").read_text().splitlines()
    assert re.fullmatch(r"The images have about [89] dimensions by TwoNN on 1,293 training images; .*", first)
    assert "No time limit: 12 epochs, as the protocol says; --time-limit 30m would set one." in lines
    search = ResultsStore(work / "results").searches().iloc[0]
    size, as_good, others, *rest = _answer((work / "printed").read_text())
    assert size.startswith(f"Take {search['latent_dim']} latents: on images that training does not see ")
    assert re.match("Sizes .* are as good|Validation images drawn anew choose no other size", as_good)
    assert re.match("About half as many .*; about twice as many .*nats an image", others)
    assert "Another seed may give another size, which one training cannot show: --seed 1 tries one." in rest
    assert any(line.startswith("Still learning: the ELBO rose by ") for line in rest)  # in 12 epochs it has not learned
    monkeypatch.chdir(work)
    names: dict[str, object] = {}
    exec(lines[-2].removeprefix("The model: "), names)
    assert names["vae"].latent_dim == search["latent_dim"]  # type: ignore[attr-defined]
    page = Path(lines[-1].removeprefix("The page: "))
    assert page.is_file() and "Grid" in page.read_text()


def test_the_same_command_again_trains_nothing(work: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (work / "results").glob("searches/**/*.arrow")}
    again = benchmark(*GRID, cwd=work, cache=work / "cache")
    assert again.returncode == 0
    assert _answer(again.stdout) == _answer((work / "printed").read_text())
    assert {path: path.stat().st_mtime_ns for path in (work / "results").glob("searches/**/*.arrow")} == kept and kept
    assert len(list((work / "results" / "budgets").iterdir())) == 1


def _limited(limit: str, epochs: int) -> list[str]:
    """A command whose budget follows from a measurement."""
    asked = ["--set", f"training.epochs={epochs}", "--time-limit", limit, "--results", "limited"]
    return ["suggest", "digits", "--searcher", "sparsity", *asked, *TINY]


def test_killed_at_any_moment_it_goes_on_with_the_same_budget(work: Path) -> None:
    command, results = _limited("20m", epochs=60), work / "limited"
    kill_when(lambda: any(results.glob("budgets/budget-*.json")), *command, cwd=work, cache=work / "cache")
    (path,) = results.glob("budgets/budget-*.json")
    budget = read_budget(path)
    assert budget is not None and budget.epochs == budget.full == 60 and budget.speed is not None
    write_budget(path, replace(budget, epochs=50))  # as if the machine had been slow then
    process = started(*command, cwd=work, cache=work / "cache")
    while not any(results.glob("searches/*/trials/*/epochs.arrow")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].startswith("latentbench: interrupted; run the same command again to continue")
    assert process.returncode == 130
    done = benchmark(*command, cwd=work, cache=work / "cache")
    assert done.returncode == 0, done.stderr
    (search,) = ResultsStore(results).searches().to_dict("records")
    assert search["n_epochs"] == search["epochs"] == 50 and search["env_threads"] == budget.threads
    assert ResultsStore(results).folder(search["search_id"]).attempts() == 2  # the first kill came before it began
    assert "85 % of the limit of 20 min are planned with and allow 50." in done.stdout
    assert "A short training: 50 epochs at most, 83 % of the protocol's budget." in done.stdout


def test_a_limit_is_kept(work: Path) -> None:
    start = time.monotonic()
    done = benchmark(*_limited("40s", epochs=100_000), cwd=work, cache=work / "cache")
    assert done.returncode == 0, done.stderr
    allowed = re.search(
        r"100000 epochs would take about .+; 85 % of the limit of 40 s are planned with and allow (\d+)\.\n",
        done.stdout,
    )
    if allowed is None:  # the machine is so busy that nothing fits
        assert "the limit of 40 s is too short even for one." in done.stdout
    else:
        assert time.monotonic() - start < 40
        assert int(allowed[1]) in ResultsStore(work / "limited").searches()["n_epochs"].tolist()


def test_a_search_that_fails(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FAILS)
    command = ["suggest", "digits", "--searcher", "own:Fails", "--set", "training.threads=1", *TINY]
    done = benchmark(*command, cwd=tmp_path, cache=tmp_path / "cache", cold=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-2] == "The search failed: RuntimeError: no idea"
