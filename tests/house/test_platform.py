"""The program on machines and in shells of all kinds: installed from a wheel, beside foreign files, without UTF-8."""

import ast
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, TINY, environment
from report_frames import epochs, search, write_store

from benchmark import __version__, cli
from benchmark.store import ResultsStore
from benchmark.suite.executors import local_pool as pool

PACKAGES = ("benchmark", "searchers", "reports", "latentbench")
FOREIGN = (
    *(*PACKAGES, "copy", "queue", "random", "types", "enum", "socket", "logging", "torch"),
    *("numpy", "matplotlib"),
)
TRAP = "open(__file__ + '.imported', 'w')\nraise RuntimeError('a file of the user stood for a module')\n"
MINE = """
import beside
from searchers.base import Choice, Searcher


class Mine(Searcher):
    def search(self, problem):
        return Choice(problem.train(beside.SIZE))
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
NOTEBOOK = "module://matplotlib_inline.of_another_environment"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the scripts of a fresh environment that has the wheel, and what it needs from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / "source" / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    wheel = ["wheel", folder / "source", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    subprocess.run([*pip, *wheel], check=True, capture_output=True, cwd=folder)
    venv.create(folder / "venv")
    python = folder / "venv/bin/python"
    (built,) = folder.glob("latentbench-*.whl")
    install = ["--python", python, "install", "--no-deps", "--no-index", built]
    subprocess.run([*pip, *install], check=True, capture_output=True, cwd=folder)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    # As lines of a .pth file they bring no .pth files of their own, and so no editable install.
    (site / "needs.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return python.parent


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A user's working folder, also the home folder."""
    for name in FOREIGN:
        (tmp_path / f"{name}.py").write_text(TRAP)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("SIZE = 3")
    (tmp_path / "tiny.toml").write_text("summary = 'é'\n" + TINY.format(epochs=1), encoding="utf-8-sig")
    return tmp_path


def _run(scripts: Path, work: Path, *arguments: str, **variables: str) -> str:
    own = {"XDG_CACHE_HOME": str(work / "cache"), "HOME": str(work), "PYTHONWARNINGS": "error::UserWarning"}
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    command = [str(scripts / "latentbench"), *arguments]
    done = subprocess.run(command, cwd=work, env={**env, **own, **variables}, capture_output=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout.decode()


def test_the_wheel_works_beside_files_of_any_name(scripts: Path, work: Path) -> None:
    arguments = ("--protocol", "~/tiny.toml", "--searchers", "mine:Mine", "--seeds", "0", "--results", "~/my results")
    _run(scripts, work, "run", *arguments, **ASCII)
    searches = ResultsStore(work / "my results").searches()
    assert searches[["searcher", "status", "latent_dim"]].values.tolist() == [["mine:Mine", "done", 3]]
    out = _run(scripts, work, "report", "--results", "~/my results", "--out", "~/page", MPLBACKEND=NOTEBOOK, **ASCII)
    assert (work / "page/index.html").is_file() and "index.html" in out and out.isascii()
    assert not list(work.rglob("*.imported"))
    exec_trap = subprocess.run([sys.executable, work / "queue.py"], capture_output=True)
    assert exec_trap.returncode == 1 and (work / "queue.py.imported").exists()  # the trap works


def test_the_wheel_is_typed_and_says_its_version(scripts: Path, work: Path) -> None:
    assert _run(scripts, work, "--version") == f"latentbench {__version__}\n"
    (site,) = scripts.parent.glob("lib/python*/site-packages")
    assert all((site / package / "py.typed").is_file() for package in PACKAGES)
    assert list(site.glob(f"latentbench-{__version__}.dist-info")) and list(
        (site / "benchmark/protocols").glob("*.toml")
    )


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation and "cff-version: 1.2.0" in citation
    released = citation.partition("date-released: ")[2].split()[0]
    assert f"\n## {__version__} ({released})\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert not ended.value.code and all(name in script for name in ("searchers", "watch", "report", "figures"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_closed_streams_and_a_long_temporary_folder(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=1))
    run = "run --protocol tiny.toml --searchers sparsity --seeds 0 <&- >&- 2>&-"
    for command in (run, "list >&-", "show results >&-"):
        env = {**environment(tmp_path / "cache"), "TMPDIR": str(long)}
        shell = f"exec '{sys.executable}' -m benchmark {command}"
        done = subprocess.run(shell, shell=True, cwd=tmp_path, env=env, stderr=subprocess.PIPE, timeout=300)
        assert (done.returncode, done.stderr) == (0, b""), command
    assert ResultsStore(tmp_path / "results").searches()["status"].tolist() == ["done"]
    assert ResultsStore(tmp_path / "results").epochs()["epoch"].tolist() == [1]


def test_a_temporary_folder_too_long_for_sockets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 120)
    monkeypatch.setattr(pool.os, "access", lambda *_: False)
    with pytest.raises(cli.InputError, match=r"^TMPDIR /x+ is too long; expected at most 70 bytes: set it to a short"):
        pool._choose_socket_folder()


def test_windows_is_told_so_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run"])
    assert ended.value.code == 2 and not list(tmp_path.iterdir())
    line = "latentbench: run cannot work on Windows, which cannot fork; expected Linux or macOS: run it in WSL\n"
    assert capsys.readouterr().err == line


MATPLOTLIBRC = """
text.usetex: True
figure.facecolor: black
savefig.facecolor: black
savefig.bbox: tight
axes.facecolor: black
axes.prop_cycle: cycler("color", ["red"])
lines.linestyle: :
font.sans-serif: Nothing
backend: QtAgg
"""


def test_the_users_matplotlib_settings_change_no_byte_of_a_report(tmp_path: Path) -> None:
    rows = [search(name, seed, wall_seconds=30.0 + seed) for name in ("grid", "ald") for seed in range(2)]
    write_store(tmp_path / "results", rows, [row for of in rows for row in epochs(of, [8, 7, 6])])
    for name in ("plain", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "theirs/matplotlibrc").write_text(MATPLOTLIBRC)
    for name, variables in (("plain", {}), ("theirs", {"MPLBACKEND": NOTEBOOK})):
        command = [sys.executable, "-m", "reports", "--results", "../results", "--out", "out"]
        env = {**environment(tmp_path), **variables}
        done = subprocess.run(command, cwd=tmp_path / name, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    plain, theirs = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()} for name in ("plain", "theirs")
    )
    assert theirs == plain and sum(name.endswith((".png", ".pdf")) for name in plain) > 6


def _without_encoding(source: str) -> Iterator[int]:
    """Lines where text is read or written in whatever the locale's encoding is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            literals = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
            modes = [text for text in literals if re.fullmatch("[rwxabt+]+", text)]
            own = isinstance(node.func, ast.Name) or modes or not node.args  # not an archive's open(member): bytes
            text = called in ("read_text", "write_text") or (called == "open" and own and "b" not in "".join(modes))
            if text and not any(keyword.arg == "encoding" for keyword in node.keywords):
                yield node.lineno


def test_missing_encodings_are_seen() -> None:
    assert list(_without_encoding("p.read_text()\np.open('w')\nopen('x')\np.open()\np.write_text(s)")) == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert not list(_without_encoding("p.read_text(encoding='utf-8')\np.open('rb')\np.open('w', encoding='ascii')"))


def test_every_text_file_has_an_encoding() -> None:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = {str(path): list(_without_encoding(path.read_text(encoding="utf-8"))) for path in paths}
    assert len(found) > 100 and {path: lines for path, lines in found.items() if lines} == {}
