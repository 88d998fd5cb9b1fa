"""What an Apple GPU cannot do is not asked of it. None is here: torch's meta device stands for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Evaluation, parse_protocol
from benchmark.datasets.base import Split
from benchmark.machine import float64_device, resolve_device
from benchmark.metrics.evaluation import Evaluator
from benchmark.suite.executors.ray_pool import _needs
from benchmark.suite.runner import _default_jobs
from benchmark.training import clock
from benchmark.training.state import make_optimizer
from searchers.parts.objectives import elbo_loss

META = torch.device("meta")


class AppleGpu(TorchDispatchMode):
    """Copies from the meta device to the CPU give a normal sample; float64 there is an error, as on Apple's GPUs."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Generator().manual_seed(0)
        self.seen = 0

    def __torch_dispatch__(self, call: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        source = args[0] if args and isinstance(args[0], Tensor) and args[0].is_meta else None
        copies = call.name().startswith(("aten::to.", "aten::_to_copy"))
        if source is not None and copies and kwargs.get("device") == torch.device("cpu"):
            sample = torch.empty(source.shape, dtype=torch.float32).normal_(generator=self.generator)
            return sample.to(kwargs.get("dtype") or source.dtype)
        if source is not None and call.name() in ("aten::item", "aten::_local_scalar_dense"):
            return 1
        out = call(*args, **kwargs)
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self.seen += 1
                assert tensor.dtype is not torch.float64, f"{call} makes float64 on the GPU"
        return out


class Pixels:
    """Features that are the pixels."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def _evaluate(device: torch.device) -> dict[str, Any]:
    split = Split(torch.zeros(40, 1, 4, 4, dtype=torch.uint8), torch.arange(40) % 4, torch.arange(40))
    vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), 3, seed=0).to(device).eval()
    evaluator = Evaluator(split, 4, Pixels(), Evaluation(probe_images=2), device)
    metrics, _ = evaluator.evaluate(vae, None, Generator())
    return metrics


def test_an_evaluation_makes_no_float64_on_the_gpu() -> None:
    with AppleGpu() as gpu:
        metrics = _evaluate(META)
    assert gpu.seen > 20 and metrics["fid_gen"] > 0 and metrics["kl"] > 0


def test_the_stand_in_refuses_float64() -> None:
    with AppleGpu(), pytest.raises(AssertionError, match="float64 on the GPU"):
        torch.zeros(3, device=META).double()


def test_a_training_step_makes_no_float64_on_the_gpu() -> None:
    with AppleGpu() as gpu:
        vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), 3, seed=0).to(META)
        loss = elbo_loss(vae, torch.zeros(5, 1, 4, 4, device=META), Generator()).total
        torch.autograd.backward(loss)
    assert gpu.seen > 20
    assert not make_optimizer([torch.zeros(1, requires_grad=True)], 1e-3).defaults["capturable"]


def test_float64_stays_where_it_can() -> None:
    devices = {name: float64_device(torch.device(name)) for name in ("cpu", "cuda:1", "mps")}
    assert {name: str(device) for name, device in devices.items()} == {"cpu": "cpu", "cuda:1": "cuda:1", "mps": "cpu"}


def test_mps_is_a_device_on_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    empty: Callable[..., Tensor] = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, device: empty(*size))  # any device is here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(resolve_device("mps")) == "mps" and str(resolve_device("auto")) == "cpu"


def test_one_search_at_a_time_on_an_apple_gpu_and_none_of_a_clusters_gpus() -> None:
    protocol = parse_protocol("dataset.name = 'digits'\nbackbone.name = 'mlp'\n", "x")
    assert _default_jobs("mps", 1) == 1 and _needs(protocol, "mps")["GPU"] == 0 and _needs(protocol, "cuda")["GPU"]


def test_the_clock_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append(1))
    with clock.Clock(torch.device("mps")).lap([]):
        pass
    assert len(waits) == 3  # where it is made, and at both ends
