"""The site of the documents: every column has a line, every document a page; `make docs` builds it without network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT

from benchmark.store.sources.descriptions import FRAMES, describe


def test_every_column_has_a_line() -> None:
    columns = {column for names in FRAMES.values() for column in names}
    assert len(columns) > 100
    for column in columns:
        assert describe(column).strip()
    assert describe("test_elbo_error") == "standard error of `test_elbo` over the draws"
    assert describe("size_only_kl") == "`kl` of a plain training of the size found"
    with pytest.raises(KeyError):
        describe("no_such_column")


def test_every_document_is_in_the_navigation() -> None:
    nav = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= nav


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    env = {**os.environ, "SITE_WITHOUT_RUNS": "1", "NO_MKDOCS_2_WARNING": "1"}  # `make docs` executes the notebook
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="([^"]*)"', page.read_text())
        assert loaded and [url for url in loaded if re.match(r"(https?:)?//", url)] == [], page


def test_the_pages_have_what_they_are_for(site: Path) -> None:
    columns = (site / "columns.html").read_text()
    assert all(f"<code>{name}</code>" in columns for name in ("test_elbo", "as_good", "probe_mean"))
    assert 'id="searchers.base.Searcher.search"' in (site / "api" / "searchers.html").read_text()
    assert 'id="benchmark.store.ResultsStore.curves"' in (site / "api" / "store.html").read_text()
    assert 'id="latentbench.find_latent_size"' in (site / "api" / "latentbench.html").read_text()
    assert "LatentSizeSearch" in (site / "notebook.html").read_text()
    assert "BackboneContract" in (site / "api" / "testing.html").read_text()
    assert 'href="reading-results.html' in (site / "index.html").read_text()
