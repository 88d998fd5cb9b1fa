"""What a decoder's outputs say of the values: the densities p(x | z), by name.

Everything that depends on the kind of data asks the model's likelihood: the loss, the reconstruction, the error, what
the encoder sees, what is generated. Losses are in nats per sample (an image, or a row of a table).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

Shape = tuple[int, ...]
MEAN_MARGIN = 0.01  # keeps mean values in [0, 1] away from 0 and 1, whose logits are infinite
LOWEST_LOG_VARIANCE = -12.0  # of a Gaussian: a standard deviation of 0.0025 (sigma-VAE's code, 2006.13202)
HIGHEST_LOG_RATE = 20.0  # of a count: its exponential is far inside of float32
HIGHEST_LOG_DISPERSION = 9.0  # beyond it a negative binomial is a Poisson, but for float32's rounding
SECTIONS, GOLDEN = 25, (5**0.5 - 1) / 2  # of the search for a dispersion


class Likelihood(nn.Module, ABC):
    """p(x | z), of independent values given the decoder's outputs; both are [B, *shape].

    Squared errors are taken in what the encoder sees, which for counts is their logarithm: `inputs`.
    """

    name: ClassVar[str]
    learns: ClassVar[bool] = False  # whether it has a state of its own, which training fits
    is_count: ClassVar[bool] = False  # whether it takes whole numbers, unscaled

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__()

    @abstractmethod
    def nll_of_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        """-log p(x | z) of each sample, summed over its values, [B] nats."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The expectation of x, in its units."""

    @abstractmethod
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Draws x, noise included. generator: on the outputs' device."""

    @abstractmethod
    def initial_outputs(self, mean: Tensor, margin: float = MEAN_MARGIN) -> Tensor:
        """The outputs whose expectation is this mean of x: the output layer's bias at the start.

        margin: how far means stay away from where no output reaches.
        """

    def fit(self, variance: Tensor, sample: Tensor) -> None:
        """Gives the own state the values of maximum likelihood for outputs that say the mean of each value alone.

        variance: of each value, [*shape]. sample: of x, [B, *shape], where the variance does not tell.
        """
        return None

    def nll(self, outputs: Tensor, x: Tensor) -> Tensor:
        """The mean over the batch of `nll_of_each`: nats per sample."""
        return self.nll_of_each(outputs, x).mean()

    def inputs(self, x: Tensor) -> Tensor:
        """What the encoder sees of x."""
        return x

    def reconstruct(self, outputs: Tensor) -> Tensor:
        """The expectation of x in the units of `inputs`."""
        return self.inputs(self.mean(outputs))

    def squared_error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """|reconstruct(outputs) - inputs(x)|^2 summed over the values of each sample, [B] (GECO's E before its mean).

        In training the likelihood's own state learns as by its NLL, so that objectives of errors leave a fitted model.
        """
        errors = (self.reconstruct(outputs) - self.inputs(x)).square().flatten(1).sum(1)
        if self.learns and self.training and torch.is_grad_enabled():
            own = self.nll_of_each(outputs.detach(), x)
            errors = errors + (own - own.detach())  # whose value is 0
        return errors


class Bernoulli(Likelihood):
    """Values in [0, 1]; the outputs are logits."""

    name = "bernoulli"

    def nll_of_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        return bernoulli_nll_of_each(outputs, x)

    def nll(self, outputs: Tensor, x: Tensor) -> Tensor:
        return bernoulli_nll(outputs, x)

    def mean(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs)

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(outputs), generator=generator)

    def initial_outputs(self, mean: Tensor, margin: float = MEAN_MARGIN) -> Tensor:
        return torch.logit(mean.clamp(margin, 1 - margin))


class _Normal(Likelihood, ABC):
    """A Gaussian. The mean of an image's values is the outputs' sigmoid, that of a vector's the outputs themselves."""

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__()
        self.is_image = len(shape) > 1

    @abstractmethod
    def log_variance(self, squared_errors: Tensor) -> Tensor:
        """The log-variance, a scalar or [*shape], of values with these squared errors [B, *shape]."""

    def nll_of_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        errors = (self.mean(outputs) - x).square()
        log_variance = self.log_variance(errors)
        if not log_variance.ndim:
            return normal_nll(errors.flatten(1).sum(1), x[0].numel(), log_variance)
        return normal_nll(errors, 1, log_variance).flatten(1).sum(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs) if self.is_image else outputs

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        mean = self.mean(outputs)
        sd = (0.5 * self.log_variance(torch.zeros_like(mean))).exp()
        return mean + sd * torch.empty_like(mean).normal_(generator=generator)

    def initial_outputs(self, mean: Tensor, margin: float = MEAN_MARGIN) -> Tensor:
        return torch.logit(mean.clamp(margin, 1 - margin)) if self.is_image else mean


class Gaussian(_Normal):
    """A variance of 1 in the network's units."""

    name = "gaussian"

    def log_variance(self, squared_errors: Tensor) -> Tensor:
        return squared_errors.new_zeros(())


class GaussianOptimal(_Normal):
    """One variance for all values (sigma-VAE, 2006.13202, equation 5): in training the mean squared error of the batch.

    In evaluation it is a number: the bench sets it to the mean squared error on validation data, on which no gradient
    is taken. By its training errors a network that knows the training data by heart would be far too sure of others.
    """

    name = "gaussian-optimal"
    variance: Tensor

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__(shape)
        self.register_buffer("variance", torch.tensor(1.0))

    def log_variance(self, squared_errors: Tensor) -> Tensor:
        variance = squared_errors.mean() if self.training else self.variance
        return variance.log().clamp(min=LOWEST_LOG_VARIANCE)

    def fit(self, variance: Tensor, sample: Tensor) -> None:
        self.variance.copy_(variance.mean())

    def best_nll(self, errors: Tensor, n_values: int) -> Tensor:
        """The NLL of samples, by their squared errors over so many values, under the variance that is best for them."""
        return normal_nll(errors, n_values, (errors.mean() / n_values).log().clamp(min=LOWEST_LOG_VARIANCE))


