"""VAEs of different sizes as one stacked model: each member trains as it would alone."""

import copy
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.backbones.vae import VAE
from benchmark.training.loop import autocast
from benchmark.training.stack import Stack
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import elbo_loss, kl_per_dim

SIZES = (2, 7, 4)
BATCH = 8
BACKBONES = {
    "mlp": ({"hidden": [24]}, (1, 8, 8), 30),
    "conv": ({"channels": 4, "hidden": 16}, (3, 32, 32), 10),
    "geco-conv": ({"hidden": 32}, (1, 28, 28), 6),  # BatchNorm
}
LEARNING_RATE = 3e-3
LossOf = Callable[[VAE, Tensor, Generator], Tensor]


def _vaes(backbone: str) -> list[VAE]:
    options, shape, _ = BACKBONES[backbone]
    return [build_vae(backbone, options, shape, n, seed) for seed, n in enumerate(SIZES)]


def _images(backbone: str, steps: int) -> Tensor:
    """Images of three factors, others for each member: [M, steps, B, C, H, W] in [0, 1]."""
    _, shape, _ = BACKBONES[backbone]
    generator = Generator().manual_seed(5)
    factors = torch.randn(len(SIZES), steps, BATCH, 3, generator=generator)
    mixing = torch.randn(3, math.prod(shape), generator=generator)
    return torch.sigmoid(2 * factors @ mixing).unflatten(-1, shape)


def _generators() -> list[Generator]:
    return [Generator().manual_seed(100 + member) for member in range(len(SIZES))]


def _train_stacked(stack: Stack, images: Tensor) -> Tensor:
    """Adam's steps on images [M, steps, B, ...]; the losses [steps, M]."""
    optimizer = torch.optim.Adam(list(stack.parameters.values()), lr=LEARNING_RATE, fused=True)
    generators = _generators()
    losses = []
    for x in images.unbind(1):
        losses.append(stack.losses(x, stack.draw(x.shape[1], generators)))
        losses[-1].sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(losses).detach()


def _train_alone(vaes: Sequence[VAE], images: Tensor, loss_of: LossOf) -> Tensor:
    """The same of one after another."""
    losses = torch.empty(images.shape[1], len(vaes), dtype=images.dtype)
    for member, (vae, generator) in enumerate(zip(vaes, _generators(), strict=True)):
        optimizer = torch.optim.Adam(vae.parameters(), lr=LEARNING_RATE, fused=True)
        for step, x in enumerate(images[member]):
            loss = loss_of(vae.train(), x, generator)
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses[step, member] = loss.detach()
    return losses


def _elbo(vae: VAE, x: Tensor, generator: Generator) -> Tensor:
    return elbo_loss(vae, x, generator).total


def _elbo_of_float32_noise(vae: VAE, x: Tensor, generator: Generator) -> Tensor:
    """The same where the rest is in double precision: the noise is then that of `Stack.draw` all the same."""
    mean, logvar = vae.encode(x)
    noise = torch.empty(mean.shape).normal_(generator=generator)
    logits = vae.decode(mean + torch.exp(0.5 * logvar) * noise)
    return bernoulli_nll(logits, x) + kl_per_dim(mean, logvar).sum() / len(x)


@torch.no_grad()
def _outputs(vae: VAE, x: Tensor) -> tuple[Tensor, ...]:
    vae.eval()
    return (*vae.encode(x), vae.decode(torch.linspace(-2, 2, vae.latent_dim, dtype=x.dtype).expand(len(x), -1)))


