"""The package in docs/writing-a-plugin.md: installed, its names are names everywhere, and what they name works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from commands import ROOT, benchmark, environment

from benchmark.store import ResultsStore

TEXT = (ROOT / "docs" / "writing-a-plugin.md").read_text()
FILES = {name: code for name, code in re.findall(r"```(?:python|toml)\n# ([\w/.]+)\n(.*?)```", TEXT, flags=re.DOTALL)}
COMMANDS = [line.partition("#")[0].split() for line in re.findall(r"^latentbench (.*)$", TEXT, flags=re.MULTILINE)]
NAMES = {"spiral": "dataset", "tanh": "backbone", "middle": "searcher", "largest_error": "metric", "sizes": "figure"}


def install(packages: Path, name: str, entry_points: str) -> None:
    """What pip leaves of a package beside its code."""
    info = packages / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for name, code in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    (folder / "spiral" / "__init__.py").touch()
    table = re.findall(r'\[project.entry-points."([\w.]+)"\]\n((?:\w+ = ".*"\n)+)', FILES["pyproject.toml"])
    points = "".join(f"[{group}]\n{lines}\n".replace('"', "") for group, lines in table)
    install(folder, "latentbench-spiral", points)
    return folder


@pytest.fixture(scope="module")
def work(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder in which the document's commands have run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "spiral.toml").write_text(FILES["spiral.toml"])
    done = [benchmark(*command, cwd=folder, cache=folder / "cache", path=[packages]) for command in COMMANDS]
    assert [one.returncode for one in done] == [0] * len(COMMANDS), [one.stdout + one.stderr for one in done]
    (folder / "list.txt").write_text(done[0].stdout)
    return folder


def test_the_document_has_one_of_each() -> None:
    assert {f"# {name}" in TEXT for name in FILES} == {True} and len(COMMANDS) == 6
    for name, kind in NAMES.items():
        assert re.search(rf'latentbench.{kind}s"\]\n{name} = ', FILES["pyproject.toml"])


def test_list_names_the_package(work: Path) -> None:
    lines = (work / "list.txt").read_text().splitlines()
    for name in NAMES:
        assert f"  {name:22} from latentbench-spiral 1.0" in lines


def test_listing_imports_none_of_it(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    install(tmp_path / "bad", "latentbench-bad", "[latentbench.searchers]\nbad = bad_module:X\n")
    (tmp_path / "bad" / "bad_module.py").write_text("raise SystemExit('imported')")
    done = benchmark("list", cwd=tmp_path, cache=tmp_path, path=[tmp_path / "bad"])
    assert (done.returncode, done.stderr) == (0, "") and "from latentbench-bad 1.0" in done.stdout
    used = benchmark("check", "bad", cwd=tmp_path, cache=tmp_path, path=[tmp_path / "bad"])
    assert used.returncode == 2 and used.stderr.count("\n") == 1
    assert "cannot load searcher 'bad' from latentbench-bad 1.0: SystemExit: imported" in used.stderr


def test_the_names_run(work: Path) -> None:
    searches = ResultsStore(work / "results").searches().set_index("searcher")
    assert set(searches.index) == {"grid", "middle"} and (searches["status"] == "done").all()
    assert searches.loc["middle", "latent_dim"] == 4 and searches.loc["middle", "backbone"] == "tanh"
    assert searches["dataset"].eq("spiral").all() and searches["true_high"].eq(2).all()
    assert searches["test_largest_error"].between(0, 1).all()


def test_the_figure_is_drawn(work: Path) -> None:
    (csv,) = (work / "results" / "report" / "figures").glob("sizes-*.csv")
    assert pd.read_csv(csv)["latent_dim"].between(2, 8).all()
    assert csv.with_suffix(".png").stat().st_size > 1000 and csv.with_suffix(".pdf").exists()


def test_its_model_is_read_where_the_package_is_installed(work: Path, packages: Path) -> None:
    (path,) = (work / "results" / "searches").glob("*middle*/model.pt")
    script = f"from benchmark import load_model; print(load_model({str(path)!r}).latent_dim)"
    done = _python(script, work, packages)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_an_own_network_is_read_only_after_its_module_was_imported(work: Path, packages: Path) -> None:
    folder = work / "own"
    command = ("run", "--protocol", "spiral.toml", "--backbone", "spiral.networks:Tanh", "--searchers", "middle")
    done = benchmark(*command, "--seeds", 0, "--results", folder, cwd=work, cache=work / "cache", path=[packages])
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("searches/*/model.pt")
    load = f"from benchmark import load_model; print(load_model({str(path)!r}).latent_dim)"
    refused = _python(load, work, packages)
    assert "import spiral.networks before you load it" in refused.stderr
    assert _python(f"import spiral.networks; {load}", work, packages).stdout == "4\n"


def test_the_tests_of_the_document_pass(packages: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_spiral.py"]
    env = environment(packages / "cache", [packages])
    done = subprocess.run(command, cwd=packages, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout


@pytest.mark.parametrize("other", ["grid", "middle"])
def test_a_name_registered_twice_is_refused_where_it_is_used(other: str, packages: Path, tmp_path: Path) -> None:
    install(tmp_path / "twice", "latentbench-twice", f"[latentbench.searchers]\n{other} = nothing:X\n")
    path = [packages, tmp_path / "twice"]
    by = "latentbench" if other == "grid" else "latentbench-spiral 1.0"
    line = f"searcher '{other}' is registered by {by} and latentbench-twice 1.0; expected one"
    used = benchmark("check", other, cwd=tmp_path, cache=tmp_path, path=path)
    assert used.returncode == 2 and line in used.stderr and used.stderr.count("\n") == 1
    listed = benchmark("list", cwd=tmp_path, cache=tmp_path, path=path)
    assert listed.returncode == 0 and f"left out: {line}" in listed.stdout
    assert benchmark("check", "pca", cwd=tmp_path, cache=tmp_path, path=path).returncode == 0


BAD = """
def fails(): raise KeyError("column")
def nothing(): return 3
class NoNetwork: pass
FIGURE = 1
"""


@pytest.mark.parametrize(
    "command, says",
    [
        (
            "check --kind dataset bad:fails",
            "it loads a data set: InputError: dataset bad:fails: KeyError: 'column'",
        ),
        ("run --dataset bad:fails", "dataset bad:fails: KeyError: 'column'; expected"),
        ("run --dataset bad:nothing", "dataset bad:nothing is of type int; expected"),
        ("run --dataset bad:none", "cannot load dataset 'bad:none': AttributeError"),
        (
            "run --dataset tiles --backbone bad:NoNetwork",
            "backbone 'bad:NoNetwork' is <class 'bad.NoNetwork'>; expected",
        ),
        ("report --results RESULTS --figures bad:FIGURE", "figure 'bad:FIGURE' is 1; expected"),
        ("report --results RESULTS --figures sises", "unknown figure 'sises'; did you mean 'sizes'?"),
    ],
)
def test_bad_code_is_one_line(command: str, says: str, work: Path, packages: Path) -> None:
    (work / "bad.py").write_text(BAD)
    words = command.replace("RESULTS", os.fspath(work / "results")).split()
    done = benchmark(*words, cwd=work, cache=work / "cache", path=[packages])
    assert done.returncode in (1, 2) and says in done.stdout + done.stderr
    assert done.returncode == 1 or done.stderr.count("\n") == 1


def _python(script: str, work: Path, packages: Path) -> "subprocess.CompletedProcess[str]":
    env = environment(work / "cache", [packages])
    return subprocess.run([sys.executable, "-c", script], cwd=work, env=env, capture_output=True, text=True)
