"""ALD-VAE's rules on metric curves made so that each rule fires at a known epoch."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from searchers.base import Decision
from searchers.in_training.ald import ALD, ALDController, LossController
from searchers.parts.likelihoods import bernoulli_nll
from searchers.parts.objectives import kl_per_dim
from searchers.quantities import DECISION_METRICS
from searchers.testing import ToyProblem
from searchers.testing.model import ToyVAE, toy_images

Curve = Callable[[np.ndarray], np.ndarray]


def falling(t: np.ndarray) -> np.ndarray:
    return -t


def rising(t: np.ndarray) -> np.ndarray:
    return t


def v_at_30(t: np.ndarray) -> np.ndarray:
    """Its slope over a window of 20 epochs is first above 0 where the window ends in epoch 40."""
    return abs(t - 30.0)


class Run:
    """A controller fed with curves epoch by epoch. removed[e] is how many latents went after epoch e."""

    def __init__(self, settings: ALD, curves: Mapping[str, Curve] | Curve, seed: int = 0) -> None:
        self.controller = ALDController(settings, seed)
        self.curves = curves if isinstance(curves, Mapping) else dict.fromkeys(DECISION_METRICS, curves)
        assert settings.start_latent_dim is not None
        self.latent_dim = settings.start_latent_dim
        self.rows: list[dict[str, object]] = []
        self.decisions: dict[int, Decision] = {}
        self.removed: dict[int, int] = {}
        self.traces: dict[int, dict[str, float]] = {}

    def until(self, last_epoch: int) -> "Run":
        for epoch in range(len(self.rows) + 1, last_epoch + 1):
            row = {metric: float(curve(np.array(epoch))) for metric, curve in self.curves.items()}
            kl = np.random.default_rng(epoch).permutation(self.latent_dim)
            self.rows.append({"epoch": epoch, "latent_dim": self.latent_dim, "latent_kl": kl, **row})
            decision = self.controller.after_epoch(pd.DataFrame(self.rows), None)
            assert not decision.stop
            self.decisions[epoch], self.traces[epoch] = decision, self.controller.traces()
            if decision.keep is not None:
                assert list(decision.keep) == sorted(set(decision.keep)) and decision.keep[-1] < self.latent_dim
                self.removed[epoch] = self.latent_dim - len(decision.keep)
                self.latent_dim = len(decision.keep)
        return self


MANY = ALD(start_latent_dim=200)


def test_stop_rule_fires_at_its_epoch() -> None:
    run = Run(MANY, v_at_30).until(100)
    assert [epoch for epoch, traces in run.traces.items() if traces["removing"] == 0][0] == 40
    assert [traces["stopped"] for traces in run.traces.values()] == [0.0] * 39 + [1.0] * 61
    assert list(run.removed) == [5, 10, 15, 20, 25, 30, 35]  # none afterwards, though latents are left
    assert run.latent_dim > 100
    assert all(run.traces[40][f"slope_{metric}"] > 0 for metric in DECISION_METRICS)
    assert all(run.traces[39][f"slope_{metric}"] < 0 for metric in DECISION_METRICS)


@pytest.mark.parametrize("metric", DECISION_METRICS)
def test_every_metric_must_rise(metric: str) -> None:
    run = Run(MANY, {**dict.fromkeys(DECISION_METRICS, v_at_30), metric: falling}).until(100)
    assert list(run.removed) == list(range(5, 101, 5))
    assert run.traces[100]["removing"] > 0


def test_no_stop_without_a_full_window() -> None:
    run = Run(MANY, rising).until(40)
    assert list(run.removed) == [5, 10, 15]
    assert run.traces[19]["removing"] > 0 == run.traces[20]["removing"]


def test_stopping_is_for_good() -> None:
    """The metrics fall again after epoch 40, and no latent goes."""
    run = Run(MANY, lambda t: abs(t - 30.0) if t <= 40 else 1000.0 - 9 * t).until(120)
    assert max(run.removed) == 35
    assert run.traces[120]["slope_recon_nll"] < 0 == run.traces[120]["removing"]


def test_silhouette_slows_removal() -> None:
    """A silhouette of |t - 20| rises over ten epochs from epoch 25 on (its slope is first above 0 there)."""
    curves = {**dict.fromkeys(DECISION_METRICS, falling), "silhouette": lambda t: abs(t - 20.0)}
    run = Run(MANY, curves).until(60)
    assert [run.removed[epoch] for epoch in (5, 10, 15, 20)] == [5] * 4
    assert [run.removed[epoch] for epoch in range(25, 61, 5)] == [1] * 8
    assert run.traces[20]["removing"] == 5 and run.traces[25]["removing"] == 1


def test_slow_for_good_and_not_before_its_window() -> None:
    curves = {**dict.fromkeys(DECISION_METRICS, falling), "silhouette": lambda t: -abs(t - 10.0)}
    run = Run(MANY, curves).until(60)
    assert run.removed[5] == 5  # the silhouette rises, for fewer than ten epochs
    assert run.traces[60]["slope_silhouette"] < 0
    assert [run.removed[epoch] for epoch in range(10, 61, 5)] == [1] * 11


def test_settings_are_followed() -> None:
    settings = ALD(start_latent_dim=100, patience=3, decrease=7, slow_decrease=2, window=6, slow_window=4)
    curves = {**dict.fromkeys(DECISION_METRICS, lambda t: abs(t - 20.0)), "silhouette": lambda t: t if t > 9 else -t}
    run = Run(settings, curves).until(40)
    # the silhouette's last four epochs rise at 12; a window of six rises first at 24 (symmetric about 22.5 > 20: at 23)
    assert run.removed == {3: 7, 6: 7, 9: 7, 12: 2, 15: 2, 18: 2, 21: 2}


def test_never_below_two_latents() -> None:
    run = Run(ALD(start_latent_dim=9), falling).until(50)
    assert run.removed == {5: 5, 10: 2} and run.latent_dim == 2
    assert run.traces[50]["removing"] > 0  # the floor held, not the stop rule
    assert Run(ALD(start_latent_dim=9, min_latent_dim=6), falling).until(50).latent_dim == 6


def _history(epochs: int, latent_dim: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({metric: -np.arange(epochs) + 0.1 * rng.random(epochs) for metric in DECISION_METRICS})
    kl = [rng.random(latent_dim) for _ in range(epochs)]
    return frame.assign(latent_dim=latent_dim, latent_kl=pd.Series(kl))


def _removed(controller: ALDController, history: pd.DataFrame) -> tuple[int, ...]:
    keep = controller.after_epoch(history, None).keep
    assert keep is not None
    return tuple(sorted(set(range(history["latent_dim"].iloc[-1])) - set(keep)))


def test_random_removal_follows_from_seed_and_epoch_alone() -> None:
    fresh, used = ALDController(MANY, seed=1), ALDController(MANY, seed=1)
    for epochs in (5, 10, 15):
        _removed(used, _history(epochs, 200))
    at_20 = _removed(used, _history(20, 200))
    assert _removed(fresh, _history(20, 200, seed=9)) == at_20  # other metrics, no history of calls
    by_epoch = {_removed(used, _history(epochs, 200)) for epochs in (5, 10, 15, 20)}
    by_seed = {_removed(ALDController(MANY, seed), _history(20, 200)) for seed in range(4)}
    assert len(by_epoch) == len(by_seed) == 4


def test_random_removal_is_uniform() -> None:
    counts = np.zeros(10)
    for seed in range(400):
        for latent in _removed(ALDController(ALD(start_latent_dim=10, decrease=3), seed), _history(5, 10)):
            counts[latent] += 1
    assert counts.sum() == 1200
    assert abs(counts - 120).max() < 4 * np.sqrt(400 * 0.3 * 0.7)


def test_kl_removes_the_least_informative() -> None:
    history = _history(5, 20)
    kl = history["latent_kl"].iloc[-1]
    controller = ALDController(ALD(start_latent_dim=20, removal="kl"), seed=0)
    assert _removed(controller, history) == tuple(sorted(np.argsort(kl)[:5].tolist()))
    assert kl[list(_removed(controller, history))].max() < np.sort(kl)[5]


@pytest.mark.parametrize("removal", ["random", "kl"])
@pytest.mark.parametrize("cut", [22, 37, 72])
def test_state_survives_a_resume(removal: str, cut: int) -> None:
    """The silhouette's rise around epoch 10 slowed removal; the stop rule fires at 50: both must be remembered."""

    def silhouette(t: np.ndarray) -> np.ndarray:
        return -abs(t - 12.0) if t < 30 else abs(t - 40.0) - 28

    settings = ALD(start_latent_dim=150, removal=removal)
    curves = {
        **dict.fromkeys(DECISION_METRICS, lambda t: abs(t - 40.0) if t <= 60 else 80.0 - t),
        "silhouette": silhouette,
    }
    whole = Run(settings, curves).until(90)
    assert whole.removed[5] == 5 and set(list(whole.removed.values())[1:]) == {1} and max(whole.removed) == 45

    resumed, forgetful = Run(settings, curves).until(cut), Run(settings, curves).until(cut)
    state = resumed.controller.state_dict()
    for run in (resumed, forgetful):
        run.controller = ALDController(settings, seed=0)
    resumed.controller.load_state_dict(state)
    assert resumed.until(90).decisions == whole.decisions
    pd.testing.assert_frame_equal(pd.DataFrame(resumed.traces), pd.DataFrame(whole.traces))
    assert forgetful.until(90).decisions != whole.decisions


