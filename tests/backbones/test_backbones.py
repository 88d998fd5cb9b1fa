"""Every backbone's shapes and sizes, the removal of latents, and models as files."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from benchmark import load_model
from benchmark.backbones import BACKBONES
from benchmark.backbones.export import build_vae, make_backbone, save_model
from benchmark.backbones.vae import VAE
from benchmark.errors import InputError
from searchers.parts.objectives import elbo_loss

N = 6
SHAPES = {
    "mlp": [(1, 8, 8), (1, 28, 28), (3, 5, 7), (3, 2, 4, 4)],
    "asperti-dense": [(1, 28, 28), (3, 8, 8)],
    "conv": [(3, 64, 64), (1, 16, 16), (1, 28, 28), (3, 17, 30)],
    "geco-conv": [(1, 28, 28), (3, 28, 28), (1, 64, 64), (3, 64, 64)],
    "asperti-conv": [(1, 28, 28), (3, 32, 32)],
    "video": [(3, 8, 16, 16), (1, 2, 8, 12)],
}
NETWORKS = [(name, shape) for name in BACKBONES for shape in SHAPES[name]]
every_network = pytest.mark.parametrize("name, shape", NETWORKS)
one_of_each = pytest.mark.parametrize("name, shape", [(name, SHAPES[name][0]) for name in BACKBONES])


def _vae(name: str, shape: tuple[int, ...], n: int = N, seed: int = 0) -> VAE:
    return build_vae(name, {}, shape, n, seed)


def _images(shape: tuple[int, ...], batch: int = 4) -> Tensor:
    return torch.rand(batch, *shape, generator=Generator().manual_seed(1))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@every_network
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    vae, x = _vae(name, shape), _images(shape)
    mean, logvar = vae.encode(x)
    assert vae.latent_dim == N and mean.shape == logvar.shape == (4, N)
    assert vae.decode(mean).shape == x.shape
    assert not torch.equal(mean, logvar)


@every_network
def test_every_parameter_learns(name: str, shape: tuple[int, ...]) -> None:
    vae = _vae(name, shape)
    torch.autograd.backward(elbo_loss(vae, _images(shape), Generator().manual_seed(2)).total)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in vae.parameters())


@pytest.mark.parametrize("bias", [-100.0, 100.0])
@every_network
def test_logits_are_not_squashed(name: str, shape: tuple[int, ...], bias: float) -> None:
    """What the last layer adds comes out as it is."""
    vae = _vae(name, shape)
    last = [m for m in vae.decoder if hasattr(m, "bias")][-1]
    last.bias.data.fill_(bias)
    assert vae.decode(torch.zeros(2, N)).mean().item() == pytest.approx(bias, abs=5)


@pytest.mark.parametrize(
    "name, options, n, expected",
    [
        # 784-400-400, two heads, n-400-400-784 (2312.06280, section 4.1)
        ("mlp", {}, 16, 314_000 + 160_400 + 2 * 6_416 + 6_800 + 160_400 + 314_384),
        ("mlp", {"hidden": [10]}, 2, 7_850 + 2 * 22 + 30 + 8_624),
        # 784-256-32-24-16 and back (1812.07238, section IV-A)
        ("asperti-dense", {}, 16, 200_960 + 8_224 + 792 + 2 * 400 + 408 + 800 + 8_448 + 201_488),
    ],
)
def test_parameter_counts(name: str, options: dict[str, Any], n: int, expected: int) -> None:
    assert _count(build_vae(name, options, (1, 28, 28), n, 0)) == expected


def test_conv_parameter_count() -> None:
    """Channels 32, 4x4 kernels, 64x64 down to 4x4: flat 512, fully connected 256-256."""
    c, flat, h, n = 32, 32 * 4 * 4, 256, 16
    convolutions = (3 * 16 * c + c) + 3 * (c * 16 * c + c)
    encoder = convolutions + (flat * h + h) + (h * h + h)
    decoder = (n * h + h) + (h * h + h) + (h * flat + flat) + 3 * (c * 16 * c + c) + (c * 16 * 3 + 3)
    assert _count(_vae("conv", (3, 64, 64), n)) == encoder + 2 * (h * n + n) + decoder


@pytest.mark.parametrize("side, kernels", [(64, [4, 3, 3, 3]), (28, [4, 3, 2])])
def test_geco_conv_layers(side: int, kernels: list[int]) -> None:
    """2003.10901, section IV: kernels, strides of 2, leaky ReLU 0.02, Keras's momentum of 0.8."""
    vae = _vae("geco-conv", (1, side, side))
    convolutions = [m for m in vae.encoder if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(k, k) for k in kernels]
    assert {m.stride for m in convolutions} == {(2, 2)}
    assert {m.momentum for m in vae.modules() if isinstance(m, nn.BatchNorm2d)} == {0.2}
    assert {m.negative_slope for m in vae.modules() if isinstance(m, nn.LeakyReLU)} == {0.02}
    assert [m.out_features for m in vae.encoder if isinstance(m, nn.Linear)] == [128]


