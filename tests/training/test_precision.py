"""Precision, determinism and memory format: what they change, and what they leave as it is."""

import copy
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import TINY, benchmark
from torch import Generator, Tensor, nn

from benchmark.backbones.build import build_vae
from benchmark.backbones.linear import Linear
from benchmark.backbones.model_file import load_model, save_model
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import Evaluation, Named, Protocol, Training, override
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.errors import InputError
from benchmark.machine import set_determinism
from benchmark.metrics.evaluation import Evaluator
from benchmark.store.folders import TrialFolder
from benchmark.suite.plan import plan
from benchmark.training import checkpoint
from benchmark.training.clock import Clock
from benchmark.training.loop import autocast, train
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import TrainingState, new_state
from searchers.base import FixedSize
from searchers.in_training.geco_l0arm import GecoController

CPU = torch.device("cpu")
N = 5
SETTINGS = Training(epochs=3, batch_size=16, learning_rate=3e-3)
SEED, TRIAL = 2, 1
BACKBONES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({"hidden": [32]}, (1, 8, 8)),
    "conv": ({"channels": 16, "hidden": 32}, (3, 32, 32)),
    "geco-conv": ({"hidden": 16}, (1, 28, 28)),
}
CONVOLUTIONAL = ("conv", "geco-conv")


class _Pixels:
    """The pixels themselves as features; what autocast was when they were asked for."""

    name = "stub"

    def __init__(self) -> None:
        self.autocast: set[bool] = set()

    def __call__(self, images: Tensor) -> Tensor:
        self.autocast.add(torch.is_autocast_enabled("cpu"))
        return images.flatten(1)[:, :16]