def test_without_the_stop_rule_removal_goes_on_as_before() -> None:
    """The rule fires at 40, is noted, and up to there the trainings are the same."""
    obeyed, ignored = Run(MANY, v_at_30).until(100), Run(replace(MANY, stop_rule=False), v_at_30).until(100)
    assert all(obeyed.decisions[epoch] == ignored.decisions[epoch] for epoch in range(1, 40))
    # over the ten epochs 26 to 35, symmetric about 30.5, the silhouette |t - 30| rises: one at a time from then on
    assert [ignored.removed[epoch] for epoch in range(5, 31, 5)] == [5] * 6
    assert [ignored.removed[epoch] for epoch in range(35, 101, 5)] == [1] * 14
    assert [traces["stopped"] for traces in ignored.traces.values()] == [0.0] * 39 + [1.0] * 61
    assert ignored.traces[100]["removing"] == 1 and obeyed.traces[100]["removing"] == 0


def test_without_the_stop_rule_a_training_ends_after_the_smallest_size() -> None:
    settings = ALD(start_latent_dim=13, min_latent_dim=3, stop_rule=False)
    run = Run(settings, falling).until(14)
    assert run.removed == {5: 5, 10: 5} and run.latent_dim == 3
    last = run.controller.after_epoch(
        pd.DataFrame([*run.rows, run.rows[-1]]), None
    )  # the 15th: five epochs at three latents
    assert last == Decision(stop=True)