# --- removing latents


@one_of_each
def test_removed_latents_are_those_zeroed(name: str, shape: tuple[int, ...]) -> None:
    vae, x, keep = _vae(name, shape).eval(), _images(shape), (0, 2, 3, 5)
    with torch.no_grad():
        mean, logvar = vae.encode(x)
        z = torch.randn(4, N, generator=Generator().manual_seed(4))
        gate = torch.zeros(N).index_fill_(0, torch.tensor(keep), 1.0)
        gated = vae.decode(z * gate)
        assert not torch.allclose(gated, vae.decode(z))
        vae.keep_latents(keep)
        kept_mean, kept_logvar = vae.encode(x)
        assert vae.latent_dim == vae.decoder_in.in_features == 4
        torch.testing.assert_close(kept_mean, mean[:, keep])
        torch.testing.assert_close(kept_logvar, logvar[:, keep])
        torch.testing.assert_close(vae.decode(z[:, keep]), gated, rtol=1e-4, atol=1e-5)


def _step(vae: VAE, optimizer: torch.optim.Optimizer, shape: tuple[int, ...], count: int = 3) -> None:
    generator = Generator().manual_seed(5)
    for _ in range(count):
        optimizer.zero_grad()
        torch.autograd.backward(elbo_loss(vae, _images(shape), generator).total)
        optimizer.step()


def _latent_parameters(vae: VAE) -> dict[str, Tensor]:
    """Everything that a removal slices, and the decoder's first bias."""
    return {k: v for k, v in vae.named_parameters() if k.split(".")[0] in ("mean_head", "logvar_head", "decoder_in")}


def _untrained(vae: VAE, optimizer: torch.optim.Optimizer, shape: tuple[int, ...]) -> list[str]:
    """The latent interface's parameters where all of one latent's values stay as they are in training."""
    before = {name: value.detach().clone() for name, value in _latent_parameters(vae).items()}
    _step(vae, optimizer, shape)
    untrained = []
    for name, value in _latent_parameters(vae).items():
        same = value == before[name]  # heads [n, h] and [n], decoder_in [h, n] and [h]
        by_latent = same.T if name == "decoder_in.weight" else same[None] if name == "decoder_in.bias" else same
        if bool(by_latent.reshape(len(by_latent), -1).all(1).any()):
            untrained.append(name)
    return untrained


def _sliced(name: str, value: Tensor, keep: tuple[int, ...]) -> Tensor:
    if name == "decoder_in.bias":
        return value
    return value[:, keep] if name == "decoder_in.weight" else value[list(keep)]


