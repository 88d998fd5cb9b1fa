"""Every searcher keeps the contract and finds the toy problem's answer; settings out of range are refused."""

import math
from typing import Any

import pytest

from benchmark.suite.plan import make_searcher
from searchers import SEARCHERS
from searchers.base import ChoiceRule, SearchSpace, Trial
from searchers.from_autoencoder.irmae import IRMAE
from searchers.from_autoencoder.least_volume import LeastVolume
from searchers.from_autoencoder.rrae import RRAE
from searchers.from_images.gride import Gride
from searchers.from_images.mle import MLE
from searchers.from_images.pca import PCA
from searchers.from_images.two_nn import TwoNN
from searchers.in_training.ald import ALD
from searchers.in_training.ard import ARD
from searchers.in_training.geco_l0arm import GecoL0Arm
from searchers.in_training.nested import Nested
from searchers.in_training.sigma import Sigma
from searchers.in_training.sparsity import Sparsity
from searchers.quantities import Weights
from searchers.testing import SearcherContract, ToyProblem
from searchers.testing.model import N_FACTORS
from searchers.testing.problem import OPTIMUM, SSE
from searchers.whole_run.beta import Beta
from searchers.whole_run.fondue import Fondue
from searchers.whole_run.grid import Grid
from searchers.whole_run.halving import Halving
from searchers.whole_run.optuna_search import RandomSearch, TPESearch
from searchers.whole_run.tolerance import Tolerance


class TestGrid(SearcherContract):
    searcher, answer = Grid(), OPTIMUM


class TestRandom(SearcherContract):
    searcher = RandomSearch(n_trials=6)

    def test_it_chooses_the_drawn_size_that_is_closest_to_the_optimum(self) -> None:
        for seed in self.seeds:
            toy, choice = self.search(seed)
            sizes = [trial.latent_dim for trial in toy.trials]
            assert choice.latent_dim == min(sizes, key=lambda size: (abs(math.log2(size / OPTIMUM)), size))
            assert choice.pareto

    def test_the_seed_matters(self) -> None:
        assert self.search(0)[0].asked != self.search(1)[0].asked


class TestTPE(TestRandom):
    searcher = TPESearch(n_trials=6)


class TestTPEWithMedianPruner(SearcherContract):
    searcher = TPESearch(n_trials=8, n_startup=3, objective="elbo", pruner="median")


class TestTPEWithHyperband(SearcherContract):
    searcher = TPESearch(n_trials=8, n_startup=3, objective="elbo", pruner="hyperband")


class TestTolerance(SearcherContract):
    searcher, answer = Tolerance(), OPTIMUM


class TestToleranceByBisection(SearcherContract):
    # 17, 9, 5, 7, 6: 9 is the best of them, and 7 within 5 % of its gap
    searcher, answer = Tolerance("bisection"), 7


class TestHalving(SearcherContract):
    searcher, answer = Halving(), OPTIMUM


class TestAsynchronousHalving(SearcherContract):
    searcher = Halving(asynchronous=True)


class TestALD(SearcherContract):
    # 32 - 5 after epoch 5; the silhouette rises with that, so - 1 after epoch 10
    searcher, answer = ALD(), 26

    def test_the_seed_matters(self) -> None:
        ids = [self.search(seed)[1].trial.history["latent_id"].iloc[-1].tolist() for seed in (0, 1)]
        assert ids[0] != ids[1]


class TestALDByTheLoss(SearcherContract):
    # It notes the loss of 12 latents, which is that of 16 / 3: 6 is the smallest size with none above.
    searcher = ALD(start_latent_dim=12, control="loss", removal="kl", decrease=1, patience=1, window=3, stagnation=0.05)
    answer, epochs = 6, 24


class TestGecoL0Arm(SearcherContract):
    searcher, answer, epochs = GecoL0Arm(start_latent_dim=8, tau=SSE), N_FACTORS, 60