def test_what_was_stopped_survives_a_resume() -> None:
    """The metrics fall again after 40; only the state remembers that the rule has fired."""
    settings = replace(MANY, stop_rule=False)
    run = Run(settings, lambda t: abs(t - 30.0) if t <= 40 else 1000.0 - 9 * t).until(60)
    state = run.controller.state_dict()
    run.controller = ALDController(settings, seed=0)
    run.controller.load_state_dict(state)
    assert run.until(100).traces[100]["stopped"] == 1 and run.traces[100]["slope_recon_nll"] < 0


class Rising(ToyProblem):
    """Every metric rises: the rule fires with its first full window, and the silhouette slows removal with its own."""

    def logged(self, row: dict[str, Any]) -> dict[str, Any]:
        return row | dict.fromkeys(DECISION_METRICS, float(row["epoch"]))


QUICK = ALD(start_latent_dim=20, patience=3, window=6)


def test_retraining_trains_the_size_found_from_scratch() -> None:
    toy = Rising(epochs=12)
    choice = replace(QUICK, retrain=True).search(toy)
    found, fresh = toy.trials
    assert [asked[:2] for asked in toy.asked] == [(20, 12), (15, 12)]
    assert found.history["latent_dim"].tolist() == [20] * 3 + [15] * 9
    assert found.history["ctl_stopped"].tolist() == [0] * 5 + [1] * 7
    assert choice.trial is fresh and fresh.history["latent_dim"].tolist() == [15] * 12
    assert "ctl_stopped" not in fresh.history  # no removal: plain ELBO training


