"""What every backbone promises beside its contract: BatchNorm, training after a removal, model files, clear errors."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from benchmark import load_model
from benchmark.backbones import BACKBONES
from benchmark.backbones.build import build_vae, make_backbone
from benchmark.backbones.model_file import FORMAT, save_model
from benchmark.backbones.vae import VAE
from benchmark.errors import InputError
from searchers.parts.objectives import elbo_loss, frozen_batchnorm_statistics

N = 6
SHAPES = {
    "mlp": [(1, 8, 8), (1, 28, 28), (3, 5, 7), (3, 2, 4, 4)],
    "asperti-dense": [(1, 28, 28), (3, 8, 8)],
    "conv": [(3, 64, 64), (1, 16, 16), (1, 28, 28), (3, 17, 30)],
    "geco-conv": [(1, 28, 28), (3, 28, 28), (1, 64, 64), (3, 64, 64)],
    "asperti-conv": [(1, 28, 28), (3, 25, 32), (2, 32, 27)],
    "video": [(2, 4, 8, 16), (1, 2, 4, 4), (2, 6, 8, 20)],
}
every_shape = pytest.mark.parametrize("name, shape", [(name, shape) for name in BACKBONES for shape in SHAPES[name]])
every_backbone = pytest.mark.parametrize("name", BACKBONES)


def _vae(name: str, shape: tuple[int, ...] = (), n: int = N, seed: int = 0) -> VAE:
    return build_vae(name, {}, shape or SHAPES[name][0], n, seed)


def _images(name: str, shape: tuple[int, ...] = (), batch: int = 4) -> Tensor:
    return torch.rand(batch, *(shape or SHAPES[name][0]), generator=Generator().manual_seed(1))


@every_shape
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    vae, x = _vae(name, shape), _images(name, shape)
    mean, logvar = vae.encode(x)
    assert vae.latent_dim == N and mean.shape == logvar.shape == (4, N) and not torch.equal(mean, logvar)
    assert vae.decode(mean).shape == x.shape
    output = [module for module in vae.decoder if hasattr(module, "bias")][-1]
    for bias in (-100.0, 100.0):  # no ReLU or sigmoid follows the output layer
        output.bias.data.fill_(bias)
        assert vae.decode(mean).mean().item() == pytest.approx(bias, abs=5)


@pytest.mark.parametrize("name", ["geco-conv", "asperti-conv", "video"])
def test_batchnorm_modes(name: str) -> None:
    """Alone or in a batch, an image means the same in evaluation, not in training; statistics can be frozen."""
    vae, x = _vae(name), _images(name)
    start = {key: value.clone() for key, value in vae.named_buffers() if "running" in key}
    assert len(start) > 4

    def moved() -> list[bool]:
        return [not torch.equal(value, start[key]) for key, value in vae.named_buffers() if key in start]

    with torch.no_grad():
        with frozen_batchnorm_statistics(vae):
            frozen = vae.decode(vae.encode(x)[0])
        assert not any(moved())
        torch.testing.assert_close(vae.decode(vae.encode(x)[0]), frozen)  # both normalise by the batch itself
        assert all(moved())
        assert not torch.allclose(vae.encode(x[:2])[0], vae.encode(x)[0][:2], atol=1e-4)
        vae.eval()
        torch.testing.assert_close(vae.encode(x[:1])[0], vae.encode(x)[0][:1], rtol=1e-4, atol=1e-5)


# --- removing latents


def _step(vae: VAE, optimizer: torch.optim.Optimizer, name: str, count: int = 3) -> None:
    generator = Generator().manual_seed(5)
    for _ in range(count):
        optimizer.zero_grad()
        torch.autograd.backward(elbo_loss(vae, _images(name), generator).total)
        optimizer.step()


def _latent_parameters(vae: VAE) -> dict[str, Tensor]:
    """Everything that a removal slices, and the decoder's first bias."""
    return {k: v for k, v in vae.named_parameters() if k.split(".")[0] in ("mean_head", "logvar_head", "decoder_in")}