def _dataset(shape: tuple[int, ...]) -> Dataset:
    """Images [C, H, W] of two factors and large patches, which convolutions learn too."""
    channels, height, width = shape
    generator = Generator().manual_seed(0)
    factors = torch.randn(100, 2, generator=generator)
    mixing = torch.randn(2, channels * 4 * 4, generator=generator)
    patches = torch.sigmoid(2 * factors @ mixing).unflatten(1, (channels, 4, 4))
    images = (255 * patches).to(torch.uint8).repeat_interleave(height // 4, 2).repeat_interleave(width // 4, 3)
    labels = (factors[:, 0] > 0).long()
    return make_dataset("tiny", images[:80], labels[:80], images[80:], labels[80:], n_classes=2)


def _evaluator(dataset: Dataset) -> Evaluator:
    return Evaluator(dataset.val, dataset.n_classes, _Pixels(), Evaluation(silhouette_images=8), CPU)


def _vae(backbone: str) -> VAE:
    return build_vae(backbone, *BACKBONES[backbone], N, seed=1)


def _train(backbone: str, precision: str, controller: FixedSize | GecoController | None = None) -> TrainingState:
    dataset = _dataset(BACKBONES[backbone][1])
    state = new_state(_vae(backbone), controller or FixedSize(), SETTINGS.learning_rate)
    settings = replace(SETTINGS, precision=precision)
    train(state, settings, dataset.train, _evaluator(dataset), (SEED, TRIAL), Clock(CPU), lambda state: None)
    return state


# --- bf16


@pytest.mark.parametrize("geco", [False, True], ids=["elbo", "geco"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_bf16_keeps_weights_and_moments_in_float32(backbone: str, geco: bool) -> None:
    state = _train(backbone, "bf16", GecoController(N, tau=1.0) if geco else None)
    modules = [*state.vae.state_dict().values(), *state.controller.state_dict().values()]
    moments = [tensor for own in state.optimizer.state_dict()["state"].values() for tensor in own.values()]
    assert {t.dtype for t in modules if t.is_floating_point()} == {torch.float32}
    assert {t.dtype for t in moments} == {torch.float32} and len(moments) >= 3 * len(list(state.vae.parameters()))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_comes_out_under_autocast_is_float32(backbone: str) -> None:
    vae, x = _vae(backbone), torch.rand(4, *BACKBONES[backbone][1], generator=Generator().manual_seed(0))
    inside: set[torch.dtype] = set()
    for module in vae.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(lambda _, __, out: inside.add(out.dtype))
    with autocast(CPU, "bf16"):
        mean, logvar = vae.encode(x)
        logits = vae.decode(mean)
    assert inside == {torch.bfloat16}
    assert mean.dtype == logvar.dtype == logits.dtype == torch.float32
    inside.clear()
    with autocast(CPU, "float32"):
        vae.decode(vae.encode(x)[0])
    assert inside == {torch.float32}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_bf16_losses_are_near_and_not_equal(backbone: str) -> None:
    """bf16 has 8 bits: a product is off by up to 0.4 %, losses by up to 0.2 % (geco-conv) and at least 7e-6 (conv)."""
    full, half = ([row["train_loss"] for row in _train(backbone, name).rows] for name in ("float32", "bf16"))
    assert half == pytest.approx(full, rel=1e-2)
    assert half[0] != full[0]


def test_the_linear_layer_of_amds_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What large layers go through there (see `benchmark.backbones.linear`) is in bf16 as well."""
    monkeypatch.setattr("benchmark.backbones.linear.ONEDNN", torch.backends.mkldnn.is_available())
    monkeypatch.setattr("benchmark.backbones.linear.MIN_PRODUCTS", 1)
    layer, x = Linear(64, 32), torch.rand(16, 64, generator=Generator().manual_seed(0))
    with autocast(CPU, "bf16"):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("backbone", BACKBONES)
def test_evaluation_is_in_float32_whatever_the_precision(backbone: str) -> None:
    """A row's metrics are those of the model outside the trainer, bit for bit."""
    dataset = _dataset(BACKBONES[backbone][1])
    evaluator = _evaluator(dataset)
    state = new_state(_vae(backbone), FixedSize(), SETTINGS.learning_rate)
    settings = replace(SETTINGS, precision="bf16")
    train(state, settings, dataset.train, evaluator, (SEED, TRIAL), Clock(CPU), lambda state: None)
    generator = stream(Purpose.EVALUATION, SEED, TRIAL, SETTINGS.epochs)
    metrics, _ = evaluator.evaluate(state.vae.eval(), None, generator)
    assert {name: state.rows[-1][name] for name in metrics} == metrics
    assert isinstance(evaluator.features, _Pixels) and evaluator.features.autocast == {False}


# --- as settings

PROTOCOL = Protocol("tiny", Named("digits"), Named("mlp"), training=SETTINGS)


def _hashes(protocol: Protocol) -> tuple[str, str]:
    (spec,) = plan(protocol, "", ["grid"], [0])
    return spec.protocol_hash, spec.search_id


def _with(**training: object) -> Protocol:
    return override(PROTOCOL, {"training": training})


def test_precision_and_determinism_make_another_search() -> None:
    changed = [PROTOCOL, _with(precision="bf16"), _with(deterministic=True)]
    hashes, ids = zip(*map(_hashes, changed), strict=True)
    assert len(set(hashes)) == len(set(ids)) == 3
    assert _hashes(_with(precision="float32")) == (hashes[0], ids[0])


def test_unknown_precision() -> None:
    with pytest.raises(InputError, match="unknown precision 'bf61'; did you mean 'bf16'.*float32, bf16"):
        _with(precision="bf61")


def test_bad_precision_on_the_command_line(tmp_path: Path) -> None:
    wrong = TINY.format(epochs=1).replace("batch_size", 'precision = "bf61"\nbatch_size')
    (tmp_path / "wrong.toml").write_text(wrong)
    for arguments, says in (
        ("run --protocol wrong.toml", "unknown precision 'bf61'; did you mean 'bf16'?"),
        ("run --precision bf61", "argument --precision: invalid choice: 'bf61'"),
    ):
        got = benchmark(*arguments.split(), cwd=tmp_path, cache=tmp_path)
        assert (got.returncode, got.stdout, got.stderr.count("\n")) == (2, "", 1)
        assert says in got.stderr and "float32" in got.stderr and got.stderr.startswith("latentbench: ")


# --- determinism


def test_stacked_training_in_bf16_is_refused_on_a_cpu(tmp_path: Path) -> None:
    options = "--execution stacked --precision bf16 --searchers grid --seeds 0 --device cpu".split()
    done = benchmark("run", *options, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "precision is bf16 and grid is stacked, on a CPU; expected one of the two" in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what `set_determinism` changes in this process."""
    monkeypatch.setattr("os.environ", dict(os.environ))
    deterministic, benchmarked = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    assert not deterministic
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmarked


@pytest.mark.usefixtures("as_before")
def test_set_determinism() -> None:
    set_determinism(True)
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    set_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_cpu_repeats_itself_either_way(backbone: str) -> None:
    """No step needs what has no deterministic form, and none reads memory that nothing has filled: then it is NaN."""
    weights = []
    for deterministic in (False, True):
        set_determinism(deterministic)
        weights.append(_train(backbone, "float32").vae.state_dict())
    assert torch.are_deterministic_algorithms_enabled()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_it_is_over_after_the_test() -> None:
    assert not torch.are_deterministic_algorithms_enabled()


# --- channels last


def _assert_channels_last(vae: VAE) -> None:
    convolutions = {name: p for name, p in vae.named_parameters() if p.ndim == 4}
    assert len(convolutions) >= 6
    for name, parameter in convolutions.items():
        assert parameter.is_contiguous(memory_format=torch.channels_last), name
    assert any(not p.is_contiguous() for p in convolutions.values())  # no two names of one order


def _contiguous(vae: VAE) -> VAE:
    copied = copy.deepcopy(vae)
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
        assert parameter.is_contiguous()
    return copied


@pytest.mark.parametrize("backbone", CONVOLUTIONAL)
def test_channels_last_wherever_a_model_comes_from(backbone: str, tmp_path: Path) -> None:
    options, shape = BACKBONES[backbone]
    state = _train(backbone, "float32")
    _assert_channels_last(_vae(backbone))
    _assert_channels_last(state.vae)

    save_model(tmp_path / "model.pt", state.vae, backbone, options, shape)
    loaded = load_model(tmp_path / "model.pt")
    _assert_channels_last(loaded)
    save_model(tmp_path / "older.pt", _contiguous(state.vae), backbone, options, shape)  # of an older version
    _assert_channels_last(load_model(tmp_path / "older.pt"))

    folder = TrialFolder(tmp_path / "trial")
    checkpoint.save(state, folder)
    restored = checkpoint.restore(folder, _vae(backbone), FixedSize(), SETTINGS.learning_rate)
    _assert_channels_last(restored.vae)
    for name, value in state.vae.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]) and torch.equal(value, restored.vae.state_dict()[name])
    for ours, theirs in zip(restored.optimizer.state.values(), state.optimizer.state.values(), strict=True):
        assert ours["exp_avg"].stride() == theirs["exp_avg"].stride()


@pytest.mark.parametrize("backbone", CONVOLUTIONAL)
def test_channels_last_changes_no_output(backbone: str) -> None:
    last = _train(backbone, "float32").vae.eval()
    first = _contiguous(last)
    generator = Generator().manual_seed(0)
    x = torch.rand(6, *BACKBONES[backbone][1], generator=generator)
    z = torch.randn(6, N, generator=generator)
    with torch.no_grad():
        outputs = [(*vae.encode(x), vae.decode(z)) for vae in (last, first)]
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