def test_a_diverged_training_is_not_retrained() -> None:
    class Diverging(Rising):
        def logged(self, row: dict[str, Any]) -> dict[str, Any]:
            return super().logged(row) | {"train_loss": np.nan}

    toy = Diverging()
    assert replace(QUICK, retrain=True).search(toy).trial.number == 0 and len(toy.trials) == 1


def test_without_the_stop_rule_and_with_a_longer_budget_two_latents_are_reached() -> None:
    toy = Rising(epochs=12)
    choice = replace(QUICK, stop_rule=False, budget=2.0).search(toy)
    assert [asked[:2] for asked in toy.asked] == [(20, 24)]
    history = choice.trial.history  # 5 go at a time, 1 from epoch 12 on; it ends three epochs after the last went
    sizes = [size for size in (20, 15, 10, 5, 4, 3, 2) for _ in range(3)]
    assert history["latent_dim"].tolist() == sizes and history["ctl_stopped"].tolist() == [0] * 5 + [1] * 16
    assert choice.latent_dim == 2


def test_it_is_settled_once_its_stop_rule_has_fired() -> None:
    ald = ALD(start_latent_dim=32, window=10)
    before, after = (ald.search(Rising(epochs=epochs)) for epochs in (9, 10))
    assert after.trial.history["ctl_stopped"].iloc[-1] == 1
    assert (before.settled, after.settled) == (False, True)


# --- control by the loss

BY_LOSS = ALD(start_latent_dim=8, control="loss", removal="kl", decrease=1, patience=1, window=4, stagnation=0.05)


class LossRun:
    """A controller fed with the loss of each number of open latents, under a model without latents of 100 nats."""

    def __init__(self, settings: ALD, start: int = 8) -> None:
        problem = ToyProblem()
        problem.no_latents_nll = 100.0
        self.controller = LossController(settings, problem, start, epochs=50)
        self.rows: list[dict[str, object]] = []

    def until(self, last_epoch: int, loss: Callable[[int, int], float]) -> "LossRun":
        """loss: of the epoch and the number of open latents."""
        for epoch in range(len(self.rows) + 1, last_epoch + 1):
            n_open = int(self.controller.open_latents().sum())
            kl = np.arange(8.0)[::-1]  # the last latent has the lowest KL
            self.rows.append({"elbo": -loss(epoch, n_open), "latent_kl": kl})
            assert self.controller.after_epoch(pd.DataFrame(self.rows), None) == Decision()
        return self

    @property
    def is_open(self) -> list[bool]:
        return self.controller.open_latents().tolist()


def test_by_loss_nothing_goes_before_it_stagnates() -> None:
    """It falls by more than 5 % of what latents are worth in four epochs: 4 of 100 - 40."""
    run = LossRun(BY_LOSS).until(30, lambda epoch, _: 70.0 - epoch)
    assert all(run.is_open) and np.isnan(run.controller.traces()["noted"])
    run.until(35, lambda *_: 40.0)  # four epochs after the last fall by more than 3 nats, it is noted, and one goes
    assert run.controller.traces()["noted"] == 40.0 and sum(run.is_open) < 8


def test_by_loss_a_model_worth_nothing_does_not_stagnate() -> None:
    assert all(LossRun(BY_LOSS).until(40, lambda *_: 100.0).is_open)


