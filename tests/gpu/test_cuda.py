"""What runs on a GPU alone. `LATENTBENCH_GPU_TESTS=cpu` tries the same on a CPU, where no step is recorded."""

import copy
import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Evaluation, Training
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.machine import peak_memory_bytes, reserved_memory_bytes, set_determinism
from benchmark.metrics.assessment import assess
from benchmark.metrics.device_silhouettes import silhouettes
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.metrics.latents import label_silhouette
from benchmark.training.loop import finish, train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import TrainingState, new_state
from searchers.base import Controller, FixedSize
from searchers.from_autoencoder.irmae import IRMAE, IRMAEController
from searchers.from_autoencoder.least_volume import LeastVolume, LeastVolumeController
from searchers.in_training.ald import ALD, LossController
from searchers.in_training.ard import ARD, ARDController
from searchers.in_training.geco_l0arm import GecoController
from searchers.in_training.nested import Nested, NestedController
from searchers.in_training.sigma import SecondStageController, Sigma, SigmaController
from searchers.rule import ChoiceRule
from searchers.space import SearchSpace
from searchers.whole_run.fondue import Probe

ON_CPU = os.environ.get("LATENTBENCH_GPU_TESTS") == "cpu"
CPU, DEVICE = torch.device("cpu"), torch.device("cpu" if ON_CPU else "cuda")
N, BATCH, EPOCHS = 6, 16, 3
pytestmark = pytest.mark.skipif(
    not ON_CPU and not torch.cuda.is_available(), reason="no CUDA device: what runs on a GPU alone cannot be tried here"
)


class _Problem:
    """What nested and ald ask of a problem when they make their controllers."""

    epochs, seed, no_latents_nll = EPOCHS, 0, 20.0
    rule, space = ChoiceRule(), SearchSpace(2, N, (2, 4, N))


CONTROLLERS: dict[str, Callable[[], Controller]] = {
    "elbo": FixedSize,
    "geco": lambda: GecoController(N, 1.5),
    "nested": lambda: NestedController(Nested(), _Problem()),  # type: ignore[arg-type]
    "ald by loss": lambda: LossController(ALD(), _Problem(), N, EPOCHS),  # type: ignore[arg-type]
    "ard": lambda: ARDController(ARD(), N, EPOCHS),
    "sigma": lambda: SigmaController(Sigma(), N, EPOCHS),
    "sigma, learned": lambda: SigmaController(Sigma(variance="learned"), N, EPOCHS),
    "second stage": lambda: SecondStageController(N, 0),
    "irmae": lambda: IRMAEController(IRMAE(), N, 0),
    "least volume": lambda: LeastVolumeController(LeastVolume()),
    "fondue": lambda: Probe(9),
}
BACKBONES = {"mlp": ({"hidden": [12]}, (1, 16, 16)), "conv": ({"channels": 4, "hidden": 8}, (1, 16, 16))}
BACKBONES |= {"geco-conv": ({"hidden": 16}, (1, 28, 28))}


def _dataset(shape: tuple[int, ...] = (1, 16, 16)) -> Dataset:
    generator = Generator().manual_seed(0)
    factors, mixing = torch.randn(300, 2, generator=generator), torch.randn(2, math.prod(shape), generator=generator)
    images = (255 * torch.sigmoid(2 * factors @ mixing)).to(torch.uint8).unflatten(1, shape)
    labels = (factors[:, 0] > 0).long()
    return make_dataset("tiny", images[:220], labels[:220], images[220:], labels[220:], n_classes=2)


class Pixels(torch.nn.Flatten):
    """The pixels themselves as features."""

    name = "stub"


def _state(controller: Controller, backbone: str = "mlp", device: torch.device = DEVICE) -> TrainingState:
    options, shape = BACKBONES[backbone]
    return new_state(build_vae(backbone, options, shape, N, 1).to(device), controller.to(device), 1e-3)


def _train(
    state: TrainingState, dataset: Dataset, precision: str = "float32", device: torch.device = DEVICE, first: int = 1
) -> list[float]:
    settings = Training(batch_size=BATCH, precision=precision)  # type: ignore[arg-type]
    split, losses = dataset.train.to(device), []
    for epoch in range(first, first + EPOCHS):
        order, noise = stream(Purpose.ORDER, 0, 0, epoch), stream(Purpose.NOISE, 0, 0, epoch, device)
        losses.append(train_epoch(state, split, settings, order, noise))
    return losses


