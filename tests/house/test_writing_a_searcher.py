"""The searchers in docs/writing-a-searcher.md keep the contract, find their answers, and run."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, TINY, benchmark

from benchmark.config.protocol import load_protocol
from benchmark.store import ResultsStore
from benchmark.suite.plan import make_searcher
from searchers.testing import SearcherContract
from searchers.testing.contract import run_checks
from searchers.testing.model import N_FACTORS
from searchers.testing.problem import OPTIMUM

TEXT = (ROOT / "docs" / "writing-a-searcher.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", TEXT, flags=re.DOTALL))
SEARCHERS = {
    **{"descending:Descending": OPTIMUM, "quiet:Quiet": OPTIMUM, "growing:Growing": OPTIMUM},
    # Beyond 8 latents the toy's loss rises, as no prefix's of one model does: the monotone fit is level from 4 on.
    **{"two_nn:TwoNN": N_FACTORS, "prefixes:Prefixes": OPTIMUM // 2},
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with the files of the document."""
    folder = tmp_path_factory.mktemp("work")
    for name, code in FILES.items():
        (folder / f"{name}.py").write_text(code)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_every_example_is_tested() -> None:
    assert {name.partition(":")[0] for name in SEARCHERS} | {"test_descending"} == set(FILES)
    assert TEXT.count("```python") == len(FILES)
    assert len(FILES["two_nn"].strip().splitlines()) <= 40


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_examples_keep_the_contract(work: Path, name: str) -> None:
    module, _, attribute = name.partition(":")
    searcher = getattr(importlib.import_module(module), attribute)()
    assert [error for _, error in run_checks(searcher) if error is not None] == []
    contract = type("Contract", (SearcherContract,), {"searcher": searcher, "answer": SEARCHERS[name]})
    contract().test_it_finds_the_known_answer()


def test_the_test_class_of_the_document_is_one(work: Path) -> None:
    contract = importlib.import_module("test_descending").TestDescending
    assert issubclass(contract, SearcherContract) and contract.answer == OPTIMUM


def test_a_protocol_sets_its_settings(work: Path) -> None:
    (table,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (work / "mine.toml").write_text(table)
    protocol = load_protocol(str(work / "mine.toml"))
    assert make_searcher("descending:Descending", protocol.searchers["descending:Descending"]).short == 0.2


def test_the_examples_run(work: Path) -> None:
    (work / "tiny.toml").write_text(TINY.format(epochs=10))
    done = benchmark(
        *("run", "--protocol", "tiny.toml", "--searchers", "grid", *SEARCHERS, "--seeds", 0),
        cwd=work,
        cache=work / "cache",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = ResultsStore(work / "results")
    sizes = store.searches().set_index("searcher")["latent_dim"]
    assert set(sizes.index) == {"grid", *SEARCHERS} and sizes.between(2, 16).all()
    growing = store.epochs().query("searcher == 'growing:Growing'")["latent_dim"].tolist()
    assert growing[0] == 2 and max(growing) >= 4
    ends = store.curves().query("searcher == 'prefixes:Prefixes' and epoch == 4")
    assert ends["size"].tolist() == [16, 16, 2, 4, 8]  # the whole model on both splits, then the prefixes
    assert store.trials().query("searcher == 'prefixes:Prefixes'")["n_epochs"].tolist() == [4, 6]
