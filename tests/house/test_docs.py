"""What docs/architecture.md and CONTRIBUTING.md name is there."""

import re

import pytest
from commands import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FOLDERS = ("benchmark", "docs", "reports", "searchers", "tests")


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_every_path_is_there(text: str) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text)
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    assert len(named) > 5 and links
    base = ROOT / "docs" if text is ARCHITECTURE else ROOT
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing + [link for link in links if not (base / link).exists()] == []


@pytest.mark.parametrize("word", ["searcher", "search", "trial", "suite", "task", "claim", "group", "space"])
def test_the_glossary_has_each_word(word: str) -> None:
    assert f"\n| {word} | " in ARCHITECTURE


def test_the_functions_that_the_lives_name_are_there() -> None:
    code = "\n".join(path.read_text() for name in FOLDERS[::2] for path in (ROOT / name).rglob("*.py"))
    code += (ROOT / "searchers" / "base.py").read_text()
    for name in re.findall(r"`(?:\w+\.)?(\w+)`", ARCHITECTURE.split("## The life of a batch")[1].split("## Where")[0]):
        if name.islower() and "_" in name:
            assert re.search(rf"\b(def|class) {name}\b", code) or f'"{name}"' in code, name
