"""Optuna's studies in a database that several processes share: the same searches as with a journal each."""

import glob
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import quote

import optuna
import pytest
import torch
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from sqlalchemy import create_engine, text
from toy import ToyProblem

from benchmark.config.protocol import Evaluation, Named, Training
from benchmark.datasets.base import make_dataset
from benchmark.errors import InputError
from benchmark.metrics.evaluation import Evaluator
from benchmark.store import SearchFolder
from benchmark.suite.plan import SearchSpec, make_searcher
from benchmark.suite.problem import BenchProblem
from benchmark.suite.studies import check_studies

SIZES = {"sizes": {"low": 2, "high": 32, "n_trials": 6}}
OPTUNA = ("random", "tpe")
SECRET = "s3c{r%t}/@:?"

Kept = list[tuple[dict[str, Any], list[float] | None, str]]
"""A study's trials: parameters, values, state."""


class _Pixels(torch.nn.Flatten):
    name = "stub"  # features


class _Toy(ToyProblem):
    """The toy's trainings, the bench's studies."""

    def __init__(self, folder: Path, searcher: str, seed: int, studies: str | None) -> None:
        super().__init__(seed)
        named, evaluation = Named("mlp", {"hidden": [8]}), Evaluation(silhouette_images=20)
        self.spec = SearchSpec("toy", Named("toy"), "", named, Training(), evaluation, searcher, SIZES, seed)
        images, labels = torch.arange(40 * 16).to(torch.uint8).view(40, 1, 4, 4), torch.arange(40) % 2
        data = make_dataset("toy", images, labels, images, labels, n_classes=2)
        evaluator = Evaluator(data.val, data.n_classes, _Pixels(), evaluation, torch.device("cpu"))
        folder.mkdir(exist_ok=True)
        self.bench = BenchProblem(self.spec, data, evaluator, SearchFolder(folder), print, print, studies)

    def create_study(self, sampler: BaseSampler, directions: Sequence[StudyDirection]) -> Study:
        self.study = self.bench.create_study(sampler, directions)
        return self.study


def _search(folder: Path, searcher: str, seed: int, studies: str | None = None) -> tuple[int, Kept]:
    """The chosen training and what the study keeps of all."""
    toy = _Toy(folder, searcher, seed, studies)
    choice = make_searcher(searcher, SIZES).search(toy)
    assert (folder / "study.journal").exists() == (studies is None)
    assert toy.study.study_name == toy.spec.search_id and len(toy.starts) == 6
    return choice.trial.number, _kept(toy.study)


def _kept(study: Study) -> Kept:
    return [(trial.params, trial.values, trial.state.name) for trial in study.get_trials()]


_barrier: Any = None