class TestGecoOfGaussianGates(SearcherContract):
    searcher, answer, epochs = GecoL0Arm(start_latent_dim=8, tau=SSE, estimator="gaussian"), N_FACTORS, 60


class TestGecoOfL1Gates(SearcherContract):
    searcher, answer, epochs = GecoL0Arm(start_latent_dim=8, tau=SSE, estimator="l1", retrain=True), N_FACTORS, 60

    def test_it_trains_the_size_found_anew(self) -> None:
        toy, choice = self.searched
        assert [asked.controller for asked in toy.asked] == ["GecoController", None] and choice.trial is toy.trials[1]


class TestSparsity(SearcherContract):
    searcher, answer = Sparsity(), OPTIMUM


class TestSparsityThatWaits(SearcherContract):
    searcher, answer = Sparsity(wait=0.75), OPTIMUM


class TestSparsityBySoftCount(SearcherContract):
    searcher, answer = Sparsity(reading="soft-count"), OPTIMUM  # 32 - 8 x 0.1 - 24 x 0.99 = 7.4


class TestNested(SearcherContract):
    # The toy's quality falls beyond the optimum, which that of one model's first latents cannot: the monotone fit takes
    # 5 to 32 as one.
    searcher, answer = Nested(), 5


class TestBeta(SearcherContract):
    searcher, answer = Beta(betas=(1.0, 4.0)), OPTIMUM

    def test_a_model_for_each_weight(self) -> None:
        toy, choice = self.searched
        assert [trial.history["ctl_beta"].iloc[-1] for trial in toy.trials] == [1.0, 4.0]
        assert choice.evidence is not None and choice.trial is toy.trials[0]  # of equals the first


class TestARD(SearcherContract):
    searcher, answer = ARD(), OPTIMUM


class Diverging(ToyProblem):
    def logged(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "train_loss": math.inf}


class TestSigma(SearcherContract):
    searcher, answer = Sigma(), OPTIMUM

    def test_it_retrains_the_size_found_or_hands_over_the_first_model(self) -> None:
        toy, choice = self.searched
        assert [asked.latent_dim for asked in toy.asked] == [self.space.high, OPTIMUM] and choice.trial.number == 1
        diverged = Sigma().search(Diverging())
        assert diverged.trial.number == 0 and not math.isfinite(diverged.trial.history["train_loss"].iloc[-1])
        first = Sigma(retrain=False).search(ToyProblem())
        assert first.trial.number == 0 and first.latent_dim == OPTIMUM


class TestSigmaLearned(SearcherContract):
    searcher, answer = Sigma(variance="learned"), OPTIMUM


class TestFondue(SearcherContract):
    searcher, answer = Fondue(steps=24), OPTIMUM  # three epochs: by then the latents out of use have shown

    def test_it_doubles_and_bisects(self) -> None:
        toy, _ = self.searched
        assert [asked.latent_dim for asked in toy.asked] == [3, 6, 12, 9, 7, 8, 8]
        assert [len(trial.history) for trial in toy.trials] == [3] * 6 + [12]

    def test_a_probe_of_a_full_training_is_handed_over(self) -> None:
        toy = ToyProblem(epochs=3)
        choice = Fondue(steps=10**6).search(toy)
        assert [asked.latent_dim for asked in toy.asked] == [3, 6, 12, 9, 7, 8] and choice.trial is toy.trials[-1]

    def test_by_dimensions_one_superfluous_latent_is_not_seen(self) -> None:
        """It adds somewhat less than one dimension, the threshold."""
        for seed in self.seeds:
            toy = ToyProblem(seed=seed, epochs=3)
            assert Fondue(variant="dimension", steps=24).search(toy).latent_dim == OPTIMUM + 1

    def test_it_stays_in_the_space(self) -> None:
        assert self.search(optimum=32)[1].latent_dim == 10  # ten latents of variance 0.1
        assert self.search(space=SearchSpace(2, 8, (2,)), optimum=32)[1].latent_dim == 8
        assert self.search(optimum=1)[1].latent_dim == 2


