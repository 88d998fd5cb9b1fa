"""The section quality of the speed bench on a tiny problem: what it counts, and what it says of missed targets."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.config.protocol import Named
from benchmark.datasets.base import Dataset
from benchmark.errors import InputError
from benchmark.suite.estimate import step_flops
from searchers.parts.likelihoods import bernoulli_nll
from tests.speed import __main__ as speed
from tests.speed import problem as speed_problem
from tests.speed import quality as speed_quality
from tests.speed import trainers as speed_trainers
from tests.speed.problem import Point, QualityCase, QualityProblem, load_problem, pca_nll, validation_nll
from tests.speed.quality import CASES, QualityTable
from tests.speed.trainers import Trainer, ours, plain, trainers

EASY, HARDER, IMPOSSIBLE = 30.0, 27.3, 1.0  # nats; 44.5 at the start, 27.7 after an epoch of the plain loop
DIGITS = QualityCase("digits", "mlp", 4, nats=(EASY,), budgets=(0.5, 1.0, 2.0), most_epochs=2)
STEPS, BATCH = 20, 64  # an epoch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What the bench sets for its whole process is undone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def problem(*nats: float, seconds: float = 60.0) -> QualityProblem:
    return load_problem(replace(DIGITS, nats=nats, seconds=seconds))


def point(epochs: float, nats: float, cpu_seconds: float) -> Point:
    return Point(epochs, round(1000 * epochs), 1e12 * epochs, cpu_seconds, 2 * cpu_seconds, nats)


def test_of_our_runs_the_first_that_reaches_the_target_ends_the_ladder_and_counts_alone() -> None:
    start = time.thread_time()
    points = ours(problem(HARDER))
    assert [point.epochs for point in points] == [0.5, 1.0]
    assert points[0].nats > HARDER >= points[1].nats
    assert points[1].images == STEPS * BATCH
    assert points[1].flops == STEPS * step_flops(Named("mlp"), (1, 8, 8), 4, BATCH)
    assert 0 < sum(point.cpu_seconds for point in points) <= time.thread_time() - start


@pytest.mark.parametrize("nats, epochs", [((EASY,), 0.5), ((EASY, IMPOSSIBLE), 2.0)])
def test_a_training_without_budget_ends_at_its_last_target_or_after_most_epochs(
    nats: tuple[float, ...], epochs: float
) -> None:
    points = plain(problem(*nats))
    assert [point.epochs for point in points] == [0.25 * i for i in range(1, len(points) + 1)]
    assert points[-1].epochs == epochs and points[-1].images == epochs * STEPS * BATCH
    assert next(point.epochs for point in points if point.nats <= EASY) == 0.5


@pytest.mark.parametrize("train", [ours, plain])
def test_no_training_goes_on_beyond_its_seconds(train: Trainer) -> None:
    assert len(train(problem(IMPOSSIBLE, seconds=1e-6))) == 1


@pytest.mark.parametrize("train", [ours, plain])
def test_evaluations_are_outside_the_clock(train: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    train(problem(IMPOSSIBLE, seconds=1e-6))  # what is done once a process
    monkeypatch.setattr(speed_problem, "validation_nll", lambda *_: time.sleep(0.3) or 50.0)
    start = time.perf_counter()
    points = train(problem(IMPOSSIBLE))
    assert points[-1].wall_seconds <= time.perf_counter() - start - 0.3 * len(points)


def test_the_nll_is_the_mean_of_the_whole_split_and_the_model_goes_on_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(speed_problem, "EVALUATED_AT_ONCE", 50)  # 144 images: the last batch is smaller
    digits = problem(EASY)
    vae = digits.vae("torch")
    with torch.no_grad():
        vae.logvar_head.weight.zero_()
        vae.logvar_head.bias.fill_(-200.0)  # z is the mean
        x = digits.val.take(torch.arange(len(digits.val))).float() / 255
        expected = float(bernoulli_nll(vae.decode(vae.encode(x)[0]), x))
    assert validation_nll(vae, digits.val) == pytest.approx(expected, rel=1e-5)
    assert vae.training


def test_the_nll_of_pca_is_that_of_its_clamped_reconstructions() -> None:
    digits = problem(EASY)
    train, val = (
        split.take(torch.arange(len(split))).flatten(1).double().numpy() / 255 for split in (digits.train, digits.val)
    )
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2]
    expected = {}
    for n in (2, 8):
        p = (mean + (val - mean) @ axes[:n].T @ axes[:n]).clip(0.01, 0.99)
        expected[n] = float(-(val * np.log(p) + (1 - val) * np.log(1 - p)).sum(1).mean())
    assert pca_nll(digits.train, digits.val, (2, 8)) == pytest.approx(expected, rel=1e-4)
    targets = load_problem(replace(DIGITS, pca=(8,))).targets
    assert list(targets) == ["30 nats", f"{expected[8]:.3g} nats (PCA with 8)"]


def test_a_table_says_what_was_reached_and_what_was_not() -> None:
    table = QualityTable(
        "t",
        90.0,
        {
            "ours": [point(1, 95.0, 10.0), point(2, 89.0, 20.0)],
            "plain loop": [point(1, 99.0, 30.0), point(2, 97.5, 60.0), point(3, 98.0, 90.0)],
            "pythae": None,
        },
    )
    _, first, second, third = table.cells()
    assert first == ["ours", "2", "2,000", "2", "20", "40", "89.0", "1"]
    assert second == ["plain loop", "not within 3", "", "", "> 90", "", "best 97.5", "> 4.5"]
    assert third == ["pythae", "not installed", *[""] * 6]
    assert table.numbers()["ours"]["reached"] == 1 and table.numbers()["plain loop"]["nats"] == 97.5
    reversed_roles = QualityTable("t", 90.0, {"ours": [point(1, 95.0, 10.0)], "plain loop": [point(1, 89.0, 30.0)]})
    assert [line[1] for line in reversed_roles.cells()[1:]] == ["not within 1", "1"]
    assert [line[-1] for line in reversed_roles.cells()[1:]] == ["", ""]


def test_the_section_leaves_out_what_is_not_to_be_had_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> Dataset:
        if name == "mnist":
            raise InputError("mnist: no such file")
        return load_dataset(name)

    def no_pythae(name: str) -> None:
        raise ImportError(name)

    load_dataset = speed_problem.load_dataset
    monkeypatch.setattr(speed_problem, "load_dataset", load)
    monkeypatch.setattr(speed_trainers, "version", no_pythae)
    monkeypatch.setitem(CASES, "digits", replace(DIGITS, nats=(EASY, IMPOSSIBLE), budgets=(0.5,), most_epochs=1))
    speed.main(["quality", "--cases", "mnist", "digits", "--seconds", "50"])
    printed = capsys.readouterr()
    assert "quality: mnist left out: mnist: no such file" in printed.err
    assert "not installed" in printed.out and "not within 0.5" in printed.out
    easy, impossible = json.loads(printed.out.splitlines()[-1]).values()
    assert easy["ours"]["reached"] == easy["plain loop"]["reached"] == 1
    assert impossible["ours"]["reached"] == impossible["plain loop"]["reached"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["quality", "--cases", "mnits"], "did you mean 'mnist'"),
        (["quality", "--seconds", "0"], "--seconds is 0.0; expected more than 0"),
        (["mlp", "--cases", "mnist"], "--cases and --seconds are of the section quality"),
    ],
)
def test_bad_options_are_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        speed.main(arguments)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_every_case_has_a_backbone_with_settings_and_a_target() -> None:
    assert {case.backbone for case in CASES.values()} == set(speed_trainers.OURS)
    assert all(case.nats or case.pca for case in speed_quality.CASES.values())


def test_pythae_trains_the_same_network_as_the_plain_loop() -> None:
    pytest.importorskip("pythae.trainers")
    digits = problem(IMPOSSIBLE)
    train = trainers()[f"pythae {speed_trainers.version('pythae')}"]
    assert train is not None
    (first, *_, last), expected = train(digits), plain(digits)
    assert first.nats == pytest.approx(expected[0].nats, rel=0.05) and last.nats < first.nats
