"""Whose commit a search records, and which version."""

import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from benchmark import provenance
from benchmark.provenance import _git_commit, environment


def _git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with an environment inside it that holds the package, which git does not track."""
    installed = tmp_path / "own" / ".venv" / "lib" / "benchmark"
    installed.mkdir(parents=True)
    (installed / "provenance.py").write_text("")
    (tmp_path / "own" / ".gitignore").write_text(".venv\n")
    _git(tmp_path / "own", "init", "-q")
    _git(tmp_path / "own", "add", ".")
    _git(tmp_path / "own", "commit", "-q", "-m", "theirs")
    return tmp_path / "own"


def test_the_commit_of_the_repository_around_an_installed_package_is_not_ours(repository: Path) -> None:
    assert _git_commit(repository / ".venv" / "lib") is None
    assert _git_commit(repository) is None  # its top level, but without the package
    (repository / "benchmark").mkdir()
    (repository / "benchmark" / "provenance.py").write_text("")
    assert _git_commit(repository) is None  # it is there, but not tracked
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-m", "a checkout")
    assert _git_commit(repository) == _git(repository, "rev-parse", "HEAD")
    assert _git_commit(repository / "benchmark") is None
    assert _git_commit(repository / "missing") is None


def test_the_environment_says_version_and_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_git_commit", lambda root: f"commit at {root}")
    monkeypatch.setattr(provenance, "version", lambda package: f"version of {package}")
    found = environment(torch.device("cpu"), 1)
    assert found["git_commit"] == f"commit at {Path(__file__).parents[2]}"
    assert found["latentbench"] == "version of latentbench"

    def missing(package: str) -> str:
        if package == "latentbench":
            raise PackageNotFoundError
        return package

    monkeypatch.setattr(provenance, "version", missing)
    assert environment(torch.device("cpu"), 1)["latentbench"] is None
