"""A user's own metrics: from a name in the protocol to the frames and the choice."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import benchmark

from benchmark.config.protocol import dataset_protocol, override, protocol_table
from benchmark.config.tables import parse_assignment
from benchmark.errors import InputError
from benchmark.metrics.own import Batch, higher_is_better, load_metrics, measured
from benchmark.store import ResultsStore
from benchmark.suite.plan import plan
from searchers.base import Assessment, ChoiceRule
from searchers.quantities import DRAWN_METRICS, Weights
from searchers.selection import pick

MODULE = '''
"""Own metrics."""

def worst_error(batch):
    return (batch.x - batch.reconstruction).abs().max()

def brightness(batch):
    assert batch.z.shape == batch.mean.shape == batch.logvar.shape and len(batch.labels) == len(batch.x) > 100
    return float(batch.reconstruction.mean())

brightness.higher_is_better = True

def broken(batch):
    raise RuntimeError("two\\nlines")

def elbo(batch):
    return 0.0

number = 3
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports `own_metrics_of_mine` from."""
    (tmp_path / "own_metrics_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_metrics_of_mine", None)
    return tmp_path


def name(function: str) -> str:
    return f"own_metrics_of_mine:{function}"


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["no_such_module:f"], "cannot load metric 'no_such_module:f': ModuleNotFoundError"),
        ([name("none")], "has no attribute 'none'; expected an importable module:function"),
        (["own_metrics_of_mine"], "expected"),
        ([name("number")], "is 3; expected a function"),
        ([name("elbo")], "would be the column elbo, which is taken; rename the function"),
        ([name("worst_error")] * 2, "would be the column worst_error, which is taken"),
    ],
)
def test_what_is_no_metric_is_refused_in_one_line(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        load_metrics(names)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "column",
    ["seed", "search_id", "status", "protocol_hash", "r2", "source", "fid_real", "silhouette_noise", "setting_epochs"],
)
def test_names_that_the_frames_use_are_taken(column: str, module: Path) -> None:
    (module / "own_metrics_of_mine.py").write_text(f"def {column}(batch):\n    return 0.0\n")
    with pytest.raises(InputError, match=f"would be the column {column}, which is taken"):
        load_metrics([name(column)])


@pytest.mark.usefixtures("module")
def test_values_directions_and_failures() -> None:
    x = torch.rand(200, 1, 2, 2)
    batch = Batch(x, x + 0.25, torch.zeros(200, 3), torch.zeros(200, 3), torch.zeros(200, 3), torch.zeros(200))
    metrics = load_metrics([name("worst_error"), name("brightness")])
    found = measured(metrics, batch)
    assert found == {"worst_error": pytest.approx(0.25), "brightness": pytest.approx(float(x.mean()) + 0.25)}
    assert higher_is_better(metrics) == ["brightness"]
    with pytest.raises(ValueError, match="^metric broken failed: RuntimeError: two lines; expected a number"):
        measured(load_metrics([name("broken")]), batch)


def _assessments(values: list[float], higher: frozenset[str]) -> list[Assessment]:
    losses = np.random.default_rng(0).normal(size=50)
    return [
        Assessment(size, {"mine": value, "kid_gen": 0.0}, dict.fromkeys(DRAWN_METRICS, 0.0), losses, higher)
        for size, value in zip((2, 4, 8), values, strict=True)
    ]


def test_the_choice_weighs_it_in_its_direction() -> None:
    rule = ChoiceRule("mean-rank", weights=Weights(0, 0, 0, 0, {"mine": 1.0}))
    assert pick(_assessments([3.0, 1.0, 2.0], frozenset()), rule, 5.0).place == 1
    assert pick(_assessments([3.0, 1.0, 2.0], frozenset({"mine"})), rule, 5.0).place == 0


def test_a_protocol_weighs_it_by_its_name_and_the_hash_knows() -> None:
    digits = dataset_protocol("digits")
    own = parse_assignment('evaluation.metrics=["m:mine"]')
    changed = override(digits, own, parse_assignment("choice.weights.mine=2"))
    assert changed.choice.weights.by_metric()["mine"] == 2 and changed.choice.weights.fid_gen == 1
    assert override(changed) == changed and protocol_table(changed)["choice"]["weights"]["others"] == {"mine": 2}
    with pytest.raises(InputError, match="choice: weights: unknown setting 'mine'"):
        override(digits, parse_assignment("choice.weights.mine=2"))
    hashes = {plan(p, "", ["grid"], [0])[0].protocol_hash for p in (digits, override(digits, own), changed)}
    assert len(hashes) == 3


def test_it_is_logged_and_reported(module: Path) -> None:
    own = f'evaluation.metrics=["{name("worst_error")}", "{name("brightness")}"]'
    arguments = ["--dataset", "digits", "--searchers", "grid", "--seeds", 0, "--epochs", 1, "--jobs", 1]
    arguments += ["--device", "cpu", "--set", own, "--set", "space.sizes=[2,4]", "--set", "choice.rule=mean-rank"]
    arguments += ["--set", "choice.weights.brightness=1"]
    for metric in ("fid_recon", "fid_gen", "recon_nll", "silhouette"):
        arguments += ["--set", f"choice.weights.{metric}=0"]
    run = benchmark("run", *arguments, "--results", "r", cwd=module, cache=module / "cache", path=[module])
    assert run.returncode == 0, run.stderr
    store = ResultsStore(module / "r")
    search = store.searches().iloc[0]
    val = store.curves().query("split == 'val'")
    best = val.loc[val["brightness"].idxmax()]
    assert search["latent_dim"] == best["size"]
    test = store.curves().query(f"split == 'test' and size == {search['latent_dim']}").iloc[0]
    assert search["test_brightness"] == test["brightness"] and search["test_worst_error"] == test["worst_error"] > 0
    assert store.epochs()["worst_error"].notna().all() and store.trials()["brightness"].notna().all()