def _untrained(vae: VAE, optimizer: torch.optim.Optimizer, name: str) -> list[str]:
    """The latent parameters in which training leaves all values of some latent unchanged."""
    before = {key: value.detach().clone() for key, value in _latent_parameters(vae).items()}
    _step(vae, optimizer, name)
    untrained = []
    for key, value in _latent_parameters(vae).items():
        same = value == before[key]  # heads [n, h] and [n], decoder_in [h, n] and [h]
        by_latent = same.T if key == "decoder_in.weight" else same[None] if key == "decoder_in.bias" else same
        if bool(by_latent.reshape(len(by_latent), -1).all(1).any()):
            untrained.append(key)
    return untrained


def _sliced(key: str, value: Tensor, keep: tuple[int, ...]) -> Tensor:
    if key == "decoder_in.bias":
        return value
    return value[:, keep] if key == "decoder_in.weight" else value[list(keep)]


@every_backbone
@pytest.mark.parametrize("fused", [False, True])
def test_heads_train_on_after_a_removal(name: str, fused: bool) -> None:
    vae, keep = _vae(name), (1, 2, 5)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=fused)
    _step(vae, optimizer, name)
    values = {k: v.detach().clone() for k, v in _latent_parameters(vae).items()}
    old = {k: {m: s.clone() for m, s in optimizer.state[v].items()} for k, v in _latent_parameters(vae).items()}
    vae.keep_latents(keep, optimizer)
    assert len(values) == 6
    for key, parameter in _latent_parameters(vae).items():
        assert torch.equal(parameter.detach(), _sliced(key, values[key], keep))
        assert parameter.grad is None or key == "decoder_in.bias"  # a gradient of the old shape would not fit
        state = optimizer.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert state[moment].shape == parameter.shape
            assert torch.equal(state[moment], _sliced(key, old[key][moment], keep))
        assert float(state["step"]) == float(old[key]["step"]) == 3

    dropped, stale = copy.deepcopy((vae, optimizer)), copy.deepcopy((vae, optimizer))
    assert _untrained(vae, optimizer, name) == []
    assert all(float(optimizer.state[p]["step"]) == 6 for p in vae.parameters())
    # The check finds what new parameters would do: the optimizer continues with the old ones.
    dropped[0].mean_head.weight = nn.Parameter(dropped[0].mean_head.weight.detach().clone())
    stale[0].decoder_in.bias = nn.Parameter(stale[0].decoder_in.bias.detach().clone())
    assert _untrained(*dropped, name) == ["mean_head.weight"]
    assert _untrained(*stale, name) == ["decoder_in.bias"]


def test_two_removals_compose() -> None:
    vae, once = _vae("mlp"), _vae("mlp")
    vae.keep_latents((0, 2, 3, 5))
    vae.keep_latents((1, 3))
    once.keep_latents((2, 5))
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), once.parameters(), strict=True))


@pytest.mark.parametrize("indices", [(), (0, 6), (-1, 2), (2, 1), (1, 1)])
def test_bad_indices(indices: tuple[int, ...]) -> None:
    vae = _vae("mlp")
    with pytest.raises(ValueError, match=r"to keep; expected ascending ones in 0\.\.5"):
        vae.keep_latents(indices)
    assert vae.latent_dim == N


# --- building, and models as files


OPTIONS = {"mlp": {"hidden": [7, 5]}, "video": {"channels": 6, "n_blocks": 1, "heads": 3, "hidden": 9}}


@every_backbone
def test_model_file(name: str, tmp_path: Path) -> None:
    shape, options, file = SHAPES[name][0], OPTIONS.get(name, {}), tmp_path / "model.pt"
    vae, x = build_vae(name, options, shape, N, 0), _images(name)
    vae.decode(vae.encode(x)[0])  # moves BatchNorm statistics off their start
    vae.keep_latents((0, 4))
    save_model(file, vae, name, options, shape)
    for loaded in (load_model(file), load_model(str(file))):
        assert not loaded.training and loaded.latent_dim == 2
        state = loaded.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in vae.state_dict().items())
    mean, logvar = vae.eval().encode(x)
    assert torch.equal(loaded.encode(x)[1], logvar) and torch.equal(loaded.decode(mean), vae.decode(mean))
    assert list(tmp_path.iterdir()) == [file]


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(__file__).with_name("_executed"),))


