"""Several GPUs of one machine, without any: each task of the local pool sees one of them, and they share evenly."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.protocol import Resources
from benchmark.suite.executors.gpus import gpu_places, spread, visible_gpus
from benchmark.suite.executors.local_pool import Task, run_tasks


def say_gpu(connection: Any, seconds: float) -> None:
    """Sends what this process sees, and goes on for a while."""
    connection.send((os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_initialized()))
    time.sleep(seconds)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def _four(monkeypatch: pytest.MonkeyPatch, allowed: str | None = None) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4 if allowed is None else len(allowed.split(",")))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize(("gpus", "places"), [(("0", "1", "2"), 3), (("4", "GPU-7f"), 4), (("0",), 2)])
def test_tasks_share_the_gpus_evenly(gpus: tuple[str, ...], places: int) -> None:
    in_use: dict[int, str] = {}
    most: Counter[str] = Counter()
    seen: list[str] = []

    def on_message(index: int, message: tuple[str, bool]) -> None:
        gpu, is_initialized = message
        assert not is_initialized  # else its GPU would not be the one that it is given
        in_use[index] = gpu
        seen.append(gpu)
        for name, count in Counter(in_use.values()).items():
            most[name] = max(most[name], count)

    def on_end(index: int, death: Any) -> bool:
        assert death is None
        del in_use[index]
        return False

    task = Task("test_gpus:say_gpu", (0.4,))
    run_tasks(2 * places, places, lambda _: task, on_message, on_end, spread(gpus, places))
    assert len(seen) == 2 * places and set(seen) == set(gpus)
    assert max(most.values()) <= -(-places // len(gpus))


@pytest.mark.usefixtures("importable")
def test_without_places_a_task_sees_what_the_command_sees() -> None:
    seen: list[Any] = []
    run_tasks(1, 1, lambda _: Task("test_gpus:say_gpu", (0.0,)), lambda _, said: seen.append(said), lambda *_: False)
    assert seen == [(os.environ.get("CUDA_VISIBLE_DEVICES"), False)]


def test_one_task_a_gpu_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    _four(monkeypatch)
    assert gpu_places("cuda", Resources(), None) == ["0", "1", "2", "3"]
    assert gpu_places("cuda", Resources(gpus=0.25), None) == ["0", "1", "2", "3"] * 4
    assert gpu_places("cuda", Resources(gpus=2), None) == ["0", "1"]
    assert gpu_places("cuda", Resources(gpus=8), None) == ["0"]
    assert gpu_places("cuda", Resources(gpus=0.1), None) == ["0", "1", "2", "3"] * 10  # 4 / 0.1 is below 40


def test_jobs_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    _four(monkeypatch)
    assert gpu_places("cuda", Resources(gpus=0.25), 2) == ["0", "1"]
    assert gpu_places("cuda", Resources(), 6) == ["0", "1", "2", "3", "0", "1"]


def test_those_that_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    _four(monkeypatch, "6,GPU-7f")
    assert visible_gpus() == ["6", "GPU-7f"] == gpu_places("cuda", Resources(), None)


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_device_that_is_named_is_for_all(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _four(monkeypatch)
    assert gpu_places(device, Resources(), 3) == []