def _eager(controller: Controller) -> Controller:
    controller.__class__ = type("Eager", (type(controller),), {"capturable": False})
    return controller


@pytest.fixture
def deterministic() -> Iterator[None]:
    set_determinism(True)
    yield
    set_determinism(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(
    ("name", "backbone", "precision"),
    [
        *((name, "mlp", "float32") for name in CONTROLLERS),
        *(("elbo", backbone, precision) for backbone in ("conv", "geco-conv") for precision in ("float32", "bf16")),
        *((("elbo", "mlp", "bf16"), ("nested", "conv", "bf16"))),
    ],
)
def test_recorded_steps_are_plain_steps(name: str, backbone: str, precision: str) -> None:
    """Also after latents went and came: the step is then recorded anew."""
    dataset = _dataset(BACKBONES[backbone][1])
    plain, recorded = _state(_eager(CONTROLLERS[name]()), backbone), _state(CONTROLLERS[name](), backbone)
    losses = [_train(state, dataset, precision) for state in (plain, recorded)]
    assert plain.replay is None and (recorded.replay is not None or ON_CPU)
    if name in ("elbo", "nested"):
        for number, state in enumerate((plain, recorded)):
            state.change_latents((0, 2, 3, 5), 1 if name == "elbo" else 0, Generator().manual_seed(0))
            losses[number] += _train(state, dataset, precision, first=EPOCHS + 1)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and all(map(math.isfinite, losses[0]))
    for ours, theirs in zip(
        (recorded.vae.state_dict(), recorded.controller.state_dict()),
        (plain.vae.state_dict(), plain.controller.state_dict()),
        strict=True,
    ):
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-3, equal_nan=True, msg=key)
    finish(recorded)
    assert recorded.replay is None


def test_training_without_noise_is_a_cpus() -> None:
    """The same steps on both, so that a rounding is all that losses may differ by."""
    losses = []
    for device in (CPU, DEVICE):
        state = _state(LeastVolumeController(LeastVolume()), device=device)
        losses.append(_train(state, _dataset(), device=device))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_metrics_are_a_cpus() -> None:
    dataset, rows = _dataset(), []
    vae = build_vae("mlp", *BACKBONES["mlp"], N, 1).eval()
    for device in (CPU, DEVICE):
        evaluator = Evaluator(dataset.val, 2, Pixels(), Evaluation(silhouette_images=20, draws=3), device)
        rows.append(assess(evaluator, copy.deepcopy(vae).to(device), None, seed=1, with_iwae=True))
        metrics, _ = evaluator.evaluate(
            copy.deepcopy(vae).to(device), None, stream(Purpose.EVALUATION, 0, device=device)
        )
        rows[-1]["active_after_an_epoch"] = metrics["active_units"]
        assert np.isfinite([metrics["silhouette"], metrics["fid_gen"], metrics["elbo"]]).all()
    frame = pd.DataFrame(rows).drop(columns=["losses"]).select_dtypes("number")
    for name in frame:
        assert frame[name].iloc[1] == pytest.approx(frame[name].iloc[0], rel=1e-3, abs=1e-4, nan_ok=True), name


@pytest.mark.usefixtures("deterministic")
def test_silhouettes_on_the_device() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=500)
    points = torch.from_numpy(4 * rng.standard_normal((5, 8))[labels] + rng.standard_normal((500, 8))).float()
    found = silhouettes(points.to(DEVICE), labels, 5, seed=1)
    assert found[1] == pytest.approx(label_silhouette(points.numpy(), labels), abs=1e-9)
    assert found == silhouettes(points.to(DEVICE), labels, 5, seed=1) and found[0] == pytest.approx(found[1], abs=0.2)


@pytest.mark.parametrize("width", [16, 300])
def test_frechet_distances_on_the_device(width: int) -> None:
    generator = Generator().manual_seed(0)
    a, b = torch.rand(2, 500, width, generator=generator)
    expected = frechet_distance(feature_stats(a), feature_stats(b))
    assert frechet_distance(*(feature_stats(x.to(DEVICE)) for x in (a, b))) == pytest.approx(expected, rel=1e-6)


def test_memory_that_torch_holds() -> None:
    kept: Tensor = torch.ones(2**20, device=DEVICE)
    reserved, used = reserved_memory_bytes(DEVICE), peak_memory_bytes(DEVICE)
    assert used >= kept.numel() * 4
    assert (reserved is None) if ON_CPU else (reserved is not None and reserved >= used)