def _meet(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _searches_at_once(folder: Path, seed: int, studies: str) -> list[tuple[int, Kept]]:
    """In a process of its own: Optuna's searches as soon as all processes are there, the first one on no tables."""
    _barrier.wait(timeout=120)
    return [_search(folder / f"{name}{seed}", name, seed, studies) for name in OPTUNA]


def _race(folder: Path, n_processes: int, studies: str) -> None:
    """Several processes search at once on a database without tables: as if each had its own journal."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_processes, context, initializer=_meet, initargs=(context.Barrier(n_processes),))
    with pool:
        futures = [pool.submit(_searches_at_once, folder, seed, studies) for seed in range(n_processes)]
        found = [future.result() for future in futures]
    assert found == [[_search(folder / "alone", name, seed) for name in OPTUNA] for seed in range(n_processes)]
    assert len(optuna.get_all_study_names(studies)) == 2 * n_processes


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


@pytest.mark.parametrize("searcher", OPTUNA)
def test_a_database_changes_nothing(searcher: str, tmp_path: Path, url: str) -> None:
    check_studies(url)
    for seed in (0, 1):
        number, kept = _search(tmp_path / "shared", searcher, seed, url)
        assert (number, kept) == _search(tmp_path / "own", searcher, seed)
        assert len(kept) == 6 and {state for _, _, state in kept} == {"COMPLETE"}


@pytest.mark.parametrize("searcher", OPTUNA)
@pytest.mark.parametrize("shared", [False, True])
def test_a_repeated_search_makes_its_study_anew(searcher: str, shared: bool, tmp_path: Path, url: str) -> None:
    check_studies(url)
    studies = url if shared else None
    other = _search(tmp_path / "folder", searcher, 1, studies)
    toy = _Toy(tmp_path / "folder", searcher, 0, studies)
    toy.create_study(optuna.samplers.RandomSampler(seed=5), [StudyDirection.MINIMIZE]).ask()  # a search cut short
    first, second = (_search(tmp_path / "folder", searcher, 0, studies) for _ in range(2))
    assert first == second != other
    if shared:
        names = {toy.spec.search_id, _Toy(tmp_path / "folder", searcher, 1, studies).spec.search_id}
        assert set(optuna.get_all_study_names(url)) == names and len(optuna.get_all_study_names(url)) == 2
        for name, (_, kept) in zip(sorted(names), (first, other), strict=True):
            assert _kept(optuna.load_study(study_name=name, storage=url)) == kept


def test_a_database_leaves_no_journal(tmp_path: Path, url: str) -> None:
    _search(tmp_path / "folder", "random", 0)
    (tmp_path / "folder/study.journal.lock").symlink_to("study.journal")
    _search(tmp_path / "folder", "random", 0, url)
    assert list((tmp_path / "folder").iterdir()) == []


def test_processes_share_a_database(tmp_path: Path, url: str) -> None:
    _race(tmp_path, 2, url)


# --- databases that cannot be used

PG = f"postgresql+psycopg2://user:{quote(SECRET, safe='')}@"
BAD = {
    "": "malformed URL",
    f"user:{SECRET}@host/database": "malformed URL",
    f"postgresql://user:{SECRET}": "malformed URL",
    f"postgresql://user:{SECRET}@host/database": "malformed URL",
    "postgresql://user:other@s3c/ret@host/database": "several @",
    f"nosuch://user:{quote(SECRET, safe='')}@host/database": "nosuch://user:***@host/database is of an unknown kind",
    f"{PG}127.0.0.1:1/database": "psycopg2://user:***@127.0.0.1:1/database cannot be used: connection to server at",
    f"postgresql+psycopg2://127.0.0.1:1/x?password={quote(SECRET, safe='')}": "psycopg2://127.0.0.1:1/x cannot be used",
    f"{PG}127.0.0.1/database?nonsense=1": "invalid connection option",
    "sqlite://": "in memory",
    "sqlite:///:memory:": "in memory",
    "sqlite:////no/such/folder/studies.db": "unable to open database file",
    "sqlite:///studies.db?timeout=soon": "'soon'",
}


def _refusal(url: str) -> str:
    """The message, one line; it and its traceback, which a failed search's folder keeps, do not tell the password."""
    with pytest.raises(InputError) as refused:
        check_studies(url)
    message, whole = str(refused.value), "".join(traceback.format_exception(refused.value))
    for secret in (SECRET, quote(SECRET, safe=""), "s3c"):
        assert secret not in message and secret not in whole
    assert "\n" not in message and message.startswith("the ") and "; " in message
    return message


@pytest.mark.parametrize("url", BAD)
def test_a_bad_database_is_one_line(url: str) -> None:
    assert BAD[url] in _refusal(url)


@pytest.mark.parametrize(
    "dialect, driver, package",
    [
        ("postgresql+psycopg", "psycopg", "psycopg[binary]"),
        ("postgresql+psycopg2", "psycopg2", "psycopg2-binary"),
        ("mysql+pymysql", "pymysql", "pymysql"),
    ],
)
def test_a_missing_driver_is_named(dialect: str, driver: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    assert f"pip install '{package}'" in _refusal(f"{dialect}://user:{quote(SECRET, safe='')}@host/database")


def test_tables_of_another_optuna_are_refused(url: str) -> None:
    check_studies(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0'"))
    engine.dispose()
    assert "no longer compatible with the table schema" in _refusal(url)


# --- PostgreSQL


def _program(name: str) -> str:
    places = [os.environ["PATH"], *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return found or pytest.skip(f"needs {name} of PostgreSQL (Debian's package postgresql)")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server of its own, on a socket, with a password."""
    user = _other_user() if os.getuid() == 0 else {}  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="studies", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "password").write_text(SECRET)
        for path in (folder, folder / "password"):
            os.chown(path, user.get("user", -1), user.get("group", -1))

        def run(program: str, *arguments: str) -> None:
            command = [_program(program), *arguments]
            done = subprocess.run(command, cwd=folder, **user, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr

        run(*"initdb -D data -U bench --auth=scram-sha-256 --pwfile=password --locale=C --no-sync".split())
        options = f"-c listen_addresses='' -k {folder} -F"
        run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://bench:{quote(SECRET, safe='')}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")


def _other_user() -> dict[str, Any]:
    """`subprocess`'s arguments for a process of a user other than root."""
    import pwd

    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = users.get("postgres") or users["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@pytest.mark.slow
def test_processes_share_a_postgresql_server(server: str, tmp_path: Path) -> None:
    _race(tmp_path, 4, server)
    check_studies(server)  # again, with its tables
    again = _search(tmp_path / "again", "tpe", 0, server)
    assert again == _search(tmp_path / "alone", "tpe", 0)
    assert len(optuna.get_all_study_names(server)) == 8


@pytest.mark.slow
def test_postgresql_refuses_in_one_line(server: str) -> None:
    assert "password authentication failed" in _refusal(server.replace("bench:", "bench:s3cret"))
    assert 'database "nosuch" does not exist' in _refusal(server.replace("/postgres?", "/nosuch?"))
