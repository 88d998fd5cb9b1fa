"""The scaled start: the signal passes through every layer in both directions, and outputs are near the mean image."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Generator, Tensor, nn

from benchmark.backbones.build import build_vae
from benchmark.backbones.initialise import LAYERS, LOGVAR_STD, scale_to_data
from benchmark.backbones.vae import VAE
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Split
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import elbo_loss

CASES = {
    "mlp digits": ("mlp", "digits", (1, 8, 8)),
    "mlp grey": ("mlp", "tiles", (1, 28, 28)),
    "asperti-dense": ("asperti-dense", "tiles", (1, 28, 28)),
    "asperti-conv": ("asperti-conv", "tiles", (1, 28, 28)),
    "geco-conv 28": ("geco-conv", "tiles", (1, 28, 28)),
    "geco-conv 64": ("geco-conv", "photographs", (3, 64, 64)),
    "conv": ("conv", "photographs", (3, 64, 64)),
    "conv odd": ("conv", "photographs", (1, 37, 50)),
    "video": ("video", "photographs", (3, 4, 32, 32)),
}
GRADIENTS_WITHIN = 10.0


def _photographs(shape: tuple[int, ...]) -> Split:
    """Dark images of low contrast, like satellite images: smooth shapes with a little noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(128, *shape[:-2], 4, 4, generator=generator).flatten(0, -3).unsqueeze(1)
    smooth = nn.functional.interpolate(coarse, shape[-2:], mode="bilinear").reshape(128, *shape)
    noise = torch.rand(smooth.shape, generator=generator)
    images = (255 * (0.3 + 0.2 * (smooth - 0.5) + 0.02 * noise)).to(torch.uint8)
    return Split(images, torch.zeros(128, dtype=torch.int64), torch.arange(128))


def _split(data: str, shape: tuple[int, ...]) -> Split:
    split = _photographs(shape) if data == "photographs" else load_dataset(data).train
    assert tuple(split.images.shape[1:]) == shape
    return split


def _start(backbone: str, split: Split, seed: int = 0, latent_dim: int = 32) -> VAE:
    vae = build_vae(backbone, {}, tuple(split.images.shape[1:]), latent_dim, seed)
    scale_to_data(vae, split, Generator().manual_seed(seed))
    return vae


@contextmanager
def _outputs(vae: VAE) -> Iterator[dict[str, Tensor]]:
    """Records the outputs of each layer in the forward passes of the block."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        return lambda _layer, _x, out: outputs.__setitem__(name, out.detach())

    layers = {name: layer for name, layer in vae.named_modules() if isinstance(layer, LAYERS)}
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    yield outputs
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("case", CASES)
def test_the_signal_passes_both_ways(case: str) -> None:
    """Before BatchNorm a gradient shrinks as its weight grows, so we compare the product of gradient and weight."""
    backbone, data, shape = CASES[case]
    split = _split(data, shape)
    vae = _start(backbone, split).train()
    x = split.take(torch.arange(min(64, len(split)))).float() / 255
    with _outputs(vae) as outputs:
        elbo_loss(vae, x, Generator().manual_seed(1)).total.backward()
    *inner, output = outputs
    stds = {name: float(outputs[name].std()) for name in inner}
    assert stds.pop("logvar_head") == pytest.approx(LOGVAR_STD, rel=0.5)
    assert all(0.5 <= std <= 2 for std in stds.values()), stds
    assert output.startswith("decoder.") and float(outputs[output].std()) > 0.1
    layers = dict(vae.named_modules())
    normed = any(isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)) for layer in layers.values())
    weights = [layers[name].weight for name in (inner[0], output)]
    first, last = (float(w.grad.norm()) * (float(w.detach().norm()) if normed else 1.0) for w in weights)
    assert last / GRADIENTS_WITHIN <= first <= GRADIENTS_WITHIN * last


@torch.no_grad()
def test_the_start_fits_the_mean_image() -> None:
    split = load_dataset("digits").train
    x = split.take(torch.arange(len(split))).float() / 255
    mean = x.mean(0).clamp(0.01, 0.99)
    mean_image_nll = float(bernoulli_nll(torch.logit(mean).expand_as(x), x))
    vae = _start("mlp", split)
    start = float(bernoulli_nll(vae.decode(torch.zeros(len(x), 32)), x))
    assert mean_image_nll <= start <= 1.1 * mean_image_nll
    default = build_vae("mlp", {}, (1, 8, 8), 32, 0)
    assert float(bernoulli_nll(default.decode(torch.zeros(len(x), 32)), x)) > 1.5 * mean_image_nll


def test_a_seed_gives_its_weights_and_leaves_torchs_generator_alone() -> None:
    split = load_dataset("digits").train
    before = torch.get_rng_state()
    a, b, other = (_start("mlp", split, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["encoder.1.weight"], other["encoder.1.weight"])


def test_batchnorm_statistics_stay_at_their_start() -> None:
    vae = _start("geco-conv", load_dataset("tiles").train)
    statistics = [m.running_mean for m in vae.modules() if isinstance(m, nn.BatchNorm2d)]
    assert statistics and all(mean is not None and not mean.any() for mean in statistics)


def test_data_that_never_change_give_finite_weights() -> None:
    images = torch.full((40, 1, 8, 8), 7, dtype=torch.uint8)
    vae = _start("mlp", Split(images, torch.zeros(40, dtype=torch.int64), torch.arange(40)))
    assert all(bool(value.isfinite().all()) for value in vae.state_dict().values())