class TestPCA(SearcherContract):
    searcher, answer = PCA(), N_FACTORS


class TestTwoNN(SearcherContract):
    searcher, answer = TwoNN(), N_FACTORS

    def test_it_trains_one_size_and_says_its_estimate(self) -> None:
        toy, choice = self.searched
        assert [asked.latent_dim for asked in toy.asked] == [N_FACTORS]
        assert choice.estimate is not None and round(choice.estimate) == N_FACTORS != choice.estimate


class TestMLE(SearcherContract):
    searcher, answer = MLE(n_neighbours=10), N_FACTORS


class TestGride(SearcherContract):
    searcher, answer = Gride(), N_FACTORS


class TestSigmaInTwoStages(SearcherContract):
    searcher, answer = Sigma(retrain=False, second_stage=0.5), OPTIMUM


class TestIRMAE(SearcherContract):
    # the toy's posteriors are made up: latents in use have a variance of 0.9, the others of 0.0001
    searcher, answer = IRMAE(), OPTIMUM


class TestIRMAEWithWeightDecay(SearcherContract):
    searcher, answer = IRMAE(weight_decay=1e-4), OPTIMUM


class TestLeastVolume(SearcherContract):
    searcher, answer = LeastVolume(), OPTIMUM


class TestRRAE(SearcherContract):
    # its loss is real, and the images have three factors
    searcher, answer, epochs = RRAE(), N_FACTORS, 100


def test_no_searcher_is_left_out() -> None:
    contracts = [value for value in globals().values() if isinstance(value, type) and hasattr(value, "searcher")]
    tested = {type(contract.searcher) for contract in contracts}
    assert tested == {entry.load() for entry in SEARCHERS.values()} and len(tested) == len(SEARCHERS)


COMPARING = [contract.searcher for contract in (TestGrid, TestRandom, TestTPE, TestTolerance, TestToleranceByBisection)]


@pytest.mark.parametrize("searcher", [*COMPARING, TestHalving.searcher])
def test_no_finite_metrics(searcher: Any) -> None:
    with pytest.raises(ValueError, match=r"none of [56] trainings has finite metrics"):
        searcher.search(ToyProblem(finite=False))


@pytest.mark.parametrize("searcher", COMPARING)
def test_weights_favour_a_metric(searcher: Any) -> None:
    """Silhouettes that fall with the size must win where they alone count."""

    class Falling(ToyProblem):
        def train(self, *asked: Any, **more: Any) -> Trial:
            trial = super().train(*asked, **more)
            trial.assessment.metrics["silhouette"] = 1 / trial.latent_dim
            return trial

    toy = Falling(rule=ChoiceRule("mean-rank", weights=Weights(fid_recon=0, fid_gen=0, recon_nll=0)))
    choice = searcher.search(toy)
    assert choice.latent_dim == min(trial.latent_dim for trial in toy.trials) < OPTIMUM


@pytest.mark.parametrize(
    ("name", "settings", "epochs", "settled"),
    [
        ("sparsity", {}, 12, True),
        ("sparsity", {}, 7, False),  # stable in its last epoch, whose removal is not carried out
        ("sparsity", {}, 4, False),
        ("sparsity", {"start_latent_dim": 8}, 5, True),  # nothing is to be removed
        ("sparsity", {"start_latent_dim": 8}, 4, False),
        ("ald", {}, 12, False),  # the stop rule needs 20 epochs
        ("ald", {"start_latent_dim": 6, "min_latent_dim": 2}, 5, False),
        ("ald", {"start_latent_dim": 6, "min_latent_dim": 2}, 6, True),  # it can go no lower
        ("geco-l0arm", {"start_latent_dim": 8, "tau": SSE}, 60, True),
        ("geco-l0arm", {"start_latent_dim": 8, "tau": SSE}, 2, False),
        ("geco-l0arm", {"start_latent_dim": 8, "tau": 1e-9}, 12, False),  # the bound is never met
        ("grid", {"sizes": (2, 4)}, 12, None),
        ("random", {}, 12, None),
        ("tolerance", {}, 12, None),
        ("halving", {}, 12, None),
    ],
)
def test_settled(name: str, settings: dict[str, Any], epochs: int, settled: bool | None) -> None:
    assert SEARCHERS[name].load()(**settings).search(ToyProblem(epochs=epochs)).settled is settled