@pytest.mark.parametrize("kind", ["garbage", "empty", "pickle", "torch pickle", "other", "truncated", "no weights"])
def test_no_such_model(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_model(path, _vae("mlp"), "mlp", {}, (1, 8, 8))
    content = path.read_bytes()
    saved = {
        "torch pickle": {"format": FORMAT, "backbone": _Code()},
        "other": {"weights": torch.zeros(2)},
        "no weights": {"format": FORMAT, "backbone": "mlp"},
    }
    if kind in saved:
        torch.save(saved[kind], path)
    else:
        broken = {"garbage": b"not a model", "pickle": pickle.dumps(_Code()), "truncated": content[: len(content) // 2]}
        path.write_bytes(broken.get(kind, b""))
    with pytest.raises(InputError, match="is no latentbench model.*export it anew"):
        load_model(path)
    assert not Path(__file__).with_name("_executed").exists()


def test_missing_model(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match="no model at .*; expected a model.pt"):
            load_model(path)


# --- what does not fit


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("conv", (3, 15, 64), "3x15x64.*at least 16"),
        ("conv", (1, 8, 8), "1x8x8.*at least 16"),
        ("conv", (3, 2, 64, 64), "3x2x64x64; expected C x H x W"),
        ("geco-conv", (1, 8, 8), "1x8x8.*at least 28"),
        ("geco-conv", (3, 32, 32), "32x32; it takes 64x64 or 28x28"),
        ("geco-conv", (3, 64, 28), "64x28; it takes 64x64 or 28x28"),
        ("asperti-conv", (1, 24, 28), "1x24x28; expected C x H x W with H and W of 25 to 32"),
        ("asperti-conv", (1, 28, 33), "1x28x33; expected .*; use conv, geco-conv or mlp"),
        ("asperti-conv", (3, 8, 28, 28), "3x8x28x28; expected C x H x W"),
        ("video", (3, 64, 64), "3x64x64; expected C x T x H x W"),
        ("video", (3, 7, 64, 64), "T a multiple of 2"),
        ("video", (3, 8, 62, 64), "H and W of 4"),
        ("video", (3, 8, 64, 66), "choose another backbone, mlp takes any shape"),
        ("video", (3, 0, 64, 64), "3x0x64x64; expected"),
    ],
)
def test_images_that_do_not_fit(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _vae(name, shape)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("mpl", {}, "unknown backbone 'mpl'; did you mean 'mlp'"),
        ("mlp", {"hiden": [3]}, "unknown setting 'hiden'; did you mean 'hidden'"),
        ("mlp", {"hidden": []}, "hidden is"),
        ("asperti-dense", {"hidden": [4, 0]}, "hidden is"),
        ("conv", {"channels": 0}, "channels is 0"),
        ("geco-conv", {"hidden": -1}, "hidden is"),
        ("video", {"channels": 10, "heads": 3}, "channels is 10 with 3 heads; expected a multiple of heads"),
        ("video", {"channels": 1, "heads": 1}, "channels is 1 with 1 heads; expected .* at least 2"),
        ("video", {"heads": 0}, "heads is 0; expected at least 1"),
        ("video", {"n_blocks": -1}, "n_blocks is -1; expected at least 0"),
        *((name, {"init": "scale"}, "unknown init 'scale'; did you mean 'scaled'") for name in BACKBONES),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_backbone(name, options)


@every_backbone
def test_every_backbone_has_two_inits(name: str) -> None:
    assert make_backbone(name, {}).init == "torch"
    assert make_backbone(name, {"init": "scaled"}).init == "scaled"
