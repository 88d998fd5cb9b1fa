"""The networks are those of the papers: parameter counts, layers, attention, FLOPs, and the documented table."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.backbones import BACKBONES
from benchmark.backbones.build import build_vae, make_backbone
from benchmark.backbones.vae import VAE
from benchmark.backbones.video import AxialAttention
from benchmark.training.flops import flop_counter
from searchers.parts.objectives import elbo_loss


def _vae(name: str, shape: tuple[int, ...], n: int = 6, **options: Any) -> VAE:
    return build_vae(name, options, shape, n, seed=0)


def _rand(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=Generator().manual_seed(1))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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
def test_dense_parameter_counts(name: str, options: dict[str, Any], n: int, expected: int) -> None:
    assert _count(_vae(name, (1, 28, 28), n, **options)) == expected


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
"""  # as printed, except that "3x3" is 2x2 in layers with the parameters of 2x2 kernels
NAMES = {nn.BatchNorm2d: "BatchNormalization", nn.ReLU: "RELU"}
SHAPERS = (nn.ZeroPad2d, nn.Flatten, nn.Unflatten)


def _keras_count(module: nn.Module) -> int:
    """Counts parameters as Keras does, which includes the running mean and variance of BatchNorm."""
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
    # 3x3: before the crop to 2x2
    kinds = [[type(m) for m in part if not isinstance(m, SHAPERS)] for part in (vae.encoder, vae.decoder)]
    kinds[0] = [nn.ConvTranspose2d if kind is nn.Conv2d else kind for kind in kinds[0]]
    norms = [
        [i for i, kind in enumerate(k for k in part if k is not nn.ReLU) if kind is nn.BatchNorm2d] for part in kinds
    ]
    assert norms == [[1, 4, 7, 10], [1, 4, 7, 10]]  # conv BN, conv conv BN, ... is the same in both directions


# --- video


def _naive_attention(attention: AxialAttention, x: Tensor) -> Tensor:
    """Scores every pair of positions and masks those on different lines along the axis; sums over the axes."""
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
    """torch 2.11.0, 2.14.1 and 2.15.0 count the same."""
    with flop_counter() as counter:
        loss = elbo_loss(_vae(name, shape, n=8), _rand(4, *shape), Generator().manual_seed(1))
        torch.autograd.backward(loss.total)
    assert counter.get_total_flops() == flops


def test_the_grid_of_the_paper() -> None:
    """The grid is 4x16x16, and the decoder has as many attention blocks as the encoder."""
    vae, shapes = _vae("video", (3, 8, 64, 64), n_blocks=2), []
    for module in vae.modules():
        if isinstance(module, AxialAttention):
            module.register_forward_hook(lambda _module, inputs, _output: shapes.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        vae.decode(vae.encode(_rand(1, 3, 8, 64, 64))[0])
    assert shapes == 4 * [(1, 32, 4, 16, 16)]


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


def test_no_parameter_of_video_is_idle_in_training() -> None:
    """A bias of the keys or before a BatchNorm would have a gradient of rounding errors only."""
    vae = _vae("video", (2, 4, 8, 16)).double()
    torch.autograd.backward(elbo_loss(vae, _rand(8, 2, 4, 8, 16).double(), Generator().manual_seed(2)).total)
    gradients = {name: float(p.grad.abs().max()) for name, p in vae.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(vae.parameters())) and min(gradients.values()) > 1e-6, gradients


def _clips(count: int) -> Tensor:
    """White 4x4 squares that move one pixel per frame, [count, 1, 4, 16, 16]."""
    clips = torch.zeros(count, 1, 4, 16, 16)
    for clip, start in zip(clips, torch.randint(0, 9, (count, 2), generator=Generator().manual_seed(3)), strict=True):
        for t in range(4):
            row, column = int(start[0]), int(start[1]) + t
            clip[0, t, row : row + 4, column : column + 4] = 1
    return clips


@pytest.mark.parametrize("name", ["asperti-conv", "video"])
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
    """Each row of docs/backbones.md has the parameter count of its network; an empty option cell means the defaults."""
    name, _, _, options, shape, n, count = row
    table = {key: json.loads(value) for key, value in (option.split(" = ") for option in options.split("; ") if option)}
    with torch.device("meta"):
        vae = make_backbone(name, table).build(tuple(map(int, shape.split("x"))), int(n))
    assert count == f"{_count(vae):,}"
