"""What README, CONTRIBUTING, SECURITY and docs/ name is there."""

import re
from pathlib import Path

import pytest
from commands import ROOT

README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {ROOT / "CHANGELOG.md"})  # what was, may be gone
PACKAGES = ("benchmark", "latentbench", "reports", "searchers")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_path_and_link_is_there(page: Path) -> None:
    text = page.read_text()
    paths = (
        []
        if page.name == "CHANGELOG.md"
        else re.findall(r"`((?:docs|tests|benchmark|reports|searchers)/[\w./-]*)`", text)
    )
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text) if "://" not in link]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    linked = {ROOT / link for link in re.findall(r"\]\(([\w./-]+\.md)\)", README)}
    assert {page for page in PAGES if page.name not in ("README.md", "scale.md")} <= linked


@pytest.mark.parametrize("word", ["searcher", "search", "trial", "suite", "task", "claim", "group", "space"])
def test_the_readme_explains_each_word(word: str) -> None:
    assert f"*{word}*" in README.split("## Words")[1].split("\n## ")[0]


def test_the_functions_that_the_lives_name_are_there() -> None:
    code = "\n".join(path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    named = re.findall(r"`(?:\w+\.)?(\w+)`", ARCHITECTURE.split("## The life of a batch")[1].split("## Where")[0])
    functions = {name for name in named if name.islower() and "_" in name}
    assert len(functions) > 5
    assert [name for name in functions if not re.search(rf"\bdef {name}\b", code)] == []
