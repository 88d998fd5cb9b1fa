"""One contract that every searcher keeps, on a toy problem with a known answer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState
from toy import N_FACTORS, SSE, ToyProblem

from benchmark.suite.plan import make_searcher
from searchers import SEARCHERS
from searchers.base import Choice, Controller, Trial
from searchers.in_training.sparsity import Sparsity, SparsityController
from searchers.quantities import DECISION_METRICS, Weights, last_means
from searchers.whole_run.optuna_search import RandomSearch, SizeRange

OPTIMUM = 8  # ToyProblem's
SIZES = SizeRange(low=2, high=32, n_trials=6)


@dataclass(frozen=True)
class Case:
    """A searcher's settings in this suite and what must come of them.

    sizes: the range that the answer lies in. answer: the known one; None: the drawn size closest to the optimum.
    is_random: the seed changes which sizes or latents are tried.
    """

    settings: dict[str, Any]
    sizes: tuple[int, int]
    answer: int | None
    is_random: bool
    epochs: int = 12


CASES = {
    "grid": Case({"latent_dims": (2, 4, 8, 16, 32)}, (2, 32), OPTIMUM, is_random=False),
    "random": Case({"sizes": SIZES}, (2, 32), None, is_random=True),
    "tpe": Case({"sizes": SIZES, "n_startup": 3}, (2, 32), None, is_random=True),
    # 32 - 5 after epoch 5; the silhouette rises with that, so - 1 after epoch 10
    "ald": Case({"latent_dim": 32}, (2, 32), 26, is_random=True),
    "geco-l0arm": Case({"latent_dim": 8, "tau": SSE}, (1, 8), N_FACTORS, is_random=True, epochs=60),
    "sparsity": Case({"latent_dim": 32}, (2, 32), OPTIMUM, is_random=False),
}
WHOLE_RUN = ("grid", "random", "tpe")
OPTUNA = ("random", "tpe")
every_searcher = pytest.mark.parametrize("name", SEARCHERS)


def _search(name: str, seed: int = 0, **problem: Any) -> tuple[ToyProblem, Choice, Any]:
    case = CASES[name]
    searcher = SEARCHERS[name].load()(**case.settings)
    toy = ToyProblem(seed=seed, epochs=case.epochs, optimum=OPTIMUM, **problem)
    return toy, searcher.search(toy), searcher


def _decided(toy: ToyProblem) -> list[list[int]]:
    """Which latents each training ended with."""
    return [trial.history["latent_id"].iloc[-1].tolist() for trial in toy.trials]


@every_searcher
def test_choice_is_a_training(name: str) -> None:
    toy, choice, searcher = _search(name)
    low, high = CASES[name].sizes
    assert any(choice.trial is trial for trial in toy.trials)
    assert choice.latent_dim == choice.trial.latent_dim and low <= choice.latent_dim <= high
    assert searcher.n_trainings == len(toy.trials) >= 1
    assert all(epochs == toy.epochs for _, epochs in toy.starts)
    assert set(choice.pareto) <= {trial.number for trial in toy.trials}


@every_searcher
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_known_answer(name: str, seed: int) -> None:
    toy, choice, _ = _search(name, seed)
    tried = [trial.latent_dim for trial in toy.trials]
    closest = min(tried, key=lambda size: (abs(math.log2(size / OPTIMUM)), size))
    assert choice.latent_dim == (CASES[name].answer or closest)
    assert name not in WHOLE_RUN or choice.pareto


@every_searcher
def test_same_seed_same_search(name: str) -> None:
    (one, first, _), (two, second, _) = _search(name, 3), _search(name, 3)
    assert one.starts == two.starts and first.pareto == second.pareto
    assert first.trial.number == second.trial.number and first.latent_dim == second.latent_dim
    for a, b in zip(one.trials, two.trials, strict=True):
        pd.testing.assert_frame_equal(a.history, b.history, check_exact=True)


@every_searcher
def test_the_seed_matters_where_there_is_chance(name: str) -> None:
    (one, _, _), (two, _, _) = _search(name, 0), _search(name, 1)
    if name == "geco-l0arm":  # its latents go by their gates
        same = one.trials[0].history["ctl_gate_mass"].equals(two.trials[0].history["ctl_gate_mass"])
    else:
        same = one.starts == two.starts and _decided(one) == _decided(two)
    assert same != CASES[name].is_random


@every_searcher
def test_only_validation_decides(name: str) -> None:
    (one, first, _), (two, second, _) = _search(name, test_optimum=2), _search(name, test_optimum=64)
    columns = ["test_fid_gen", "train_loss"]
    assert not one.trials[0].history[columns].equals(two.trials[0].history[columns])
    assert first.trial.number == second.trial.number and first.latent_dim == second.latent_dim
    assert one.starts == two.starts and _decided(one) == _decided(two)


@pytest.mark.parametrize("name", WHOLE_RUN)
def test_no_finite_metrics(name: str) -> None:
    with pytest.raises(ValueError, match=r"none of [56] trainings has finite metrics in its last 5 epochs"):
        _search(name, finite=False)


@pytest.mark.parametrize("name", WHOLE_RUN)
def test_weights_favour_a_metric(name: str) -> None:
    """Silhouettes that fall with the size must win where they alone count."""

    class Problem(ToyProblem):
        def _row(self, epoch: int, ids: np.ndarray) -> dict[str, Any]:
            return super()._row(epoch, ids) | {"silhouette": 1 / len(ids)}

    weights = Weights(fid_recon=0, fid_gen=0, recon_nll=0)
    toy = Problem()
    choice = SEARCHERS[name].load()(**CASES[name].settings, weights=weights).search(toy)
    assert choice.latent_dim == min(trial.latent_dim for trial in toy.trials) < OPTIMUM


@pytest.mark.parametrize("name", OPTUNA)
def test_study_is_kept(name: str) -> None:
    toy, _, _ = _search(name)
    (study,) = toy.storage.get_all_studies()
    assert study.user_attrs["metrics"] == list(DECISION_METRICS) == ["fid_recon", "fid_gen", "recon_nll", "silhouette"]
    assert study.directions == [StudyDirection.MINIMIZE] * 3 + [StudyDirection.MAXIMIZE]
    kept = optuna.load_study(study_name=study.study_name, storage=toy.storage).get_trials()
    assert [trial.params["latent_dim"] for trial in kept] == [size for size, _ in toy.starts]
    assert [trial.values for trial in kept] == [list(last_means(t.history).values()) for t in toy.trials]


@pytest.mark.parametrize("name", OPTUNA)
def test_study_marks_a_training_without_metrics_failed(name: str) -> None:
    toy = ToyProblem(finite=False)
    with pytest.raises(ValueError, match="none of 6"):
        SEARCHERS[name].load()(**CASES[name].settings).search(toy)
    (study,) = toy.storage.get_all_studies()
    kept = toy.storage.get_all_trials(study._study_id)
    assert len(kept) == 6 and {trial.state for trial in kept} == {TrialState.FAIL}


def test_random_sizes_are_log_uniform() -> None:
    """Half of the sizes of 2..32 fall in each half of the logarithmic range: 2..7 and 8..32."""
    sizes = np.concatenate([RandomSearch(SizeRange(2, 32, n_trials=1)).known_sizes(seed) for seed in range(300)])
    assert sizes.min() == 2 and sizes.max() > 28
    edges = math.log(1.5), math.log(7.5), math.log(32.5)  # Optuna rounds a log-uniform draw in [1.5, 32.5]
    expected = (edges[1] - edges[0]) / (edges[2] - edges[0])
    assert np.mean(sizes < 8) == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 300))
    assert abs(np.mean(sizes < 8) - 6 / 31) > 0.2  # not uniform


def test_random_draws_no_size_twice() -> None:
    for seed in range(20):
        sampler = optuna.create_study(sampler=RandomSampler(seed=seed))
        drawn = [sampler.ask().suggest_int("latent_dim", 2, 9, log=True) for _ in range(200)]
        expected = list(dict.fromkeys(drawn))
        assert sorted(expected) == list(range(2, 10))
        for n_trials in (1, 5, 8, 9):  # of more than there are it trains all
            searcher = RandomSearch(SizeRange(2, 9, n_trials))
            assert list(searcher.known_sizes(seed)) == expected[:n_trials]
            assert searcher.n_trainings == min(n_trials, 8)


def test_random_trains_the_sizes_that_it_knows() -> None:
    toy = ToyProblem(seed=3, epochs=2)
    searcher = RandomSearch(SizeRange(2, 5, n_trials=9))
    searcher.search(toy)
    assert tuple(size for size, _ in toy.starts) == searcher.known_sizes(3) and len(toy.starts) == 4
    (study,) = toy.storage.get_all_studies()
    trials = toy.storage.get_all_trials(study._study_id)
    assert [trial.params["latent_dim"] for trial in trials] == [size for size, _ in toy.starts]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize(
    "baseline, gated_training", [("elbo", {"ctl_lambda"}), ("geco", {"ctl_lambda", "ctl_error_average"})]
)
def test_geco_without_tau_pays_for_a_baseline(baseline: str, gated_training: set[str]) -> None:
    toy = ToyProblem(epochs=8)
    searcher = SEARCHERS["geco-l0arm"].load()(
        latent_dim=8, baseline_latent_dim=4, baseline=baseline, baseline_budget=0.75
    )
    choice = searcher.search(toy)
    assert toy.starts == [(4, 6), (8, 8)] and searcher.n_trainings == 2 and choice.trial.number == 1
    first, second = (trial.history for trial in toy.trials)
    assert gated_training <= set(second)
    expected = first["ctl_error_average"].iloc[-1] if baseline == "geco" else first["recon_sse"].tail(5).mean()
    assert second["ctl_tau"].unique() == pytest.approx([expected])
    assert baseline == "elbo" or (first["ctl_open_gates"] == 4).all() and first["ctl_tau"].unique() == [0]


def test_sparsity_waits_for_a_stable_active_set() -> None:
    """The toy's latents die in epoch 3: with 5 stable epochs, those of 3 to 7, they go after epoch 7."""
    toy, choice, _ = _search("sparsity")
    assert choice.trial.history["latent_dim"].tolist() == [32] * 7 + [OPTIMUM] * 5
    assert _decided(toy) == [list(range(OPTIMUM))]
    assert choice.trial.history["ctl_active"].tolist() == [32] * 2 + [OPTIMUM] * 10
    assert choice.trial.history["ctl_variance_law"].iloc[-1] == pytest.approx(1.0)


