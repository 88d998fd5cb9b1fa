"""The fault harness in short, and whether it notices what a fault can do; `make faults` is the whole of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT

from benchmark.store import ResultsStore
from benchmark.store.doubts import search_flags
from benchmark.store.folders import SearchFolder
from tests.faults.__main__ import FAULTS
from tests.faults.bench import Skipped, bench

# Each start takes seconds, which are Python's imports. So one suite meets all that cuts suites short, and another one,
# in the company of a third, is stopped while its clock jumps.
SHORT = {"mixed": 1, "stops": 1, "damages, then read": 1, "damaged tables": 300}
SEED = 1  # with it the stopped suite has company


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


def _run(name: str, folder: Path, count: int) -> None:
    try:
        tried, survived = FAULTS[name][0](folder / f"{name} {count}", count, SEED)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert tried == count
    assert survived == tried  # what is wrong is printed, with the command that repeats it


@pytest.mark.parametrize("module", ["tests.faults", "tests.speed"])
def test_make_finds_it(module: str) -> None:
    """Beside the package `tests` that torch-fidelity installs."""
    code = f"from importlib.util import find_spec; print(find_spec('{module}.__main__').origin)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT.joinpath(*module.split("."), "__main__.py")), done.stderr


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost(name: str, folder: Path) -> None:
    _run(name, folder, SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_at_full_length(name: str, folder: Path) -> None:
    _run(name, folder, FAULTS[name][1])


def _one_row(name: str, change: Callable[[Any], Any]) -> Callable[[SearchFolder], None]:
    def edit(search: SearchFolder) -> None:
        rows = search.trial(0).read_rows()
        rows[2][name] = change(rows[2][name])
        search.trial(0).write_rows(rows)

    return edit


def _twice(search: SearchFolder) -> None:
    rows = search.trial(0).read_rows()
    search.trial(0).write_rows([*rows, rows[-1]])


def _one_weight(search: SearchFolder) -> None:
    content = torch.load(search.path / "model.pt", weights_only=True)
    weight = next(iter(content["weights"].values())).view(-1)
    weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    torch.save(content, search.path / "model.pt")


def _one_pixel(search: SearchFolder) -> None:
    with np.load(search.path / "images.npz") as arrays:
        changed = dict(arrays)
    changed["samples"][0, 0, 0, 0] ^= 1
    np.savez(search.path / "images.npz", **changed)


EDITS: dict[str, Callable[[SearchFolder], Any]] = {
    "searches/{id}/claim-000001 is left over": lambda search: (search.path / "claim-000001").touch(),
    "searches/{id}/trials/000/.0a.model.pt is left over": lambda s: (s.path / "trials/000/.0a.model.pt").touch(),
    "searches/{id}/trials/000/model.pt is missing": lambda search: search.trial(0).model.unlink(),
    "searches/{id}/model.pt differs": _one_weight,
    "searches/{id}/images.npz differs": _one_pixel,
    "searches: status differs": lambda search: search.update(status="running"),
    "epochs: epoch differs": _twice,
    "epochs: fid_gen differs": _one_row("fid_gen", lambda value: float(np.nextafter(value, np.inf))),
    "epochs: absurd wall_seconds differs": _one_row("wall_seconds", lambda value: -value),
}


@pytest.mark.parametrize("difference", EDITS)
def test_the_harness_notices(difference: str, folder: Path, tmp_path: Path) -> None:
    undisturbed = bench(folder / "bench")
    shutil.copytree(undisturbed.undisturbed, tmp_path / "results")
    assert undisturbed.compare(tmp_path / "results") == []
    search_id = ResultsStore(tmp_path / "results").searches().query("searcher == 'tpe'")["search_id"].item()
    EDITS[difference](ResultsStore(tmp_path / "results").folder(search_id))
    found = undisturbed.compare(tmp_path / "results")
    assert difference.format(id=search_id) in found
    if difference == "searches: status differs":  # these columns follow from it
        found = [one for one in found if one not in {f"searches: {name} differs" for name in search_flags({})}]
    assert len(found) == 1 or difference == "epochs: epoch differs"  # every column of a row that is there twice
