"""Fixtures that several test files share."""

import os
from pathlib import Path
from urllib.error import URLError

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in several processes: more threads would wait for each other


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run commands come first: they take longest, and one that began last would leave a core idle."""
    runs = {"benchmark", "started", "kill_when"}
    items.sort(key=lambda item: runs.isdisjoint(vars(getattr(item, "module", item))))


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own data and caches."""
    monkeypatch.setenv("LATENTBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_url(url: str) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("benchmark.datasets.archives.download.open_url", open_url)
