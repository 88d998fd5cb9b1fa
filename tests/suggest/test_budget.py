"""From a time limit to epochs: by hand-made speeds and rows, and the file that keeps the decision."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_bench import spec_of

from benchmark.config.protocol import load_protocol
from benchmark.suggest import measure
from benchmark.suggest.budget import Budget, Speed, budget_file, budget_for, read_budget, write_budget
from benchmark.suggest.measure import fastest_threads, speed_of
from benchmark.suggest.request import duration_argument

SPEED = Speed(epoch_seconds=10.0, other_seconds=50.0)


@pytest.mark.parametrize("text, seconds", [("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("1.5h", 5400.0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_argument(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "0s", "-5m", "infs", "nanm", "1e3s", "1d", "m", "1 h", "30m "])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0 with s, m or h, such as 30m"):
        duration_argument(text)


@pytest.mark.parametrize("limit, epochs", [(10.0, 1), (117.0, 1), (200.0, 8), (400.0, 25), (1e6, 40)])
def test_as_many_epochs_as_end_in_time(limit: float, epochs: int) -> None:
    budget = budget_for(limit, spent=40.0, speed=SPEED, full=40, threads=2)
    assert budget.epochs == epochs and budget.threads == 2
    assert epochs == 1 or 40 + 50 + epochs * 10 <= 0.85 * limit


def test_what_is_said_of_a_budget() -> None:
    def said(limit: float, full: int = 40) -> list[str]:
        return budget_for(limit, spent=40.0, speed=SPEED, full=full, threads=1).sentences()

    assert said(400.0) == [
        "40 epochs would take about 8.2 min; 85 % of the limit of 6.7 min are planned with and allow 25."
    ]
    assert said(1e6) == ["40 epochs, as the protocol says, fit into the limit: about 8.2 min."]
    too_little = "That is too little to trust a size: give 2.7 min or more."
    assert said(140.0) == [
        "40 epochs would take about 8.2 min; 85 % of the limit of 2.3 min are planned with and allow 2.",
        too_little,
    ]
    assert said(90.0)[0] == "40 epochs would take about 8.2 min; the limit of 90 s is too short even for one."
    assert len(said(1e6, full=2)) == 1  # the protocol asks for no more
    assert Budget(40, 40, 1).sentences() == [
        "No time limit: 40 epochs, as the protocol says; --time-limit 30m would set one."
    ]


@pytest.mark.parametrize("protocol, n_images", [("digits", 1293), ("ald-mnist", 54_000)])
@pytest.mark.parametrize("epochs", [1, 7, 10**6])
def test_the_budget_is_the_protocols_scaled(protocol: str, n_images: int, epochs: int) -> None:
    given = load_protocol(protocol)
    full = given.training.with_epochs(n_images).epochs
    own = Budget(min(epochs, full), full, threads=2).training(given, n_images).training
    assert own.with_epochs(n_images).epochs == min(epochs, full)
    assert own.threads == 2 and (own.scale < 1) == (epochs < full)


def test_a_budget_in_batches_is_scaled_too() -> None:
    protocol = load_protocol("digits")
    protocol = replace(protocol, training=replace(protocol.training, batches=1000, scale=0.5))
    full = protocol.training.with_epochs(1293).epochs
    assert full == 6  # 500 batches of 80 an epoch
    for epochs in range(1, 7):
        assert Budget(epochs, full, 1).training(protocol, 1293).training.with_epochs(1293).epochs == epochs


def test_the_file_follows_from_all_but_the_seed(tmp_path: Path) -> None:
    def named(*spec: str, limit: float | None = 60.0, threads: int | None = None, **changes: Any) -> Path:
        return budget_file(tmp_path, spec_of(*spec, **changes), limit, threads)

    assert named() == named(seed=9)
    others = [named("other"), named(data_fingerprint="x"), named(device="cuda"), named(settings={"a": 1})]
    others += [named(limit=61.0), named(limit=None), named(threads=1)]
    assert len({named(), *others}) == 8


def test_a_budget_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "budgets" / "budget.json"
    for budget in (budget_for(400.0, 40.0, SPEED, 40, 2), Budget(40, 40, 1)):
        write_budget(path, budget)
        assert read_budget(path) == budget
    path.write_text(path.read_text().replace("40", "41"))
    assert read_budget(path) is None
    assert read_budget(tmp_path / "missing.json") is None


def _rows(train: list[float], evaluation: list[float], trial: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"trial": trial, "train_seconds": train, "eval_seconds": evaluation})


def test_the_speed_leaves_out_warming_up_and_what_is_done_once() -> None:
    # Epochs are 5 times as long: 10 s of training and 1 s of evaluation. The rest, 40 s, holds 3 s of warming up and
    # the 6 s in which many sizes were evaluated once.
    speed = speed_of(_rows([5.0, 2.0, 2.0], [1.0, 7.0, 1.0]), seconds=49.0, lengthening=5.0)
    assert speed == Speed(epoch_seconds=pytest.approx(11.0), other_seconds=pytest.approx(40.0 + measure.REPORT_SECONDS))


def test_the_speed_counts_all_trainings_and_what_each_epoch_evaluates() -> None:
    rows = pd.concat([_rows([2.0] * 3, [3.0] * 3), _rows([4.0] * 3, [3.0] * 3, trial=1)])
    assert speed_of(rows, seconds=50.0, lengthening=1.0).epoch_seconds == pytest.approx(2 + 4 + 2 * 3)


@pytest.mark.parametrize(
    "rates, cpus, threads",
    [({1: 1.0, 2: 1.8, 4: 3.0}, 4, 4), ({1: 1.0, 2: 1.05}, 2, 1), ({1: 1.0, 2: 1.5, 4: 1.6}, 4, 2), ({1: 1.0}, 1, 1)],
)
def test_more_threads_only_where_they_help(
    rates: dict[int, float], cpus: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "n_cpus", lambda: cpus)
    monkeypatch.setattr(measure, "measured_rate", lambda spec, _: rates[spec.training.threads])
    assert fastest_threads(spec_of(), (1, 4, 4)) == threads