@one_of_each
@pytest.mark.parametrize("fused", [False, True])
def test_heads_train_on_after_a_removal(name: str, shape: tuple[int, ...], fused: bool) -> None:
    vae, keep = _vae(name, shape), (1, 2, 5)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=fused)
    _step(vae, optimizer, shape)
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
    assert _untrained(vae, optimizer, shape) == []
    assert all(float(optimizer.state[p]["step"]) == 6 for p in vae.parameters())
    # The check finds what a removal by new parameters would do: the optimizer goes on with the old ones.
    dropped[0].mean_head.weight = nn.Parameter(dropped[0].mean_head.weight.detach().clone())
    stale[0].decoder_in.bias = nn.Parameter(stale[0].decoder_in.bias.detach().clone())
    assert _untrained(*dropped, shape) == ["mean_head.weight"]
    assert _untrained(*stale, shape) == ["decoder_in.bias"]


def test_two_removals_compose() -> None:
    vae, once = _vae("mlp", (1, 8, 8)), _vae("mlp", (1, 8, 8))
    vae.keep_latents((0, 2, 3, 5))
    vae.keep_latents((1, 3))
    once.keep_latents((2, 5))
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), once.parameters(), strict=True))


@pytest.mark.parametrize("indices", [(), (0, 6), (-1, 2), (2, 1), (1, 1)])
def test_bad_indices(indices: tuple[int, ...]) -> None:
    vae = _vae("mlp", (1, 8, 8))
    with pytest.raises(ValueError, match=r"to keep; expected ascending ones in 0\.\.5"):
        vae.keep_latents(indices)
    assert vae.latent_dim == N


# --- building, and models as files


@one_of_each
def test_the_seed_makes_the_weights(name: str, shape: tuple[int, ...]) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (_vae(name, shape, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["mean_head.weight"], other["mean_head.weight"])


@one_of_each
def test_model_file(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    vae, x = _vae(name, shape), _images(shape)
    vae.encode(x)  # moves BatchNorm statistics off their start
    vae.keep_latents((0, 4))
    save_model(tmp_path / "model.pt", vae, name, {}, shape)
    loaded = load_model(tmp_path / "model.pt")
    assert not loaded.training and loaded.latent_dim == 2
    state = loaded.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in vae.state_dict().items())
    mean, logvar = vae.eval().encode(x)
    assert torch.equal(loaded.encode(x)[1], logvar) and torch.equal(loaded.decode(mean), vae.decode(mean))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_model_file_keeps_options(tmp_path: Path) -> None:
    vae = build_vae("mlp", {"hidden": [7, 5]}, (1, 4, 4), 3, 0)
    save_model(tmp_path / "model.pt", vae, "mlp", {"hidden": [7, 5]}, (1, 4, 4))
    assert _count(load_model(str(tmp_path / "model.pt"))) == _count(vae)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(__file__).with_name("_executed"),))


@pytest.mark.parametrize("kind", ["garbage", "empty", "pickle", "torch pickle", "other", "truncated", "no weights"])
def test_no_such_model(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_model(path, _vae("mlp", (1, 4, 4)), "mlp", {}, (1, 4, 4))
    content = path.read_bytes()
    path.write_bytes({"garbage": b"not a model", "pickle": pickle.dumps(_Code())}.get(kind, b""))
    if kind == "torch pickle":
        torch.save({"format": "latentbench-model-1", "backbone": _Code()}, path)
    elif kind == "other":
        torch.save({"weights": torch.zeros(2)}, path)
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "no weights":
        torch.save({"format": "latentbench-model-1", "backbone": "mlp"}, path)
    with pytest.raises(InputError, match="is no latentbench model.*export it anew"):
        load_model(path)
    assert not Path(__file__).with_name("_executed").exists()


def test_missing_model(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match="no model at .*; expected a model.pt"):
            load_model(path)


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("conv", (3, 15, 64), "3x15x64.*at least 16"),
        ("conv", (1, 8, 8), "1x8x8.*at least 16"),
        ("conv", (3, 2, 64, 64), "3x2x64x64; expected C x H x W"),
        ("geco-conv", (1, 8, 8), "1x8x8.*at least 28"),
        ("geco-conv", (3, 32, 32), "32x32; it takes 64x64 or 28x28"),
        ("geco-conv", (3, 64, 28), "64x28; it takes 64x64 or 28x28"),
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
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_backbone(name, options)
