"""Sparsity: which latents it removes, and when."""

import numpy as np
import pandas as pd
import pytest

from searchers.in_training.sparsity import Sparsity, SparsityController
from searchers.testing import ToyProblem
from searchers.testing.problem import OPTIMUM


def test_sparsity_waits_for_a_stable_active_set() -> None:
    """The toy's latents die in epoch 3: with 5 stable epochs, those of 3 to 7, they go after epoch 7."""
    choice = Sparsity(start_latent_dim=32).search(ToyProblem())
    assert choice.trial.history["latent_dim"].tolist() == [32] * 7 + [OPTIMUM] * 5
    assert choice.trial.history["latent_id"].iloc[-1].tolist() == list(range(OPTIMUM))
    assert choice.trial.history["ctl_active"].tolist() == [32] * 2 + [OPTIMUM] * 10
    assert choice.trial.history["ctl_variance_law"].iloc[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(("wait", "kept"), [(None, ((0, 1), 3)), (0.25, ((0, 1), 3)), (0.75, ((0, 1, 2), 9))])
def test_sparsity_that_waits_keeps_a_latent_that_is_learned_late(
    wait: float | None, kept: tuple[tuple[int, ...], int]
) -> None:
    """Of four latents the third is off until epoch 6: the first decision, and the epoch after which it comes."""
    controller = SparsityController(Sparsity(stable_epochs=3, wait=wait), 4, epochs=12)
    rows = [
        {"latent_dim": 4, "latent_mean_variance": np.array(means), "latent_variance_mean": 1 - np.array(means)}
        for means in [[0.9, 0.9, 0.0, 0.0]] * 6 + [[0.9, 0.9, 0.9, 0.0]] * 6
    ]
    decisions = [controller.after_epoch(pd.DataFrame(rows[: epoch + 1]), None).keep for epoch in range(12)]
    assert next((keep, epoch + 1) for epoch, keep in enumerate(decisions) if keep) == kept


def test_sparsity_removes_what_is_off_and_stable() -> None:
    """A latent is off where its mean hardly varies and its variance is near 1; one change starts the count anew."""
    controller = SparsityController(Sparsity(stable_epochs=3), 4, epochs=12)
    off, off_for_now = [1e-4, 1e-4, 0.5, 0.9], [1e-4, 1e-4, 1e-4, 0.9]  # var(mean)
    noise = [0.99, 0.4, 0.95, 0.95]  # mean(var): the second and third are in use by one of the two
    rows = [
        {"latent_dim": 4, "latent_mean_variance": np.array(means), "latent_variance_mean": np.array(noise)}
        for means in (off, off, off_for_now, off, off, off)
    ]
    decisions = [controller.after_epoch(pd.DataFrame(rows[: epoch + 1]), None).keep for epoch in range(6)]
    assert decisions == [None] * 5 + [(1, 2, 3)]
    assert controller.traces()["variance_law"] == pytest.approx(np.mean(np.add(off, noise)))


@pytest.mark.parametrize(
    ("mean_variance", "kept"), [([0, 0, 0.9, 0], (1, 2)), ([0, 0, 0, 0], (1, 3)), ([0.9, 0.9, 0.9, 0], (0, 1, 2))]
)
def test_sparsity_leaves_two_latents(mean_variance: list[float], kept: tuple[int, ...]) -> None:
    """With fewer than two active ones it waits for the last epoch but one; an active one stays, then the highest KL."""
    controller = SparsityController(Sparsity(stable_epochs=1), 4, epochs=6)
    row = {"latent_dim": 4, "latent_mean_variance": np.array(mean_variance), "latent_variance_mean": np.ones(4)}
    row["latent_kl"] = np.array([0.0, 3e-3, 1e-3, 2e-3])
    decisions = [controller.after_epoch(pd.DataFrame([row] * epoch), None).keep for epoch in range(1, 6)]
    assert controller.traces()["active"] == sum(value > 0 for value in mean_variance)
    assert decisions == ([kept] * 5 if len(kept) > 2 else [None] * 4 + [kept])


def test_sparsity_answers_two_where_fewer_latents_are_in_use() -> None:
    toy = ToyProblem(epochs=12, optimum=1)
    choice = Sparsity(start_latent_dim=32).search(toy)
    assert choice.trial.history["ctl_active"].tolist() == [32] * 2 + [1] * 10
    assert choice.trial.history["latent_dim"].tolist() == [32] * 11 + [2]
    assert choice.latent_dim == 2 and choice.settled is True


def test_the_soft_count_is_rounded_up_and_takes_the_smallest_variances() -> None:
    """5 - (0.3 + 0.9 + 0.2 + 1.0 + 1.01) = 1.59; by the two bounds a latent of variance 0.9 is in use too."""
    variances = np.array([0.3, 0.9, 0.2, 1.0, 1.01])
    row = {"latent_dim": 5, "latent_mean_variance": np.zeros(5), "latent_variance_mean": variances}
    kept = {}
    for reading in ("soft-count", "variances"):
        controller = SparsityController(Sparsity(stable_epochs=1, reading=reading), 5, epochs=6)
        kept[reading] = controller.after_epoch(pd.DataFrame([row]), None).keep
    assert kept == {"soft-count": (0, 2), "variances": (0, 1, 2)}


def test_the_soft_count_is_read_once() -> None:
    """Of latents that all have 0.2 a later reading would find fewer again: 16 of 20, then 13 of 16."""
    controller = SparsityController(Sparsity(stable_epochs=1, reading="soft-count"), 20, epochs=6)

    def row(n: int) -> dict[str, object]:
        arrays = {"latent_mean_variance": np.ones(n), "latent_variance_mean": np.full(n, 0.2), "latent_id": range(n)}
        return {"latent_dim": n, **arrays}

    history = pd.DataFrame([row(20)])
    assert controller.after_epoch(history, None).keep == tuple(range(16))
    history = pd.DataFrame([row(20), row(16)])
    assert controller.after_epoch(history, None).keep is None and controller.settled(history)
