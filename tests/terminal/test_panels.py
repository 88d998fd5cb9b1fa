"""What the live view shows of a snapshot: charts, blocks, lines, and nothing wider or higher than the terminal."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from benchmark.terminal.braille import braille_chart
from benchmark.terminal.panels import view
from benchmark.terminal.snapshot import CURVES, Ended, Name, Running, Snapshot

# ---- charts


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], ["  ⡠⠊", "⡠⠊  "]),
        ([7, 0], ["⢱   ", "⢸   "]),  # connected
        ([3, 3, 3], ["⣀⡀  ", "    "]),  # equal values in the middle
        ([3], ["⡀   ", "    "]),
        ([], ["    ", "    "]),
        ([math.nan, math.nan], ["    ", "    "]),
        ([0, math.nan, 7, math.inf], [" ⠁  ", "⡀   "]),  # gaps, and nothing connected across them
        ([0] * 8 + [7] * 8, ["  ⡏⠉", "⣀⣀⠇ "]),  # two values a column of dots
        ([-1e308, 1e308], ["⣀   ", "    "]),  # their distance is no float
    ],
)
def test_braille_chart(values: list[float], lines: list[str]) -> None:
    assert braille_chart(values, width=4, height=2) == lines


# ---- what is shown


def _running(n: int, name: str = "ald", **values: object) -> Running:
    curves = {curve: [103.44, 20.5, 19.25, 21.0] for curve in CURVES} | {
        "latent_dim": [32.0, 30.0, 30.0, 18.0],
        "epoch": [1.0, 2.0, 3.0, 4.0],
    }
    begun = Running(Name("digits", "mlp", name, str(n)), 1, None, 150, False, curves, "classifier", 96.0, 1.0, 0.5)
    return replace(begun, **values)


def _ended(n: int, error: str | None = None) -> Ended:
    return Ended(Name("digits", "mlp", "grid", str(n)), 8.0, 5.0, 17.5, error, 200.0)


def _lines(now: Snapshot, width: int, height: int | None) -> list[str]:
    return [line.rstrip() for line in view(now, width, height).plain.split("\n")]


def test_a_block_of_curves() -> None:
    curves = {**_running(0).curves, "silhouette": [math.nan] * 4, "fid_gen": [-0.012345, math.nan, 0.5, math.nan]}
    lines = _lines(Snapshot((_running(0, curves=curves),), (_ended(3),), (_ended(4, "ValueError: x"),), 1), 80, None)
    assert lines == [
        "1 running, 1 done, 1 failed, 1 unreadable",
        "",
        "digits mlp ald seed 0  training 1, epoch 4/150 (96 s left), 18 latents",
        "recon_nll ↓     fid_recon ↓     fid_gen ↓       silhouette ↑    latent size",
        "⢱               ⢱                ⠁                              ⠱⢄",
        "⢸               ⢸                                                ⢸",
        "⢸⣀              ⢸⣀              ⡀                                ⢸",
        "103.4 → 21      103.4 → 21      -0.01235 → –    – → –           32 → 18",
        "[19.25, 103.4]  [19.25, 103.4]  [-0.01235, 0.5] no value        [18, 32]",
        "first → last, [min, max] so far; recon_nll: nats/image; FID: classifier features",
        "",
        "digits mlp grid seed 3  8 latents (5 in use) in 18 s, 3.3 min ago",
        "digits mlp grid seed 4  failed 3.3 min ago: ValueError: x",
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"n_trainings": 3}, "training 1 of 3, epoch 4/150, 18 latents, ETA 96 s"),
        ({"silent_seconds": 720.0}, "epoch 4/150 (96 s left), 18 latents, no news for 12 min"),
        ({"training_ended": True, "seconds_left": 0.0}, "epoch 4/150 (ended), 18 latents"),
        ({"training": 0, "curves": {}, "seconds_left": None}, "ald seed 0  starting"),
        ({"seconds_left": 9000.0}, "(2.5 h left), 18 latents"),
        ({"seconds_left": 400000.0}, "(4.6 days left), 18 latents"),
    ],
)
def test_the_state_of_a_search(values: dict[str, object], said: str) -> None:
    assert _lines(Snapshot((_running(0, **values),), (), (), 0), 120, None)[2].endswith(said)


@pytest.mark.parametrize("width", [20, 64, 65, 80, 200])
@pytest.mark.parametrize("height", [2, 10, 24, 60])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_the_terminals_size_is_kept(n: int, width: int, height: int) -> None:
    wide = "模型" * 40 + "[red]x[/red]"
    now = Snapshot(
        tuple(_running(k, wide) for k in range(n)),
        tuple(_ended(k) for k in range(40)),
        tuple(_ended(k, "E " * 300) for k in range(40)),
        0,
    )
    lines = _lines(now, width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith(f"{n} running, 40 done, 40 failed"[: width - 1])


def test_many_running_searches_get_a_line_each() -> None:
    lines = _lines(Snapshot(tuple(_running(n) for n in range(9)), (), (), 0), 160, 24)
    assert len(lines) == 10
    values = ", recon_nll 21, fid_recon 21, fid_gen 21, silhouette 21"
    assert lines[9] == "digits mlp ald seed 8  training 1, epoch 4/150 (96 s left), 18 latents" + values
    few = _lines(Snapshot(tuple(_running(n) for n in range(9)), (), (), 0), 160, 6)
    assert few[5] == "… and 5 more running"
    assert "⢱" in "".join(_lines(Snapshot((_running(0),) * 2, (), (), 0), 160, 24))


def test_ended_searches_share_the_room() -> None:
    done, failed = tuple(_ended(n) for n in range(9)), tuple(_ended(n, "x") for n in range(9))
    lines = _lines(Snapshot((), done, failed, 0), 80, 10)
    assert lines[1] == "" and lines[5] == "… and 6 more done" and lines[9] == "… and 6 more failed"
    assert len(_lines(Snapshot((), done[:2], failed, 0), 80, 13)) == 13
    assert _lines(Snapshot((), done[:2], failed, 0), 80, 13)[4].startswith("digits mlp grid seed 0  failed")


def test_text_of_the_store_is_no_markup() -> None:
    buffer = io.StringIO()
    now = Snapshot((_running(0, "[bold]own:[/x]"),), (), (_ended(0, "[red]no[/]"),), 0)
    Console(file=buffer, width=100).print(view(now, 100, None))
    assert "[bold]own:[/x]" in buffer.getvalue() and "[red]no[/]" in buffer.getvalue()