class GaussianLearned(_Normal):
    """A variance for each value, which is learned and the same for all samples."""

    name = "gaussian-learned"
    learns = True

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__(shape)
        self.raw_log_variance = nn.Parameter(torch.zeros(shape))

    def log_variance(self, squared_errors: Tensor) -> Tensor:
        return self.raw_log_variance.clamp(min=LOWEST_LOG_VARIANCE)

    def fit(self, variance: Tensor, sample: Tensor) -> None:
        self.raw_log_variance.data.copy_(variance.log())


class _Counts(Likelihood, ABC):
    """Whole numbers from 0; the outputs are the logarithm of their mean. The encoder sees log(1 + x).

    The NLL is in float64 outside of training: in float32 that of counts above 1e5 is wrong by nats.
    """

    is_count = True

    def precise(self, x: Tensor) -> Tensor:
        """x as the NLL is computed from it. Apple's GPUs have no float64."""
        return x if self.training or x.device.type == "mps" else x.double()

    def inputs(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def mean(self, outputs: Tensor) -> Tensor:
        return log_rate(outputs).exp()

    def initial_outputs(self, mean: Tensor, margin: float = MEAN_MARGIN) -> Tensor:
        return mean.clamp(min=margin).log()


class Poisson(_Counts):
    """Counts whose variance is their mean."""

    name = "poisson"

    def nll_of_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        rate, x = log_rate(self.precise(outputs)), self.precise(x)
        return (rate.exp() - x * rate + torch.lgamma(x + 1)).flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        return torch.poisson(self.mean(outputs), generator=generator)


class NegativeBinomial(_Counts):
    """Counts of mean m and variance m + m^2 / r; r is learned for each value and the same for all samples."""

    name = "negative-binomial"
    learns = True

    def __init__(self, shape: Shape = ()) -> None:
        super().__init__()
        self.raw_log_dispersion = nn.Parameter(torch.zeros(shape))

    @property
    def log_dispersion(self) -> Tensor:
        """log r, [*shape]."""
        return self.raw_log_dispersion.clamp(-HIGHEST_LOG_DISPERSION, HIGHEST_LOG_DISPERSION)

    def nll_of_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        log_mean, log_dispersion = log_rate(self.precise(outputs)), self.precise(self.log_dispersion)
        return negative_binomial_nll(log_mean, log_dispersion, self.precise(x)).flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: Generator) -> Tensor:
        dispersion = self.log_dispersion.exp().expand_as(outputs)
        gamma = torch._standard_gamma(dispersion, generator=generator)
        return torch.poisson(gamma * (self.mean(outputs) / dispersion), generator=generator)

    def fit(self, variance: Tensor, sample: Tensor) -> None:
        x, log_mean = sample.double(), sample.double().mean(0).clamp(min=1e-6).log()
        low, high = (torch.full_like(log_mean, end) for end in (-HIGHEST_LOG_DISPERSION, HIGHEST_LOG_DISPERSION))
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        of_left, of_right = (negative_binomial_nll(log_mean, at, x).sum(0) for at in (left, right))
        for _ in range(SECTIONS - 1):  # golden section, of each value by itself; one of the two NLLs is known
            is_left = of_left < of_right
            low, high = torch.where(is_left, low, left), torch.where(is_left, right, high)
            new = torch.where(is_left, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
            of_new = negative_binomial_nll(log_mean, new, x).sum(0)
            left, right = torch.where(is_left, new, right), torch.where(is_left, left, new)
            of_left, of_right = torch.where(is_left, of_new, of_right), torch.where(is_left, of_left, of_new)
        self.raw_log_dispersion.data.copy_((low + high) / 2)


def log_rate(outputs: Tensor) -> Tensor:
    """The logarithm of counts' mean, where its exponential cannot overflow."""
    return outputs.clamp(-HIGHEST_LOG_RATE, HIGHEST_LOG_RATE)


def negative_binomial_nll(log_mean: Tensor, log_dispersion: Tensor, x: Tensor) -> Tensor:
    """-log p of counts x of this mean m and dispersion r (variance m + m^2 / r), elementwise, nats."""
    r = log_dispersion.exp()
    log_success = F.logsigmoid(log_mean - log_dispersion)  # of m / (r + m)
    log_failure = F.logsigmoid(log_dispersion - log_mean)
    return torch.lgamma(r) + torch.lgamma(x + 1) - torch.lgamma(x + r) - r * log_failure - x * log_success


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | z) of a Bernoulli decoder, summed over the pixels and averaged over the batch: nats per image."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def bernoulli_nll_of_each(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x | z) of a Bernoulli decoder, summed over the pixels of each image, [B] nats."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def normal_nll(error: Tensor, dims: int, log_variance: Tensor) -> Tensor:
    """-log p of a normal distribution of one variance, in nats; error: the squared error summed over `dims` values."""
    return error / (2 * log_variance.exp()) + 0.5 * dims * (math.log(2 * math.pi) + log_variance)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind for kind in (Bernoulli, Gaussian, GaussianOptimal, GaussianLearned, Poisson, NegativeBinomial)
}


def make_likelihood(name: str, shape: Shape) -> Likelihood:
    """The likelihood of this name, one of LIKELIHOODS, for samples of this shape: (C, H, W), or (D,) for rows."""
    return LIKELIHOODS[name](shape)
