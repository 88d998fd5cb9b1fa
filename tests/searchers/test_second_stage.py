"""The second VAE on the codes: its loss in closed form, what it learns, and that the model generates through it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from searchers.in_training.sigma import SecondStageController, Sigma
from searchers.parts.objectives import noise_dim, prior_codes
from searchers.parts.second_stage import SecondStage
from searchers.testing.model import ToyVAE, toy_images
from searchers.testing.problem import ToyProblem

N = 2


def moments(z: Tensor) -> Tensor:
    """Means, covariance, skewness and kurtosis of each column of codes [B, n], in one row."""
    centred = z - z.mean(0)
    scaled = centred / centred.std(0)
    return torch.cat([z.mean(0), z.T.cov().flatten(), scaled.pow(3).mean(0), scaled.pow(4).mean(0)])


def codes(n: int, generator: Generator) -> Tensor:
    """A noisy ring beside the origin, [n, 2], far from N(0, I)."""
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    noise = 0.1 * torch.randn(n, N, generator=generator)
    return torch.stack([angle.cos() + 0.5, 2 * angle.sin()], dim=1) + noise


def test_its_samples_have_the_moments_of_codes_that_are_not_normal() -> None:
    generator, stage = torch.Generator().manual_seed(0), SecondStage(N)
    optimizer = torch.optim.Adam(stage.parameters(), lr=1e-3)
    for _ in range(1_000):
        optimizer.zero_grad()
        torch.autograd.backward(stage.loss(codes(256, generator), generator))
        optimizer.step()
    true = moments(codes(100_000, generator))
    with torch.no_grad():
        learned = moments(stage(torch.randn(100_000, 2 * N, generator=generator)))
    normal = moments(torch.randn(100_000, N, generator=generator))
    assert float((learned - true).norm()) < 0.3 * float((normal - true).norm())


def test_its_loss_is_the_negative_elbo_of_a_gaussian_decoder() -> None:
    stage, z = SecondStage(N), torch.randn(50, N, generator=torch.Generator().manual_seed(1))
    stage.log_variance.data.fill_(-0.7)
    with torch.no_grad():
        mean, logvar = stage.heads(torch.cat([stage.encoder(z), z], 1)).chunk(2, 1)
        epsilon = torch.empty_like(mean).normal_(generator=Generator().manual_seed(0))
        decoded = stage(torch.cat([mean + (0.5 * logvar).exp() * epsilon, torch.zeros_like(z)], 1))
        nll = -torch.distributions.Normal(decoded, math.exp(-0.35)).log_prob(z).sum(1).mean()
        posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
        kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
        assert float(stage.loss(z, Generator().manual_seed(0))) == pytest.approx(float(nll + kl), rel=1e-5)


def test_the_model_generates_through_it_and_is_else_the_same() -> None:
    vae, controller = ToyVAE(N, seed=1), SecondStageController(N, seed=0)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    noise = torch.randn(20, 2 * N, generator=torch.Generator().manual_seed(0))
    assert noise_dim(vae) == N and prior_codes(vae, noise[:, :N]) is not None
    torch.autograd.backward(controller.loss(vae, toy_images(0)[:32], Generator()).total)
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert all(parameter.grad is not None for parameter in controller.parameters())
    controller.fold(vae)
    assert noise_dim(vae) == 2 * N and torch.equal(prior_codes(vae, noise), controller.stage(noise))
    assert all(torch.equal(value, vae.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("retrain", [True, False])
def test_it_goes_on_from_the_model_that_would_be_handed_over(retrain: bool) -> None:
    toy = ToyProblem(epochs=12)
    choice = Sigma(retrain=retrain, second_stage=0.5).search(toy)
    assert toy.asked[-1].continues and toy.asked[-1].epochs == 6
    assert choice.trial is toy.trials[-1] and len(toy.trials) == 2 + retrain