def _trained(backbone: str, dtype: torch.dtype, loss_of: LossOf) -> tuple[list[VAE], Tensor, list[VAE], Tensor]:
    """Members and losses [steps, M] of a stacked training, and of the same ones trained alone."""
    stacked, alone = ([vae.to(dtype) for vae in _vaes(backbone)] for _ in range(2))
    images = _images(backbone, BACKBONES[backbone][2]).to(dtype)
    stack = Stack(stacked)
    losses = _train_stacked(stack, images)
    stack.unstack(stacked)
    return stacked, losses, alone, _train_alone(alone, images, loss_of)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_member_trains_as_it_would_alone(backbone: str) -> None:
    """In float32 losses differ by 2e-7 of themselves.

    Weights are left to the next test: where a gradient is all but 0 (a bias before a BatchNorm) its rounding decides
    Adam's first steps, which moves geco-conv's means by 1e-3 in evaluation.
    """
    stacked, losses, alone, expected = _trained(backbone, torch.float32, _elbo)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)
    assert (expected[-1] < expected[0]).all()
    x = _images(backbone, 1)[0, 0]
    for got, own in zip(stacked, alone, strict=True):
        torch.testing.assert_close(_outputs(got, x), _outputs(own, x), rtol=0, atol=1e-2)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_member_has_its_own_weights_and_buffers(backbone: str) -> None:
    """In double precision, where rounding leaves at most 1e-8 (geco-conv; elsewhere 1e-15)."""
    stacked, losses, alone, expected = _trained(backbone, torch.float64, _elbo_of_float32_noise)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    x = _images(backbone, 1)[0, 0].double()
    for got, own, start in zip(stacked, alone, _vaes(backbone), strict=True):
        moved = [not torch.equal(a, b.double()) for a, b in zip(own.parameters(), start.parameters(), strict=True)]
        assert all(moved)
        for (name, a), b in zip(got.state_dict().items(), own.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(_outputs(got, x), _outputs(own, x), rtol=0, atol=1e-7)


def test_batchnorm_has_statistics_of_its_own_member() -> None:
    stacked, _, _, _ = _trained("geco-conv", torch.float32, _elbo)
    for name in ("encoder.2.running_mean", "encoder.2.running_var"):
        first, second, third = (vae.state_dict()[name] for vae in stacked)
        assert not torch.equal(first, second) and not torch.equal(second, third)
    steps = BACKBONES["geco-conv"][2]
    assert [vae.state_dict()["encoder.2.num_batches_tracked"].item() for vae in stacked] == [steps] * len(SIZES)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_stays_zero(backbone: str) -> None:
    options, shape, _ = BACKBONES[backbone]
    vaes, padded = _vaes(backbone), [build_vae(backbone, options, shape, max(SIZES), 0) for _ in SIZES]
    stack = Stack(vaes)
    _train_stacked(stack, _images(backbone, 5))
    stack.unstack(padded)  # as wide as the widest
    count = 0
    for whole, vae in zip(padded, vaes, strict=True):
        for (name, values), own in zip(whole.named_parameters(), vae.parameters(), strict=True):
            outside = torch.ones_like(values, dtype=torch.bool)
            outside[tuple(map(slice, own.shape))] = False
            assert (values[outside] == 0).all(), name
            assert (values[~outside] != own.flatten()).any(), name  # steps that change something
            count += int(outside.sum())
    features, first = vaes[0].mean_head.in_features, vaes[0].decoder_in.out_features
    assert count == sum(max(SIZES) - n for n in SIZES) * (2 * (features + 1) + first)  # both heads and decoder_in


def test_noise_is_what_each_member_draws_alone() -> None:
    stack = Stack(_vaes("mlp"))
    generators = _generators()
    drawn = torch.stack([stack.draw(BATCH, generators) for _ in range(3)])  # [steps, M, B, N]
    assert drawn.shape == (3, len(SIZES), BATCH, max(SIZES))
    for member, (n, generator) in enumerate(zip(SIZES, _generators(), strict=True)):
        alone = [torch.empty(BATCH, n).normal_(generator=generator) for _ in range(3)]
        assert torch.equal(drawn[:, member, :, :n], torch.stack(alone))
        assert (drawn[:, member, :, n:] == 0).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_unstacked_at_once_is_what_was_stacked(backbone: str) -> None:
    vaes, expected, others = _vaes(backbone), _vaes(backbone), _vaes(backbone)
    stack = Stack(vaes)
    for vae in others:
        for value in vae.state_dict().values():
            value.fill_(9)
    stack.unstack(others)
    for got, own in zip(others, expected, strict=True):
        for (name, a), b in zip(got.state_dict().items(), own.state_dict().values(), strict=True):
            assert torch.equal(a, b) and a.stride() == b.stride(), name


def test_originals_are_not_aliased() -> None:
    """Training the stack leaves the members as they are until they are unstacked, and then after that."""
    vaes, untouched = _vaes("geco-conv"), _vaes("geco-conv")
    stack = Stack(vaes)
    _train_stacked(stack, _images("geco-conv", 1))
    after_one = copy.deepcopy(vaes)
    stack.unstack(after_one)
    kept = copy.deepcopy(after_one)
    _train_stacked(stack, _images("geco-conv", 1))
    for pairs in (zip(vaes, untouched, strict=True), zip(after_one, kept, strict=True)):
        for got, own in pairs:
            for (name, a), b in zip(got.state_dict().items(), own.state_dict().values(), strict=True):
                assert torch.equal(a, b), name
    assert not torch.equal(after_one[0].mean_head.weight, vaes[0].mean_head.weight)


def test_a_member_that_is_not_a_number_leaves_the_others() -> None:
    """In double precision, to rounding: its NaN reaches neither their losses nor their weights."""
    images = _images("geco-conv", 3).double()
    healthy, poisoned = ([vae.double() for vae in _vaes("geco-conv")] for _ in range(2))
    poisoned[1].mean_head.weight.data.fill_(math.nan)
    losses = []
    for vaes in (healthy, poisoned):
        stack = Stack(vaes)
        losses.append(_train_stacked(stack, images))
        stack.unstack(vaes)
    assert losses[1][:, 1].isnan().all()
    for member in (0, 2):
        torch.testing.assert_close(losses[1][:, member], losses[0][:, member], rtol=1e-12, atol=0)
        for a, b in zip(poisoned[member].parameters(), healthy[member].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_bf16() -> None:
    """Stacked or alone: losses are near each other (2e-4 of themselves), and the products really are in bf16.

    How far bf16 moves the logits of one noise says so: as far as it moves a member's alone, within a factor of ten.
    Convolutions would stay in float32 on a CPU, where the command line refuses the combination.
    """
    vaes, x = _vaes("mlp"), _images("mlp", 1)[:, 0]
    stack = Stack(vaes)
    noise = stack.draw(BATCH, _generators())

    def decoded() -> list[Tensor]:
        return list(stack._call("decode", noise))

    def decoded_alone() -> list[Tensor]:
        return [vae.train().decode(own[:, : vae.latent_dim]) for vae, own in zip(vaes, noise, strict=True)]

    full = decoded()
    with autocast(x.device, "bf16"):
        losses = stack.losses(x, noise)
        expected = torch.stack([_elbo(v.train(), own, g) for v, own, g in zip(vaes, x, _generators(), strict=True)])
        stacked, alone = decoded(), decoded_alone()
    assert losses.dtype == stacked[0].dtype == torch.float32
    torch.testing.assert_close(losses, expected, rtol=2e-3, atol=0)
    for a, b, reference in zip(stacked, alone, full, strict=True):
        moved, moved_alone = ((logits - reference).abs().mean() for logits in (a, b))
        assert 0.1 < moved / moved_alone < 10


def test_the_linear_layer_of_amds_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What large layers go through there (see `benchmark.backbones.linear`) trains stacked as well."""
    monkeypatch.setattr("benchmark.backbones.linear.ONEDNN", torch.backends.mkldnn.is_available())
    monkeypatch.setattr("benchmark.backbones.linear.MIN_PRODUCTS", 1)
    _, losses, _, expected = _trained("mlp", torch.float32, _elbo)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)