@pytest.mark.parametrize(
    "name, settings, setting",
    [
        ("grid", {"sizes": ()}, "sizes"),
        ("grid", {"sizes": (1, 4)}, "sizes"),
        ("grid", {"sizes": (4, 4)}, "sizes"),
        ("random", {"n_trials": 0}, "n_trials"),
        ("tpe", {"n_trials": 0}, "n_trials"),
        ("tpe", {"n_startup": 0}, "n_startup"),
        ("tpe", {"pruner": "median"}, "pruner"),
        ("tpe", {"objective": "kl"}, "objective"),
        ("tpe", {"wait": 0.0}, "wait"),
        ("tolerance", {"order": "up"}, "order"),
        ("halving", {"reduction_factor": 1}, "reduction_factor"),
        ("ald", {"start_latent_dim": 1}, "start_latent_dim"),
        ("ald", {"start_latent_dim": 3, "min_latent_dim": 4}, "start_latent_dim"),
        ("ald", {"min_latent_dim": 1}, "min_latent_dim"),
        ("ald", {"patience": 0}, "patience"),
        ("ald", {"decrease": 0}, "decrease"),
        ("ald", {"slow_decrease": 0}, "slow_decrease"),
        ("ald", {"window": 0}, "window"),
        ("ald", {"slow_window": 0}, "slow_window"),
        ("ald", {"removal": "worst"}, "removal"),
        ("ald", {"budget": 0.0}, "budget"),
        ("ald", {"control": "error"}, "control"),
        ("ald", {"control": "loss", "stop_rule": False}, "stop_rule"),
        ("ald", {"stagnation": 0.0}, "stagnation"),
        ("ald", {"budget": math.inf}, "budget"),
        ("geco-l0arm", {"start_latent_dim": 1}, "start_latent_dim"),
        ("geco-l0arm", {"baseline_latent_dim": 1}, "baseline_latent_dim"),
        ("geco-l0arm", {"baseline": "vae"}, "baseline"),
        ("geco-l0arm", {"baseline_budget": 0.0}, "baseline_budget"),
        ("geco-l0arm", {"tau": 0.0}, "tau"),
        ("geco-l0arm", {"estimator": "l1"}, "retrain"),
        ("geco-l0arm", {"tau": math.nan}, "tau"),
        ("sparsity", {"start_latent_dim": 1}, "start_latent_dim"),
        ("sparsity", {"stable_epochs": 0}, "stable_epochs"),
        ("sparsity", {"max_mean_variance": 0.0}, "max_mean_variance"),
        ("sparsity", {"min_variance_mean": math.nan}, "min_variance_mean"),
        ("sparsity", {"wait": 1.5}, "wait"),
        ("sparsity", {"reading": "kl"}, "reading"),
        ("sigma", {"second_stage": -0.5}, "second_stage"),
        ("irmae", {"layers": 0}, "layers"),
        ("irmae", {"weight_decay": -1.0}, "weight_decay"),
        ("irmae", {"start_latent_dim": 1}, "start_latent_dim"),
        ("least-volume", {"weight": 0.0}, "weight"),
        ("rrae", {"patience": 0.0}, "patience"),
    ],
)
def test_setting_out_of_range(name: str, settings: dict[str, Any], setting: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{setting}\b.*; expected"):
        make_searcher(name, settings)
