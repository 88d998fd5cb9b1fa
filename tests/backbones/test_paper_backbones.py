"""The backbones of single papers' figures: asperti-conv and video; and the documented table of all backbones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark import load_model
from benchmark.backbones import BACKBONES
from benchmark.backbones.export import build_vae, make_backbone, save_model
from benchmark.backbones.vae import VAE
from benchmark.backbones.video import AxialAttention
from benchmark.errors import InputError
from benchmark.training.flops import flop_counter
from searchers.parts.objectives import elbo_loss, frozen_batchnorm_statistics

N = 6
PAPER = {"asperti-conv": (1, 28, 28), "video": (3, 8, 64, 64)}
SMALL = {"asperti-conv": (1, 28, 28), "video": (2, 4, 8, 16)}
OTHERS = [
    ("asperti-conv", (3, 25, 32)),
    ("asperti-conv", (2, 32, 27)),
    ("video", (1, 2, 4, 4)),
    ("video", (2, 6, 8, 20)),
]
every_shape = pytest.mark.parametrize("name, shape", [*PAPER.items(), *OTHERS])
both = pytest.mark.parametrize("name", ["asperti-conv", "video"])


def _vae(name: str, shape: tuple[int, ...], n: int = N, seed: int = 0, **options: Any) -> VAE:
    return build_vae(name, options, shape, n, seed)


def _rand(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=Generator().manual_seed(seed))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@every_shape
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    vae, x = _vae(name, shape), _rand(3, *shape)
    mean, logvar = vae.encode(x)
    assert mean.shape == logvar.shape == (3, N) and not torch.equal(mean, logvar)
    logits = vae.decode(mean)
    assert logits.shape == x.shape and bool(logits.isfinite().all())
    vae.decoder[-1].bias.data.fill_(-100)
    assert vae.decode(mean).mean().item() == pytest.approx(-100, abs=5)  # no ReLU or sigmoid at the end


@every_shape
def test_gradient_reaches_every_parameter(name: str, shape: tuple[int, ...]) -> None:
    """In evaluation mode, where BatchNorm does not cancel the biases before it."""
    vae = _vae(name, shape).eval().double()
    torch.autograd.backward(elbo_loss(vae, _rand(3, *shape).double(), Generator().manual_seed(2)).total)
    assert all(p.grad is not None and float(p.grad.abs().max()) > 1e-8 for p in vae.parameters())


def test_no_parameter_of_video_is_idle_in_training() -> None:
    """A bias before a BatchNorm, or of the keys, would get a gradient of rounding errors alone."""
    vae = _vae("video", SMALL["video"]).double()
    torch.autograd.backward(elbo_loss(vae, _rand(8, *SMALL["video"]).double(), Generator().manual_seed(2)).total)
    gradients = {name: float(p.grad.abs().max()) for name, p in vae.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(vae.parameters())) and min(gradients.values()) > 1e-6, gradients


# --- asperti-conv


FIGURE_7 = """
conv2d 3x3          14 14 16   160
BatchNormalization  14 14 16    64
RELU                14 14 16     0
conv2d 3x3          14 14 32  4640
conv2d 3x3           7  7 32  9248
BatchNormalization   7  7 32   128
RELU                 7  7 32     0
conv2d 3x3           4  4 32  9248
conv2d 3x3           4  4 32  9248
BatchNormalization   4  4 32   128
RELU                 4  4 32     0
conv2d 2x2           2  2 32  4128
conv2d 2x2           2  2 32  4128
BatchNormalization   2  2 32   128
RELU                 2  2 32     0
conv2d 2x2           1  1 32  4128
conv2d 1x1           1  1 16   528
conv2d 1x1           1  1 16   528
"""  # as printed, but for the "3x3" of the layers that have the parameters of 2x2
NAMES = {nn.BatchNorm2d: "BatchNormalization", nn.ReLU: "RELU"}
SHAPERS = (nn.ZeroPad2d, nn.Flatten, nn.Unflatten)


def _keras_count(module: nn.Module) -> int:
    """Keras's summary counts a BatchNorm's running mean and variance too."""
    running = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    return _count(module) + sum(2 * m.num_features for m in running)


def _rows(layers: nn.Sequential, x: Tensor) -> list[str]:
    rows = []
    for layer in layers:
        x = layer(x)
        if not isinstance(layer, SHAPERS):
            kernel = "x".join(map(str, getattr(layer, "kernel_size", ())))
            name = NAMES.get(type(layer), f"conv2d {kernel}")
            rows.append(f"{name} {x.shape[2]} {x.shape[3]} {x.shape[1]} {_keras_count(layer)}")
    return rows


def test_figure_7() -> None:
    vae = _vae("asperti-conv", (1, 28, 28), n=16)
    rows = _rows(vae.encoder, _rand(2, 1, 28, 28))
    rows += [f"conv2d 1x1 1 1 {head.out_features} {_count(head)}" for head in (vae.mean_head, vae.logvar_head)]
    assert rows == [re.sub(" +", " ", row) for row in FIGURE_7.split("\n")[1:-1]]


def test_the_decoder_is_the_encoder_reversed() -> None:
    vae = _vae("asperti-conv", (1, 28, 28), n=16)
    encoder = [m for m in vae.encoder if isinstance(m, nn.Conv2d)]
    decoder = [m for m in vae.decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [m.weight.shape for m in decoder] == [m.weight.shape for m in encoder[::-1]]
    assert [m.stride for m in decoder] == [m.stride for m in encoder[::-1]]
    assert vae.decoder_in.out_features == 32
    sizes = [(row.split()[-4:-1]) for row in _rows(vae.decoder, _rand(2, 32)) if row.startswith("conv2d")]
    assert [f"{side}x{channels}" for side, _, channels in sizes] == "2x32 3x32 4x32 4x32 7x32 14x32 14x16 28x1".split()
    # the 3x3 is cropped to 2x2
    kinds = [[type(m) for m in part if not isinstance(m, SHAPERS)] for part in (vae.encoder, vae.decoder)]
    kinds[0] = [nn.ConvTranspose2d if kind is nn.Conv2d else kind for kind in kinds[0]]
    norms = [
        [i for i, kind in enumerate(k for k in part if k is not nn.ReLU) if kind is nn.BatchNorm2d] for part in kinds
    ]
    assert norms == [[1, 4, 7, 10], [1, 4, 7, 10]]  # conv BN, conv conv BN, ... reads the same in both directions


# --- video


def _naive_attention(attention: AxialAttention, x: Tensor) -> Tensor:
    """Every pair of positions scored, those that share no line along the axis masked; summed over the axes."""
    b, c, *grid = x.shape
    heads, d = attention.heads, c // attention.heads
    flat = x.flatten(2).transpose(1, 2)  # [B, P, C]
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))  # [P, 3]
    total = torch.zeros_like(flat)
    for axis, (weight, out) in enumerate(
        zip(attention.qkv.weight.chunk(3), attention.out.weight.chunk(3, 1), strict=True)
    ):
        q, k, v = ((flat @ w.T).reshape(b, -1, heads, d) for w in weight.chunk(3))
        score = torch.einsum("bphd,bqhd->bhpq", q, k) / d**0.5
        other = [i for i in range(3) if i != axis]
        line = (places[:, None, other] == places[None, :, other]).all(-1)
        mixed = torch.einsum("bhpq,bqhd->bphd", score.masked_fill(~line, -torch.inf).softmax(-1), v)
        total = total + F.linear(mixed.flatten(2), out)
    return total.transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_axial_attention(heads: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attention = AxialAttention(8, heads).double()
    x = 3 * _rand(2, 8, 2, 3, 5).double()
    with torch.no_grad():
        torch.testing.assert_close(attention(x), _naive_attention(attention, x))


def test_attention_reaches_three_lines() -> None:
    attention, x = AxialAttention(4, 2), _rand(1, 4, 3, 4, 5)
    moved = x.clone()
    moved[0, :, 1, 2, 3] += 1
    with torch.no_grad():
        changed = (attention(moved) - attention(x)).abs().amax((0, 1)) > 1e-6
    expected = torch.zeros(3, 4, 5, dtype=torch.bool)
    expected[:, 2, 3] = expected[1, :, 3] = expected[1, 2, :] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_attention_flops_are_counted_whatever_kernel_torch_takes(backend: SDPBackend) -> None:
    b, c, grid = 2, 8, (2, 3, 5)
    positions = b * 2 * 3 * 5
    linear = 2 * positions * (c * 9 * c + 3 * c * c)
    pairs = sum(2 * 2 * positions * side * c for side in grid)  # q k' and the weighted sum of v
    x = _rand(b, c, *grid)
    with sdpa_kernel(backend):
        with flop_counter() as forward, torch.no_grad():
            AxialAttention(c, 2)(x)
        with flop_counter() as training:
            torch.autograd.backward(AxialAttention(c, 2)(x + x.clone().requires_grad_()).sum())
    assert forward.get_total_flops() == linear + pairs == 111_360
    assert training.get_total_flops() == 3 * (linear + pairs)  # two products backward for each forward


@pytest.mark.parametrize(
    "name, shape, flops",
    [
        ("mlp", (1, 28, 28), 20_454_400),
        ("conv", (3, 64, 64), 336_740_352),
        ("geco-conv", (3, 64, 64), 1_036_591_104),
        ("geco-conv", (1, 28, 28), 147_329_024),
        ("video", (3, 8, 64, 64), 6_297_894_912),
        ("asperti-dense", (1, 28, 28), 8_472_064),
        ("asperti-conv", (1, 28, 28), 82_100_736),
    ],
)
def test_no_version_of_torch_bends_the_flops_of_a_step(name: str, shape: tuple[int, ...], flops: int) -> None:
    """Of torch 2.11.0, 2.14.1 and 2.15.0 alike."""
    with flop_counter() as counter:
        loss = elbo_loss(_vae(name, shape, n=8), _rand(4, *shape), Generator().manual_seed(1))
        torch.autograd.backward(loss.total)
    assert counter.get_total_flops() == flops


def test_the_grid_of_the_paper() -> None:
    """2x4x4 down, 4x16x16 in between; as many attention blocks in the decoder as in the encoder."""
    vae, seen = _vae("video", (3, 8, 64, 64), n_blocks=2), []
    for module in vae.modules():
        if isinstance(module, AxialAttention):
            module.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        vae.decode(vae.encode(_rand(1, 3, 8, 64, 64))[0])
    assert seen == 4 * [(1, 32, 4, 16, 16)]


@pytest.mark.parametrize("n_blocks", [0, 1, 3])
def test_video_parameter_count(n_blocks: int) -> None:
    c, code, h, n, cells = 12, 4, 20, 5, 2 * 2 * 3
    block = 2 * c + c * c // 2 * 27 + c + c * c // 2 + 2 * c + 9 * c * c + 3 * c * c
    encoder = (2 * 27 * c + c) + (c * 27 * c + c) + c * 27 * c + n_blocks * block + 2 * c + (c * code + code)
    encoder += cells * code * h + h
    decoder = (n * h + h) + (h * cells * code + cells * code) + code * c + n_blocks * block + 2 * c
    decoder += (c * c * 3 * 4 * 4 + c) + (c * 2 * 4 * 4 * 4 + 2)
    options = {"channels": c, "n_blocks": n_blocks, "heads": 3, "code_channels": code, "hidden": h}
    assert _count(_vae("video", (2, 4, 8, 12), n, **options)) == encoder + 2 * (h * n + n) + decoder


def _clips(count: int) -> Tensor:
    """White 4x4 squares that move one pixel a frame, [count, 1, 4, 16, 16]."""
    clips = torch.zeros(count, 1, 4, 16, 16)
    for clip, start in zip(clips, torch.randint(0, 9, (count, 2), generator=Generator().manual_seed(3)), strict=True):
        for t in range(4):
            row, column = int(start[0]), int(start[1]) + t
            clip[0, t, row : row + 4, column : column + 4] = 1
    return clips


@both
def test_the_loss_falls(name: str) -> None:
    x = _clips(32) if name == "video" else F.pad(_clips(32)[:, :, 0], (6, 6, 6, 6))
    vae = _vae(name, tuple(x.shape[1:]))
    optimizer, noise = torch.optim.Adam(vae.parameters(), lr=3e-3), Generator().manual_seed(4)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = elbo_loss(vae, x, noise).total
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# --- what every backbone promises


@both
def test_removed_latents_are_those_zeroed(name: str) -> None:
    vae, x, keep = _vae(name, SMALL[name]).eval(), _rand(4, *SMALL[name]), (1, 2, 5)
    with torch.no_grad():
        mean, logvar = vae.encode(x)
        z = 3 * _rand(4, N, seed=5)
        zeroed = vae.decode(z * torch.zeros(N).index_fill_(0, torch.tensor(keep), 1.0))
        assert not torch.allclose(zeroed, vae.decode(z), atol=1e-4)
        vae.keep_latents(keep)
        assert vae.latent_dim == 3
        torch.testing.assert_close(vae.encode(x), (mean[:, keep], logvar[:, keep]))
        torch.testing.assert_close(vae.decode(z[:, keep]), zeroed, rtol=1e-4, atol=1e-5)


@both
def test_batchnorm_modes(name: str) -> None:
    """Alone or in a batch, an image means the same in evaluation, not in training; statistics can be held."""
    vae, x = _vae(name, SMALL[name]), _rand(4, *SMALL[name])
    start = {key: value.clone() for key, value in vae.named_buffers() if "running" in key}
    assert len(start) > 4

    def moved() -> list[bool]:
        return [not torch.equal(value, start[key]) for key, value in vae.named_buffers() if key in start]

    with torch.no_grad():
        with frozen_batchnorm_statistics(vae):
            held = vae.decode(vae.encode(x)[0])
        assert not any(moved())
        free = vae.decode(vae.encode(x)[0])
        torch.testing.assert_close(held, free)  # a training batch is normalised by itself either way
        assert all(moved())
        assert not torch.allclose(vae.encode(x[:2])[0], vae.encode(x)[0][:2], atol=1e-4)
        vae.eval()
        torch.testing.assert_close(vae.encode(x[:1])[0], vae.encode(x)[0][:1], rtol=1e-4, atol=1e-5)


@both
def test_the_seed_makes_the_weights(name: str) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (_vae(name, SMALL[name], seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], same[key]) for key in first)
    weights = [key for key, value in first.items() if key.endswith("weight") and value.dim() > 1]
    assert weights and not any(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.parametrize(
    "name, options", [("asperti-conv", {}), ("video", {"channels": 6, "n_blocks": 1, "heads": 3, "hidden": 9})]
)
def test_model_file(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    shape = SMALL[name]
    vae, x = _vae(name, shape, **options), _rand(4, *shape)
    vae.decode(vae.encode(x)[0])  # moves the BatchNorm statistics off their start
    vae.keep_latents((0, 4))
    save_model(tmp_path / "model.pt", vae, name, options, shape)
    loaded = load_model(tmp_path / "model.pt")
    assert not loaded.training and loaded.latent_dim == 2
    mean, logvar = vae.eval().encode(x)
    assert torch.equal(loaded.encode(x)[1], logvar) and torch.equal(loaded.decode(mean), vae.decode(mean))


@pytest.mark.parametrize(
    "name, shape, message",
    [
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
    "options, message",
    [
        ({"channels": 10, "heads": 3}, "channels is 10 with 3 heads; expected a multiple of heads"),
        ({"channels": 1, "heads": 1}, "channels is 1 with 1 heads; expected .* at least 2"),
        ({"heads": 0}, "heads is 0; expected at least 1"),
        ({"n_blocks": -1}, "n_blocks is -1; expected at least 0"),
        ({"n_block": 1}, "unknown setting 'n_block'; did you mean 'n_blocks'"),
    ],
)
def test_bad_options_of_video(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_backbone("video", options)


# --- the documented table


DOC = Path(__file__).parents[2] / "docs" / "backbones.md"


def _documented() -> list[list[str]]:
    """The table's rows: backbone, paper, takes, options, images, latents, parameters."""
    rows = [line for line in DOC.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def test_every_backbone_is_documented() -> None:
    assert {row[0] for row in _documented()} == set(BACKBONES)


@pytest.mark.parametrize("row", _documented(), ids=lambda row: f"{row[0]} {row[3]} {row[4]}")
def test_documented_parameter_counts(row: list[str]) -> None:
    """The count in docs/backbones.md is that of the network its row names; an empty option cell means the defaults."""
    name, _, _, options, shape, n, count = row
    table = {key: json.loads(value) for key, value in (option.split(" = ") for option in options.split("; ") if option)}
    with torch.device("meta"):
        vae = make_backbone(name, table).build(tuple(map(int, shape.split("x"))), int(n))
    assert count == f"{_count(vae):,}"
