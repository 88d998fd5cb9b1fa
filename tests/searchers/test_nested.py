"""Nested: its loss against exact enumeration, the law of k, when it compares, and what it does with what it sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from searchers.base import KEEP_ALL, Assessment, ChoiceRule, Decision, SearchSpace, Trial
from searchers.in_training.nested import Nested, NestedController, log_spaced
from searchers.parts.likelihoods import Bernoulli, bernoulli_nll
from searchers.parts.objectives import kl_per_dim
from searchers.testing import ToyProblem
from searchers.testing.model import ToyVAE, toy_images

N = 8


class Recording:
    """A VAE that remembers what it decodes. Its latents are 1 with hardly any noise."""

    latent_dim = N
    likelihood = Bernoulli()

    def __init__(self) -> None:
        self.decoded = torch.empty(0)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(len(x), N), torch.full((len(x), N), -40.0)

    def decode(self, z: Tensor) -> Tensor:
        self.decoded = z
        return z.sum(1, keepdim=True).unflatten(1, (1, 1, 1))


def controller(epochs: int = 20, **settings: Any) -> NestedController:
    return NestedController(Nested(**settings), ToyProblem(epochs=epochs, space=SearchSpace(2, N, (2, N))))


@pytest.mark.parametrize("law", ["uniform", "log-uniform"])
def test_the_law_of_k(law: str) -> None:
    vae, n_images = Recording(), 40_000
    controller(law=law).loss(vae, torch.zeros(n_images, 1, 1, 1), Generator().manual_seed(0))
    kept = vae.decoded > 0.5
    sizes = kept.sum(1)
    assert torch.equal(kept, torch.arange(N) < sizes[:, None])  # the first ones, at least one
    k = np.arange(1, N + 1)
    expected = np.full(N, 1 / N) if law == "uniform" else np.log((k + 1) / k) / math.log(N + 1)
    found = np.bincount(sizes, minlength=N + 1)[1:] / n_images
    np.testing.assert_allclose(found, expected, atol=4 * math.sqrt(0.25 / n_images))


def test_the_loss_is_the_mean_over_sizes_of_the_elbo_of_each() -> None:
    """Over many draws of k and of the noise, against every size in turn with many draws of the noise."""
    vae, x, own = ToyVAE(N, seed=1), toy_images(0)[:16], controller()
    generator, many = Generator().manual_seed(0), x.repeat(4_000, 1, 1, 1)
    with torch.no_grad():
        found = float(own.loss(vae, many, generator).total)
        mean, logvar = vae.encode(many)
        exact = []
        for k in range(1, N + 1):
            z = mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=generator)
            z[:, k:] = 0
            exact.append(float(bernoulli_nll(vae.decode(z), many) + kl_per_dim(mean, logvar)[:, :k].sum() / len(many)))
    assert max(exact) - min(exact) > 0.25
    assert found == pytest.approx(np.mean(exact), abs=0.02)


def test_it_compares_three_times_before_it_chooses() -> None:
    def due(epochs: int, **settings: float) -> list[int]:
        own, sees, found = controller(epochs, **settings), Seen(), []
        for epoch in range(1, epochs + 1):
            before = len(sees.asked)
            sees.best = 2 if before % 2 else 6  # never the same twice in a row
            own.after_epoch(rows(epoch), sees)
            found += [epoch] * (len(sees.asked) > before)
        return found

    assert due(20) == [4, 6, 8, 10, 12, 14] and due(150) == [30, 45, 60, 75, 90, 105]
    assert due(20, share=0.2, longest=0.2) == [2, 3, 4]
    assert due(5) == [1, 2, 3, 4] and due(2) == [1] and due(1) == []


def rows(epoch: int, latent_dim: int = N) -> pd.DataFrame:
    """All latents are in use."""
    images_seen = [1000 * (i + 1) for i in range(epoch)]
    latents = {name: [np.ones(latent_dim)] * epoch for name in ("latent_mean_variance", "latent_kl")}
    return pd.DataFrame({"latent_dim": [latent_dim] * epoch, "images_seen": images_seen, **latents})


class Seen:
    """A model whose first `best` latents are worth all that there is, 10 nats, and fewer nothing."""

    def __init__(self, best: int = 4) -> None:
        self.best = best
        self.asked: list[tuple[list[int], int | None]] = []

    def losses(self, keeps: Sequence[Sequence[int]], decodes: int) -> list[Assessment]:
        assert all(list(keep) == list(range(len(keep))) for keep in keeps)
        self.asked.append(([len(keep) for keep in keeps], decodes))
        return [self._assessed(len(keep)) for keep in keeps]

    def evaluate(self, keep: Sequence[int]) -> Assessment:
        self.asked.append(([len(keep)], None))
        return self._assessed(len(keep))

    def _assessed(self, size: int) -> Assessment:
        value = 72.0 if size >= self.best else 82.0
        names = ("fid_recon", "fid_gen", "recon_nll", "silhouette", "kid_gen")
        metrics = {name: value if name == "recon_nll" else math.nan for name in names}
        return Assessment(size, metrics, dict.fromkeys(names, 0.0), np.full(100, value))


def decisions(own: NestedController, sees: Sequence[Seen], latent_dim: int = N) -> list[Decision]:
    return [own.after_epoch(rows(epoch, latent_dim), seen) for epoch, seen in enumerate(sees, start=1)]


def test_it_cuts_to_a_size_chosen_twice_in_a_row() -> None:
    own, seen = controller(), Seen(4)
    found = decisions(own, [seen] * 8)
    assert found == [KEEP_ALL] * 7 + [Decision(keep=(0, 1, 2, 3))]
    assert own.is_chosen and own.traces()["size"] == 4 and own.traces()["stable"] == 1
    assert own.traces()["share_4"] == 1 and own.traces()["gap"] == pytest.approx(10)
    # 0.3 of the images of 20 epochs, for three comparisons of seven sizes
    assert seen.asked == [(list(range(2, N + 1)), round(0.3 * 20_000 / 21))] * 3
    assert own.after_epoch(rows(9, 4), seen) == KEEP_ALL and own.traces() == {} and len(seen.asked) == 3


@pytest.mark.parametrize(
    ("mean_variance", "kl", "expected"),
    [
        ([0.9, 0.001, 0.5, 0.02, 0.009], [2.0, 0.1, 1.0, 0.2, 0.3], (0, 2, 3)),
        ([0.9, 0.001, 0.001, 0.001, 0.009], [2.0, 0.1, 0.2, 0.4, 0.3], (0, 3)),  # two is the space's smallest
        ([0.0] * 5, [0.1, 0.2, 0.5, 0.4, 0.3], (2, 3)),
        ([1.0] * 5, [1.0] * 5, None),
    ],
    ids=["unused go", "too few", "none", "all"],
)
def test_latents_out_of_use_go_before_the_last_epoch(
    mean_variance: list[float], kl: list[float], expected: tuple[int, ...] | None
) -> None:
    own = controller()
    own.is_chosen.fill_(True)
    for epoch in (18, 19, 20):
        history = rows(epoch, 5)
        history["latent_mean_variance"], history["latent_kl"] = [mean_variance] * epoch, [kl] * epoch
        assert own.after_epoch(history, Seen()).keep == (expected if epoch == 19 else None)


class Trained(ToyProblem):
    """Its training has been done, and ends with 4 latents."""

    def __init__(self, history: pd.DataFrame) -> None:
        super().__init__()
        self.trial = Trial(0, 4, history, Seen().evaluate(range(4)))

    def train(self, *_: Any, **__: Any) -> Trial:
        return self.trial


def test_the_size_without_unused_latents_is_among_those_as_good() -> None:
    """7 of 1, ..., 8 is chosen and 4 of them are in use: the 4 have the share of the 7."""
    seen = {"size": 7.0, "stable": 1.0, "gap": 10.0, "shown": 1.0, "share_7": 0.6, "share_8": 0.4}
    history = rows(3).assign(**{f"ctl_{name}": [value, math.nan, math.nan] for name, value in seen.items()})
    found = Nested().search(Trained(history))
    assert found.latent_dim == 4 and found.as_good == (4, 8)
    assert found.evidence is not None and found.evidence.shares == (0.6, 0.4)


def test_a_size_beside_the_last_is_stable_and_another_is_not() -> None:
    assert decisions(controller(), [Seen(4)] * 7 + [Seen(5)])[-1] == Decision(keep=(0, 1, 2, 3, 4))
    own = controller()
    found = decisions(own, [Seen(4)] * 7 + [Seen(6)] * 3)
    assert found[7] == KEEP_ALL and own.traces()["stable"] == 1 and found[9] == Decision(keep=tuple(range(6)))


def test_without_agreement_it_chooses_at_the_latest_and_is_not_settled() -> None:
    own = controller()
    found = decisions(own, [Seen(2 if epoch % 4 else 6) for epoch in range(1, 15)])
    assert found[:13] == [KEEP_ALL] * 13 and found[13].keep is not None and own.traces()["stable"] == 0


def test_growing_doubles_while_the_largest_size_is_chosen() -> None:
    own = controller(grow=True)
    assert decisions(own, [Seen(N)] * 8)[-1] == Decision(add=N) and not own.is_chosen
    sees = Seen(11)
    found = [own.after_epoch(rows(epoch, 2 * N), sees) for epoch in range(9, 13)]
    assert found[:3] == [KEEP_ALL] * 3 and found[3].keep == tuple(range(11))
    assert sees.asked[0][0] == log_spaced(2, 2 * N)
    assert decisions(controller(), [Seen(N)] * 8)[-1] == Decision(keep=tuple(range(N)))  # by itself it does not


def test_nothing_to_learn_is_the_smallest_size() -> None:
    assert decisions(controller(), [Seen(N + 1)] * 8)[-1] == Decision(keep=(0, 1))


def test_mean_ranks_need_every_metric() -> None:
    own, seen = controller(), Seen(4)
    own.rule = ChoiceRule("mean-rank")
    decisions(own, [seen] * 8)
    assert seen.asked == [([size], None) for size in range(2, N + 1)] * 3


def test_twelve_sizes_about_as_far_apart() -> None:
    assert log_spaced(2, 64) == [2, 3, 4, 5, 7, 10, 13, 18, 25, 34, 47, 64]
    assert log_spaced(4, 6) == [4, 5, 6] and log_spaced(3, 3) == [3]


def test_longest_below_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share is 0\.5 and longest 0\.4; expected share <= longest"):
        Nested(share=0.5, longest=0.4)
