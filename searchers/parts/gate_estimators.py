"""Gates v on the latents and estimators of d E[f(v)] / d logits: ARM and what 2003.10901, II-B sets it against."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from searchers.parts.gates import antithetic_gates, arm_gradient

ErrorOf = Callable[[Tensor], Tensor]
"""f of other gates [n], without a graph: one more pass through the decoder."""

# Louizos et al. 2018, section 4: beta, and the interval (gamma, zeta) the concrete distribution is stretched to.
CONCRETE_TEMPERATURE = 2 / 3
CONCRETE_LOW, CONCRETE_HIGH = -0.1, 1.1

START = 2.94  # the logit that gates start at: sigma(2.94) = 0.95 (2003.10901, section IV)


class GateEstimator(ABC):
    """One way to learn gates' logits from the error f(v) of gates drawn by u ~ U(0, 1)^n.

    The estimate is `gradient` plus what backpropagation from f through `gates` to the logits gives, and either may be
    nothing. Shapes: logits, u and gates [n], errors scalar; or [N, n] and [N, 1], N draws at once. Whatever the
    estimator, a latent stays in the finished model where its logit is above 0, and its gate counts as 1 there.

    lowest: logits are kept from falling below. counts: whether the penalty's sum is the expected number of open gates.
    """

    lowest: ClassVar[float] = -math.inf
    counts: ClassVar[bool] = True

    @abstractmethod
    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        """The gates in use; with a graph to the logits only where the estimate goes through it."""

    def are_open(self, logits: Tensor, gates: Tensor) -> Tensor:
        """Which of the gates in use count as open, bool [n]. Others may pass something, where they are not 0."""
        return gates > 0

    def gradient(self, logits: Tensor, u: Tensor, error: Tensor, baseline: Tensor, error_of: ErrorOf) -> Tensor:
        """The part [n] of the estimate that does not come by backpropagation; by default there is none.

        error: f of the gates in use. baseline: a guess of it that does not depend on u. None has a graph.
        """
        return torch.zeros_like(logits)

    def penalty(self, logits: Tensor) -> Tensor:
        """What each gate costs, [n]: P(v_j > 0), whose sum is the L0 norm expected."""
        return torch.sigmoid(logits)


class Arm(GateEstimator):
    """Unbiased, for a second pass without a graph (Yin & Zhou 2019; 2003.10901, equation 12)."""

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        return antithetic_gates(logits.detach(), u)[1]

    def gradient(self, logits: Tensor, u: Tensor, error: Tensor, baseline: Tensor, error_of: ErrorOf) -> Tensor:
        return arm_gradient(error_of(antithetic_gates(logits, u)[0]), error, u)


class Reinforce(GateEstimator):
    """Unbiased with any baseline, in one pass: (f(v) - baseline) d log p(v) / d logits (Williams 1992)."""

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        return antithetic_gates(logits.detach(), u)[1]

    def gradient(self, logits: Tensor, u: Tensor, error: Tensor, baseline: Tensor, error_of: ErrorOf) -> Tensor:
        return (error - baseline) * (self.gates(logits, u) - torch.sigmoid(logits))


class StraightThrough(GateEstimator):
    """Binary gates forward, the gradient of sigma(logits) backward (Bengio et al. 2013). One pass.

    Of the two usual forms this is the one with sigma's derivative: exact where f is linear in each gate, and biased by
    f's curvature along each gate elsewhere. The form without it has the wrong scale even for a linear f.
    """

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        return antithetic_gates(logits.detach(), u)[1] + (p - p.detach())


class HardConcrete(GateEstimator):
    """Gates of a stretched and clipped binary concrete distribution, log alpha = logits (Louizos et al. 2018).

    One pass. Unbiased for E[f] of these gates, which are often between 0 and 1; biased for binary ones. The paper's
    gate at test time, clip(sigma(log alpha) (zeta - gamma) + gamma), is above 0.5 exactly where log alpha > 0: there it
    counts as 1 here and elsewhere as 0, since a latent is either kept or removed.
    """

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        s = torch.sigmoid((u.logit() + logits) / CONCRETE_TEMPERATURE)
        return (s * (CONCRETE_HIGH - CONCRETE_LOW) + CONCRETE_LOW).clamp(0, 1)

    def penalty(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits - CONCRETE_TEMPERATURE * math.log(-CONCRETE_LOW / CONCRETE_HIGH))


class Gaussian(GateEstimator):
    """Gates v ~ N(1, alpha), logits = -log alpha: a variational information bottleneck (Dai et al. 2018, 1802.10399).

    One pass. Unbiased for E[f] of these gates, biased for binary ones. The paper's gate is N(m, alpha m^2); its m is 1
    here, since the decoder's first layer is as free to scale a latent as m is. Its cost is the KL to N(0, s^2) at the
    best s^2, log(1 + 1 / alpha) / 2 nats. Open means more signal than noise, alpha < 1: the paper's threshold; the rest
    of the gates stays as noise until the training ends.
    """

    counts = False

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        tiny = torch.finfo(u.dtype).eps / 2
        epsilon: Tensor = torch.special.ndtri(u.clamp(tiny, 1 - tiny))
        return 1 + torch.exp(-logits / 2) * epsilon

    def are_open(self, logits: Tensor, gates: Tensor) -> Tensor:
        return logits > 0

    def penalty(self, logits: Tensor) -> Tensor:
        return 0.5 * F.softplus(logits)


class L1(GateEstimator):
    """Gates without noise, v = logits / START >= 0, that cost their L1 norm: what L0 is to improve on (2003.10901).

    One pass. Exact for f of these gates, biased for binary ones. A gate is closed at 0, where the projection holds it
    while f would lose less than its cost. Open gates are shrunk too, which the decoder makes up for: a finished model
    without them decodes on another scale, so the size found is all that counts.
    """

    lowest = 0.0
    counts = False

    def gates(self, logits: Tensor, u: Tensor) -> Tensor:
        return logits / START

    def penalty(self, logits: Tensor) -> Tensor:
        return logits / START


Estimator = Literal["arm", "reinforce", "straight-through", "hard-concrete", "gaussian", "l1"]
ESTIMATORS: dict[Estimator, GateEstimator] = {
    "arm": Arm(),
    "reinforce": Reinforce(),
    "straight-through": StraightThrough(),
    "hard-concrete": HardConcrete(),
    "gaussian": Gaussian(),
    "l1": L1(),
}