def test_sparsity_removes_what_is_off_and_stable() -> None:
    """A latent is off where its mean hardly varies and its variance is near 1; one change starts the count anew."""
    controller = SparsityController(Sparsity(latent_dim=4, stable_epochs=3), epochs=12)
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
    controller = SparsityController(Sparsity(latent_dim=4, stable_epochs=1), epochs=6)
    row = {"latent_dim": 4, "latent_mean_variance": np.array(mean_variance), "latent_variance_mean": np.ones(4)}
    row["latent_kl"] = np.array([0.0, 3e-3, 1e-3, 2e-3])
    decisions = [controller.after_epoch(pd.DataFrame([row] * epoch), None).keep for epoch in range(1, 6)]
    assert controller.traces()["active"] == sum(value > 0 for value in mean_variance)
    assert decisions == ([kept] * 5 if len(kept) > 2 else [None] * 4 + [kept])


def test_sparsity_answers_two_where_fewer_latents_are_in_use() -> None:
    toy = ToyProblem(epochs=12, optimum=1)
    choice = Sparsity(latent_dim=32).search(toy)
    assert choice.trial.history["ctl_active"].tolist() == [32] * 2 + [1] * 10
    assert choice.trial.history["latent_dim"].tolist() == [32] * 11 + [2]
    assert choice.latent_dim == 2 and choice.settled is True


