"""The speed bench: with a step or two every section gives finite positive numbers; its tables, rounds and exponents."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.backbones.linear import Linear
from benchmark.metrics.frechet import feature_stats, frechet_distance
from tests.speed import __main__ as speed
from tests.speed import overheads as speed_overheads
from tests.speed import scaling as speed_scaling
from tests.speed import stacked as speed_stacked
from tests.speed.cases import CONV, MLP, Case, as_torch_has_it
from tests.speed.timing import Effort, Table, interleaved

TINY = Effort(rounds=1, scale=0.001, threads=1)  # two would wait for each other where the cores are busy
SPECIAL = ("quality", *(() if torch.cuda.is_available() else ("gpu",)))  # quality: test_speed_quality.py
DIFFERENCES = ("the rest", "a search on")  # of noisy times: of any sign


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Less of everything; what the bench sets for its whole process is undone."""
    threads = torch.get_num_threads()
    monkeypatch.setattr("benchmark.metrics.classifier.STEPS", 1)
    monkeypatch.setattr(speed_stacked, "MEMBERS", (1, 2))
    monkeypatch.setattr(speed_stacked, "SEEDS", 1)
    for name in ("IMAGES", "LATENTS", "BATCHES"):
        monkeypatch.setattr(speed_scaling, name, getattr(speed_scaling, name)[:2])
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", [name for name in speed.SECTIONS if name not in SPECIAL])
def test_every_section_prints_tables_of_finite_positive_numbers(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(speed_overheads, "search_overhead", lambda dataset, rounds: [0.1] * rounds)
    speed.main([name, "--markdown", str(tmp_path / "speed.md")], TINY)
    printed = capsys.readouterr().out
    tables = json.loads(printed.splitlines()[-1])
    rows = {row: numbers for table in tables.values() for row, numbers in table.items()}
    assert len(rows) >= 4
    markdown = (tmp_path / "speed.md").read_text()
    for row, numbers in rows.items():
        assert row in printed and f"| {row} |" in markdown
        assert set(numbers) - {"exponent"} == {"median", "min", "max"} and np.isfinite(list(numbers.values())).all()
        assert numbers["min"] <= numbers["median"] <= numbers["max"]
        assert row.startswith(DIFFERENCES) or numbers["min"] > 0


@pytest.mark.slow
def test_a_search_takes_more_than_its_training_and_metrics() -> None:
    (overhead,) = speed_overheads.search_overhead("digits", rounds=1)
    assert 0 < overhead < 60


@pytest.mark.parametrize("arguments, message", [(["mpl"], "did you mean 'mlp'"), (["gpu"], "needs a CUDA device")])
def test_what_cannot_be_measured_is_said(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        speed.main(arguments, TINY)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("case", [MLP, CONV], ids=["mlp", "conv"])
def test_the_plain_loop_has_the_same_network_of_torchs_own_layers(case: Case) -> None:
    ours, plain = case.vae(), as_torch_has_it(case.vae())
    assert [p.shape for p in plain.parameters()] == [p.shape for p in ours.parameters()]
    assert all(p.is_contiguous() for p in plain.parameters())
    assert not any(isinstance(module, Linear) for module in plain.modules())
    x = torch.rand(2, *case.split().images.shape[1:], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain.encode(x)[0], ours.encode(x)[0])


def test_rounds_are_interleaved_there_and_back() -> None:
    seen: list[str] = []

    def measure(name: str) -> float:
        seen.append(name)
        return float(len(seen))

    values = interleaved("", 2, {"a": lambda: measure("a"), "b": lambda: measure("b")})
    assert seen == ["a", "b", "b", "a"] and values == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_a_table_has_the_median_and_the_spread() -> None:
    table = Table("t", {"x": [3.0, 1.0, 2.0], "y": [1234.5]}, exponents={"y": 0.5})
    header, x, y = table.cells()
    assert header[1:] == ["median", "min", "max", "exponent"]
    assert x == ["x", "2", "1", "3", ""] and y[1:] == ["1,234"] * 3 + ["0.50"]


def test_growth_is_the_exponent_of_a_power() -> None:
    slopes = speed_scaling.growth({n: [5 * n**1.5] for n in (10, 100, 400)})
    assert set(slopes) == {100, 400} and all(math.isclose(slope, 1.5) for slope in slopes.values())


@pytest.mark.parametrize("trace", [speed_overheads.trace_by_eigvals, speed_overheads.trace_by_sqrtm])
def test_the_general_formula_gives_our_distance(trace: Callable[[speed_overheads.Array], float]) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 50, 8, generator=generator, dtype=torch.float64)
    expected = frechet_distance(feature_stats(a), feature_stats(b))
    assert math.isclose(speed_overheads.general_distance(a.numpy(), b.numpy(), trace), expected, rel_tol=1e-9)