def test_by_loss_latents_of_the_lowest_kl_go_until_the_loss_stays_above() -> None:
    """Five latents are needed: the fourth's absence is seen for four epochs, then it comes back and all is over."""

    def loss(epoch: int, n_open: int) -> float:
        return 40.0 if n_open >= 5 else 41.0

    run = LossRun(BY_LOSS).until(5, loss)
    assert run.is_open == [True] * 7 + [False]  # noted and the first gone in the first epoch after a full window
    run.until(8, loss)
    assert run.is_open == [True] * 4 + [False] * 4
    assert run.until(11, loss).is_open == [True] * 4 + [False] * 4
    assert run.until(12, loss).is_open == [True] * 5 + [False] * 3
    assert run.controller.traces()["removing"] == 0
    assert run.until(40, lambda *_: 1.0).is_open == [True] * 5 + [False] * 3  # for good


def test_by_loss_a_loss_that_comes_back_goes_on() -> None:
    run = LossRun(BY_LOSS).until(5, lambda *_: 40.0)
    run.until(8, lambda *_: 41.0)
    assert sum(run.is_open) == 7
    run.until(9, lambda *_: 40.0)
    assert sum(run.is_open) == 6 and run.controller.traces()["removing"] == 1


def test_by_loss_several_go_and_come_back_together_above_the_smallest_size() -> None:
    settings = replace(BY_LOSS, decrease=3, min_latent_dim=3)
    run = LossRun(settings).until(6, lambda *_: 40.0)
    assert sum(run.is_open) == 3  # 3, then what is left above the smallest size
    run.until(10, lambda *_: 41.0)
    assert run.is_open == [True] * 5 + [False] * 3 and run.controller.traces()["removing"] == 0


def test_by_loss_what_is_closed_is_out_of_the_loss() -> None:
    """The closed latents' heads get no gradient, so one that comes back is what it was."""
    controller, vae = LossRun(BY_LOSS, start=4).controller, ToyVAE(4, 0)
    controller.is_open.copy_(torch.tensor([True, False, True, False]))
    images = toy_images(0)[:16]
    total = controller.loss(vae, images, torch.Generator().manual_seed(1)).total
    torch.autograd.backward(total)
    for head in (vae.mean_head, vae.logvar_head):
        assert head.weight.grad is not None and head.weight.grad.abs().sum(1).gt(0).tolist() == [
            True,
            False,
            True,
            False,
        ]
    alone = copy.deepcopy(vae)
    alone.change_latents([0, 2], 0, torch.Generator())
    mean, logvar = alone.encode(images)
    noise = torch.empty(16, 4).normal_(generator=torch.Generator().manual_seed(1))[:, [0, 2]]
    logits = alone.decode(mean + (0.5 * logvar).exp() * noise)
    expected = bernoulli_nll(logits, images) + kl_per_dim(mean, logvar).sum() / 16
    torch.testing.assert_close(total, expected)


LAST_BACK = 18  # the epoch after which the sixth latent of the toy's comes back


@pytest.mark.parametrize("epochs", range(9, 25))
def test_by_loss_it_hands_over_what_was_evaluated_last(epochs: int) -> None:
    """Whether or not removal would have gone on; it is settled where no more would."""
    choice = replace(BY_LOSS, start_latent_dim=12, window=3).search(ToyProblem(epochs=epochs))
    history = choice.trial.history
    assert choice.latent_dim == history["latent_dim"].iloc[-1] and (epochs < 12 or choice.latent_dim < 12)
    is_over = bool(history["ctl_removing"].iloc[-1] == 0)
    assert choice.settled is is_over is (epochs > LAST_BACK)


def test_by_loss_the_smallest_size_settles_where_the_loss_allows_it() -> None:
    settings = replace(BY_LOSS, min_latent_dim=6)
    run = LossRun(settings).until(7, lambda *_: 40.0)
    assert sum(run.is_open) == 6 and run.controller.traces()["removing"] == 0
    assert sum(run.until(30, lambda *_: 41.0).is_open) == 6


def test_by_loss_it_hands_over_what_is_open() -> None:
    toy = ToyProblem(epochs=24)
    choice = replace(BY_LOSS, start_latent_dim=12, window=3).search(toy)
    sizes = choice.trial.history["latent_dim"].tolist()
    assert sizes[-1] == choice.latent_dim == 6 and min(sizes) == 5 and choice.settled
    assert not replace(BY_LOSS, start_latent_dim=12, window=3).search(ToyProblem(epochs=12)).settled