@pytest.mark.parametrize(
    ("name", "settings", "epochs", "settled"),
    [
        ("sparsity", {"latent_dim": 32}, 12, True),
        ("sparsity", {"latent_dim": 32}, 7, False),  # stable in its last epoch, whose removal is not carried out
        ("sparsity", {"latent_dim": 32}, 4, False),
        ("sparsity", {"latent_dim": 8}, 5, True),  # nothing is to be removed
        ("sparsity", {"latent_dim": 8}, 4, False),
        ("ald", {"latent_dim": 32}, 12, False),  # the stop rule needs 20 epochs
        ("ald", {"latent_dim": 6, "min_latent_dim": 2}, 5, False),
        ("ald", {"latent_dim": 6, "min_latent_dim": 2}, 6, True),  # it can go no lower
        ("geco-l0arm", {"latent_dim": 8, "tau": SSE}, 60, True),
        ("geco-l0arm", {"latent_dim": 8, "tau": SSE}, 2, False),
        ("geco-l0arm", {"latent_dim": 8, "tau": 1e-9}, 12, False),  # the bound is never met
        ("grid", {"latent_dims": (2, 4)}, 12, None),
        ("random", {"sizes": SIZES}, 12, None),
    ],
)
def test_settled(name: str, settings: dict[str, Any], epochs: int, settled: bool | None) -> None:
    assert SEARCHERS[name].load()(**settings).search(ToyProblem(epochs=epochs)).settled is settled


