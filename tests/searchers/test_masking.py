"""ARD, sigma and beta: their losses in closed form, and which latents their readings keep."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from searchers.in_training.ard import ARD, ARDController
from searchers.in_training.sigma import Sigma, SigmaController
from searchers.masking import Masking, settled
from searchers.parts.likelihoods import Bernoulli
from searchers.parts.objectives import elbo_loss, kl_per_dim
from searchers.testing.model import ToyVAE, toy_images
from searchers.whole_run.beta import BetaController

N, EPOCHS = 4, 10
X = toy_images(0)[:32]


def loss_of(own: Masking, vae: ToyVAE) -> float:
    return float(own.loss(vae, X, Generator().manual_seed(0)).total.detach())


@pytest.fixture
def vae() -> ToyVAE:
    return ToyVAE(N, seed=1)


@torch.no_grad()
def parts_of(vae: ToyVAE) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log-variance and squared errors for the noise that `loss_of` draws."""
    mean, logvar = vae.encode(X)
    z = mean + (0.5 * logvar).exp() * torch.empty_like(mean).normal_(generator=Generator().manual_seed(0))
    return mean, logvar, Bernoulli().squared_error(vae.decode(z), X)


def test_beta_weighs_the_kl(vae: ToyVAE) -> None:
    mean, logvar, _ = parts_of(vae)
    elbo = float(elbo_loss(vae, X, Generator().manual_seed(0)).total.detach())
    assert loss_of(BetaController(1.0, N, EPOCHS), vae) == pytest.approx(elbo)
    more = 2 * float(kl_per_dim(mean, logvar).sum() / len(X))
    assert loss_of(BetaController(3.0, N, EPOCHS), vae) == pytest.approx(elbo + more)


def test_sigma_at_its_optimum_is_no_worse_than_any_variance(vae: ToyVAE) -> None:
    mean, logvar, errors = parts_of(vae)
    kl, pixels = float(kl_per_dim(mean, logvar).sum() / len(X)), X[0].numel()

    def gaussian(variance: float) -> float:
        normal = torch.distributions.Normal(0.0, math.sqrt(variance))
        constant = -float(normal.log_prob(torch.tensor(0.0)))
        return pixels * constant + float(errors.mean()) / (2 * variance) + kl

    best = float(errors.mean()) / pixels
    own = SigmaController(Sigma(), N, EPOCHS)
    assert loss_of(own, vae) == pytest.approx(gaussian(best), rel=1e-5)
    assert own.traces()["decoder_variance"] == pytest.approx(best, rel=1e-5)
    assert gaussian(best) < min(gaussian(0.9 * best), gaussian(1.1 * best))
    learned = SigmaController(Sigma(variance="learned"), N, EPOCHS)
    assert loss_of(learned, vae) == pytest.approx(gaussian(1.0), rel=1e-5)


def test_sigma_learns_the_variance_that_is_best(vae: ToyVAE) -> None:
    own = SigmaController(Sigma(variance="learned"), N, EPOCHS)
    optimizer = torch.optim.Adam([own.log_variance], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        torch.autograd.backward(own.loss(vae, X, Generator().manual_seed(0)).total)
        optimizer.step()
    expected = float(parts_of(vae)[2].mean()) / X[0].numel()
    assert own.traces()["decoder_variance"] == pytest.approx(expected, rel=0.01)


def test_ard_has_the_kl_to_its_own_prior(vae: ToyVAE) -> None:
    mean, logvar, errors = parts_of(vae)
    own = ARDController(ARD(weight=0.5), N, EPOCHS)
    own.variance.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]))
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    prior = torch.distributions.Normal(torch.zeros(N), own.variance.sqrt())
    kl = float(torch.distributions.kl_divergence(posterior, prior).sum() / len(X))
    assert loss_of(own, vae) == pytest.approx(float(errors.mean()) + 0.5 * kl, rel=1e-5)


class Seen:
    """What a controller sees of a model: fixed sensitivities and a posterior."""

    def __init__(self, sensitivities: list[float], mean: float = 0.0, variance: float = 1.0) -> None:
        self.sensitivities, self.mean, self.variance = sensitivities, mean, variance

    def sensitivity(self, n_images: int) -> Tensor:
        return torch.tensor(self.sensitivities)

    def posterior(self) -> tuple[Tensor, Tensor]:
        return torch.full((50, N), self.mean), torch.full((50, N), math.log(self.variance))


def history(epochs: int, **latents: list[float]) -> pd.DataFrame:
    arrays = {name: [np.array(values)] * epochs for name, values in latents.items()}
    return pd.DataFrame({"latent_kl": [np.arange(N)] * epochs, **arrays})


def read(own: Masking, seen: Any, *, epoch: int = EPOCHS - 1, **latents: list[float]) -> list[bool]:
    own.after_epoch(history(epoch, **latents), seen)
    return own.open_latents().tolist()


def test_ard_keeps_the_fewest_with_the_share() -> None:
    own = ARDController(ARD(share=0.9), N, EPOCHS)
    assert read(own, Seen([6.0, 0.4, 3.0, 0.4])) == [True, False, True, False]
    assert read(own, Seen([6.0, 0.6, 3.0, 0.5])) == [True, True, True, False]
    assert read(own, Seen([9.9, 0.01, 0.01, 0.0])) == [True, False, False, True]  # two stay: that of the highest KL


def test_ards_variance_is_the_mean_square_of_z() -> None:
    own = ARDController(ARD(), N, EPOCHS)
    read(own, Seen([1.0] * N, mean=1.0, variance=0.5))
    assert own.prior_variance().tolist() == pytest.approx([1.5] * N)
    read(own, Seen([1.0] * N, mean=1.0, variance=0.5))  # in units of the prior's standard deviation
    assert own.prior_variance().tolist() == pytest.approx([2.25] * N)


def test_sigma_and_beta_read_the_statistics() -> None:
    sigma, beta = SigmaController(Sigma(), N, EPOCHS), BetaController(1.0, N, EPOCHS)
    assert read(sigma, None, latent_variance_mean=[0.1, 0.49, 0.5, 1.0]) == [True, True, False, False]
    assert read(beta, None, latent_mean_variance=[0.9, 0.011, 0.01, 0.02]) == [True, True, False, True]


def test_it_reads_in_the_last_epochs_but_the_very_last() -> None:
    own = BetaController(1.0, N, EPOCHS)
    for epoch in (1, EPOCHS - 6, EPOCHS):
        assert read(own, None, epoch=epoch, latent_mean_variance=[0.9, 0.9, 0.0, 0.0]) == [True] * N
    assert read(own, None, epoch=EPOCHS - 5, latent_mean_variance=[0.9, 0.9, 0.9, 0.0]) == [True, True, True, False]
    own = BetaController(1.0, N, EPOCHS)
    own.after_epoch(history(1, latent_mean_variance=[0.0] * N), Seen([]))
    assert own.traces()["open"] == N


def test_settled() -> None:
    assert settled(pd.DataFrame({"ctl_open": [9, 4, 4, 4, 4, 4]}))
    assert not settled(pd.DataFrame({"ctl_open": [4, 4, 4, 4, 5]})) and not settled(pd.DataFrame({"ctl_open": [4, 4]}))