@pytest.mark.parametrize(
    ("open_gates", "mass", "settled"),
    [
        ([8, 3, 3, 3, 3, 3], 3.1, True),
        ([8, 8, 3, 3, 3, 3], 3.1, False),  # a gate closed within the last five epochs
        ([8, 3, 3, 3, 3, 3], 2.4, False),  # one is about to
        ([8, 8, 8, 8, 8, 8], 8.0, False),  # none has closed
        ([3, 3, 3, 3], 3.0, False),
        ([8, 3, 3, 3, 3, 3], math.nan, False),
    ],
)
def test_geco_is_settled_where_gates_have_closed_and_none_is_on_its_way(
    open_gates: list[int], mass: float, settled: bool
) -> None:
    class Recorded(ToyProblem):
        def train(self, latent_dim: int, controller: Controller | None = None, epochs: int | None = None) -> Trial:
            history = pd.DataFrame({"ctl_open_gates": map(float, open_gates), "ctl_gate_mass": mass})
            return Trial(0, open_gates[-1], history)

    assert SEARCHERS["geco-l0arm"].load()(latent_dim=8, tau=SSE).search(Recorded()).settled is settled


def test_ald_is_settled_once_its_stop_rule_has_fired() -> None:
    class Rising(ToyProblem):
        def _row(self, epoch: int, ids: np.ndarray) -> dict[str, Any]:
            return super()._row(epoch, ids) | dict.fromkeys(("recon_nll", "silhouette", "fid_recon", "fid_gen"), epoch)

    ald = SEARCHERS["ald"].load()(latent_dim=32, window=10)
    before, after = (ald.search(Rising(epochs=epochs)) for epochs in (9, 10))
    assert after.trial.history["ctl_stopped"].iloc[-1] == 1
    assert (before.settled, after.settled) == (False, True)


@pytest.mark.parametrize(
    "name, settings, setting",
    [
        ("grid", {"latent_dims": ()}, "latent_dims"),
        ("grid", {"latent_dims": (1, 4)}, "latent_dims"),
        ("grid", {"latent_dims": (4, 4)}, "latent_dims"),
        ("random", {"sizes": {"low": 1}}, "low"),
        ("random", {"sizes": {"low": 9, "high": 8}}, "high"),
        ("tpe", {"sizes": {"n_trials": 0}}, "n_trials"),
        ("tpe", {"n_startup": 0}, "n_startup"),
        ("ald", {"latent_dim": 1}, "latent_dim"),
        ("ald", {"min_latent_dim": 1}, "min_latent_dim"),
        ("ald", {"patience": 0}, "patience"),
        ("ald", {"decrease": 0}, "decrease"),
        ("ald", {"slow_decrease": 0}, "slow_decrease"),
        ("ald", {"window": 0}, "window"),
        ("ald", {"slow_window": 0}, "slow_window"),
        ("ald", {"removal": "worst"}, "removal"),
        ("ald", {"budget": 0.0}, "budget"),
        ("ald", {"budget": math.inf}, "budget"),
        ("grid", {"weights": {"fid_gen": -1.0}}, "fid_gen"),
        ("grid", {"weights": {"fid_gen": math.nan}}, "fid_gen"),
        ("grid", {"weights": dict.fromkeys(DECISION_METRICS, 0.0)}, "weights"),
        ("geco-l0arm", {"latent_dim": 1}, "latent_dim"),
        ("geco-l0arm", {"baseline_latent_dim": 1}, "baseline_latent_dim"),
        ("geco-l0arm", {"baseline": "vae"}, "baseline"),
        ("geco-l0arm", {"baseline_budget": 0.0}, "baseline_budget"),
        ("geco-l0arm", {"tau": 0.0}, "tau"),
        ("geco-l0arm", {"tau": math.nan}, "tau"),
        ("sparsity", {"latent_dim": 1}, "latent_dim"),
        ("sparsity", {"stable_epochs": 0}, "stable_epochs"),
        ("sparsity", {"max_mean_variance": 0.0}, "max_mean_variance"),
        ("sparsity", {"min_variance_mean": math.nan}, "min_variance_mean"),
    ],
)
def test_setting_out_of_range(name: str, settings: dict[str, Any], setting: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{setting}\b.*; expected"):
        make_searcher(name, settings)
