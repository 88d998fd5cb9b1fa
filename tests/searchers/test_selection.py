"""The choice among assessed sizes: curves with a known answer, ranks by hand, the Pareto set by brute force."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from searchers.base import Assessment, Trial
from searchers.quantities import DECISION_METRICS, LAST_EPOCHS, Weights, last_means
from searchers.rule import RULES, ChoiceRule
from searchers.selection import choose, costs, mean_ranks, pareto_front, pick
from searchers.testing.problem import ToyProblem

NAN = math.nan
FLOOR, WITHOUT = 100.0, 200.0  # L of the best model, and without latents: the gap is 100
SIZES = (2, 4, 8, 16, 32)
DEEP = {2: 160.0, 4: 107.0, 8: 102.0, 16: 100.2, 32: 100.0}  # nats: 8 is the first within 5 % of the gap


def _assessment(
    size: int, loss: float, images: int = 200, noise: float = 0.0, seed: int = 0, **metrics: float
) -> Assessment:
    """noise: sd of an image's own difference; what all sizes share is large, as it is for images."""
    shared = 30 * np.random.default_rng(1).standard_normal(images)
    own = np.random.default_rng((size, seed)).standard_normal(images)
    losses = loss + shared - shared.mean() + noise * (own - own.mean())
    values = {"fid_recon": loss, "fid_gen": loss, "recon_nll": loss, "silhouette": 0.1, "kid_gen": 0.0} | metrics
    return Assessment(size, values, {"kid_gen": 0.0}, losses)


def _curve(losses: dict[int, float], **values: Any) -> list[Assessment]:
    return [_assessment(size, loss, **values) for size, loss in losses.items()]


def _picked(assessments: list[Assessment], rule: ChoiceRule, nested: bool = False) -> int:
    return assessments[pick(assessments, rule, WITHOUT, nested).place].size


@pytest.mark.parametrize(("rule", "size"), [("smallest-good", 8), ("tolerance", 8), ("knee", 4), ("mean-rank", 8)])
def test_each_rule_on_a_clean_curve(rule: Any, size: int) -> None:
    curve = _curve(DEEP)  # mean-rank: 8, 16 and 32 tie within 5 % of the range, and the smallest of them wins
    assert _picked(curve, ChoiceRule(rule)) == _picked(curve[::-1], ChoiceRule(rule)) == size


@pytest.mark.parametrize(("margin", "size"), [(0.01, 16), (0.05, 8), (0.1, 4), (1.0, 2)])
def test_the_margin_is_in_parts_of_the_gap(margin: float, size: int) -> None:
    found = pick(_curve(DEEP), ChoiceRule(margin=margin), WITHOUT)
    assert SIZES[found.place] == size
    assert found.evidence.gap == pytest.approx(100) and found.evidence.is_shown
    assert found.evidence.loss == pytest.approx((DEEP[size] - FLOOR) / 100)


def test_the_limit_is_paired_over_the_images() -> None:
    curve = _curve(DEEP, noise=10.0)
    found = pick(curve, ChoiceRule(), WITHOUT)
    paired = curve[found.place].losses - curve[-1].losses
    expected = paired.mean() + 1.645 * paired.std(ddof=1) / math.sqrt(len(paired))
    assert found.evidence.limit == pytest.approx(expected / 100)  # the images' own spread of 30 nats is not in it
    assert found.evidence.loss < found.evidence.limit < 0.05


def test_a_size_whose_limit_is_above_the_margin_is_not_chosen_while_a_larger_one_is_shown() -> None:
    losses = {2: 160.0, 4: 104.0, 8: 101.0, 16: 100.0}
    assert _picked(_curve(losses), ChoiceRule()) == 4
    assert _picked(_curve(losses, noise=15.0), ChoiceRule()) == 8  # 4 nats +- 2.5: not shown to be below 5
    few = pick(_curve(losses, images=10, noise=60.0), ChoiceRule(), WITHOUT)
    assert SIZES[few.place] == 4 and not few.evidence.is_shown  # the mean loss decides, and that is said


def test_samples_that_are_worse_veto_a_size() -> None:
    def curve(kid: float, error: float) -> list[Assessment]:
        of_size = {2: kid, 4: kid, 8: kid, 16: 1.0, 32: 1.0}
        made = [_assessment(size, DEEP[size], kid_gen=of_size[size]) for size in SIZES]
        return [Assessment(one.size, one.metrics, {"kid_gen": error}, one.losses) for one in made]

    assert _picked(curve(2.0, 0.01), ChoiceRule()) == 16
    assert _picked(curve(2.0, 1.0), ChoiceRule()) == 8  # within twice its noise
    assert _picked(curve(NAN, 0.01), ChoiceRule()) == 8


def test_sizes_of_one_nested_model_are_fitted_by_a_monotone_curve() -> None:
    noisy = {2: 160.0, 4: 103.9, 8: 104.5, 16: 97.0, 32: 103.0}  # the reference is the largest, 100 after the fit
    found = pick(_curve(noisy), ChoiceRule(), WITHOUT, nested=True)
    assert SIZES[found.place] == 4 and found.evidence.loss == pytest.approx(4.2 / 100)
    assert found.evidence.gap == pytest.approx(100)
    assert _picked(_curve(noisy), ChoiceRule()) == 16  # separate trainings: 97 is the reference


def test_as_good_are_the_sizes_that_other_images_choose() -> None:
    certain = pick(_curve(DEEP), ChoiceRule(), WITHOUT)
    assert certain.as_good == (8,) and certain.evidence.shares == (1.0,)
    near = {2: 160.0, 4: 103.0, 8: 101.5, 16: 100.0, 32: 100.0}
    unsure = pick(_curve(near, noise=13.0), ChoiceRule(), WITHOUT)
    assert len(unsure.as_good) > 1 and set(unsure.as_good) <= {4, 8, 16}
    assert 0.9 < sum(unsure.evidence.shares) <= 1 and min(unsure.evidence.shares) < 0.9
    beyond = pick(_curve({4: 105.5, 16: 100.0}, noise=30.0), ChoiceRule(), WITHOUT)
    assert beyond.as_good == (16,) and beyond.evidence.shares[0] < 0.8  # 4 is chosen too, though 5.5 % of the gap away
    again = pick(_curve(near, noise=13.0), ChoiceRule(), WITHOUT)
    assert again == unsure  # nothing is left to chance


def test_a_flat_curve_is_no_coin() -> None:
    """Fresh noise on a plateau: the rule picks its first size, where the lowest L picks anything."""
    plateau = {2: 160.0, 4: 101.0, 8: 100.3, 16: 100.1, 32: 100.0}
    picks: dict[str, list[int]] = {"rule": [], "lowest": []}
    for seed in range(40):
        shift = np.random.default_rng(seed).normal(0, 0.8, len(SIZES))  # between trainings: 0.8 % of the gap
        curve = _curve({size: plateau[size] + s for size, s in zip(SIZES, shift, strict=True)}, noise=5.0, seed=seed)
        picks["rule"].append(_picked(curve, ChoiceRule()))
        picks["lowest"].append(min(curve, key=lambda one: one.losses.mean()).size)
    assert set(picks["rule"]) == {4} and len(set(picks["lowest"])) >= 3


def test_a_model_without_anything_learned_has_the_smallest_loss() -> None:
    for nested in (False, True):
        found = pick(_curve({2: 200.0, 4: 200.5, 8: 201.0}), ChoiceRule(), WITHOUT, nested)
        assert found.place == 0 and math.isnan(found.evidence.loss) and not found.evidence.is_shown


@pytest.mark.parametrize("rule", RULES)
def test_a_training_without_finite_values_does_not_take_part(rule: Any) -> None:
    lost = _assessment(4, NAN)
    lost.metrics.update(dict.fromkeys(lost.metrics, NAN))
    curve = [lost, *_curve({2: 160.0, 16: 100.0})]
    assert _picked(curve, ChoiceRule(rule)) == 16
    for none in ([], [lost]):
        with pytest.raises(ValueError, match=f"none of {len(none)} trainings has finite metrics"):
            pick(none, ChoiceRule(rule), WITHOUT)


def test_a_missing_metric_excludes_unless_all_lack_it() -> None:
    rule = ChoiceRule("mean-rank")
    best_but_one = [_assessment(4, 100.0, silhouette=NAN), _assessment(8, 150.0), _assessment(16, 180.0)]
    assert _picked(best_but_one, rule) == 8
    without = [_assessment(4, 100.0, silhouette=NAN), _assessment(8, 150.0, silhouette=NAN)]
    assert _picked(without, rule) == 4
    with pytest.raises(ValueError, match="finite metrics"):
        pick(without, ChoiceRule("mean-rank", weights=Weights(0, 0, 0, 1)), WITHOUT)


def test_mean_ranks_follow_the_weights() -> None:
    sharp, clustered = _assessment(16, 100.0, silhouette=0.1), _assessment(4, 150.0, silhouette=0.9)
    assert _picked([sharp, clustered], ChoiceRule("mean-rank")) == 16
    assert _picked([sharp, clustered], ChoiceRule("mean-rank", weights=Weights(silhouette=4.0))) == 4


def test_values_within_their_noise_tie_and_ties_are_no_chain() -> None:
    table = pd.DataFrame({"fid_gen": [1.0, 1.4, 1.8, 2.2, 9.0]})
    ranks = mean_ranks(table, Weights(), pd.Series({"fid_gen": 0.5}))
    assert ranks.tolist() == [1.5, 1.5, 3.5, 3.5, 5.0]  # 1.8 is beyond the best of 1.0 and 1.4
    noisy = [_assessment(size, 100.0, fid_gen=fid) for size, fid in ((4, 10.0), (8, 9.0), (16, 0.0))]
    weights = Weights(fid_recon=0, recon_nll=0, silhouette=0)
    assert _picked(noisy, ChoiceRule("mean-rank", weights=weights)) == 16


# ranks: fid_recon 1, 2.5, 2.5, 4; fid_gen 2, 1, 3, 4 (NaN last); recon_nll 4, 3, 2, 1; silhouette 1, 2, 3.5, 3.5
TABLE = pd.DataFrame(
    {
        "fid_recon": [1.0, 2.0, 2.0, 3.0],
        "fid_gen": [6.0, 5.0, 7.0, NAN],
        "recon_nll": [90.0, 80.0, 70.0, 60.0],
        "silhouette": [-0.4, -0.3, NAN, NAN],
    },
    index=[0, 1, 2, 3],
)


@pytest.mark.parametrize(
    "weights, expected",
    [
        (Weights(), [8 / 4, 8.5 / 4, 11 / 4, 12.5 / 4]),
        (Weights(recon_nll=3.0), [16 / 6, 14.5 / 6, 15 / 6, 14.5 / 6]),
        (Weights(fid_recon=0.0, fid_gen=0.0, silhouette=0.0), [4, 3, 2, 1]),
        (Weights(fid_recon=2.0, recon_nll=0.0, silhouette=0.0), [4 / 3, 6 / 3, 8 / 3, 12 / 3]),
    ],
)
def test_mean_ranks_by_hand(weights: Weights, expected: list[float]) -> None:
    assert mean_ranks(TABLE, weights).tolist() == pytest.approx(expected)
    shuffled = TABLE[["silhouette", "recon_nll", "fid_gen", "fid_recon"]]
    assert mean_ranks(shuffled, weights).tolist() == pytest.approx(expected)  # weights go by name


def test_a_metric_is_its_mean_over_the_last_five_epochs() -> None:
    history = pd.DataFrame({metric: [1000.0, 1, 2, 3, 4, 10] for metric in DECISION_METRICS})
    history["recon_nll"] = [NAN, 1, 1, 1, 1, 6]
    history["silhouette"] = [0.5, NAN, 0.5, 0.5, 0.5, 0.5]
    final = last_means(history)
    assert list(final) == list(DECISION_METRICS) and LAST_EPOCHS == 5
    assert final["fid_recon"] == final["fid_gen"] == 4.0 and final["recon_nll"] == 2.0
    assert math.isnan(final["silhouette"])  # a missing epoch is not skipped
    assert last_means(history.head(2))["fid_gen"] == 500.5  # fewer than five


def _trial(number: int, assessment: Assessment) -> Trial:
    return Trial(number, assessment.size, pd.DataFrame(), assessment)


def test_choose_hands_over_the_training() -> None:
    trials = [_trial(number, one) for number, one in enumerate(_curve(DEEP))]
    problem = ToyProblem(rule=ChoiceRule())
    problem.no_latents_nll = WITHOUT
    choice = choose(problem, trials)
    assert choice.trial is trials[2] and choice.as_good == (8,) and choice.evidence is not None
    assert choice.pareto == (4,)  # best in every metric
    again = choose(problem, [*trials, _trial(5, _assessment(8, DEEP[8]))])
    assert again.trial is trials[2]  # of equals the earlier
    better = _trial(6, _assessment(8, DEEP[8] - 0.01))
    assert choose(problem, [*trials, better]).trial is better  # of equal sizes the better


def test_costs_turn_the_silhouette() -> None:
    table = costs([_trial(3, _assessment(8, 1.0, silhouette=0.25)), _trial(5, _assessment(4, 4.0, silhouette=-0.5))])
    assert list(table.index) == [3, 5] and table["silhouette"].tolist() == [-0.25, 0.5]
    assert table["fid_recon"].tolist() == [1.0, 4.0] and table["recon_nll"].tolist() == [1.0, 4.0]


def _brute_force(table: pd.DataFrame) -> set[int]:
    rows = {int(i): row.to_list() for i, row in table.iterrows() if not row.isna().any()}
    return {
        i
        for i, mine in rows.items()
        if not any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in rows.values())
    }


@pytest.mark.parametrize("seed", range(20))
def test_pareto_front_is_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (25, 4)).astype(float)  # coarse: equal rows and equal values occur
    values[rng.random(values.shape) < 0.03] = NAN
    table = pd.DataFrame(values, columns=list(DECISION_METRICS), index=rng.permutation(25))
    front = pareto_front(table)
    assert set(front) == _brute_force(table) and len(front) == len(set(front))
    assert 0 < len(front) < 25


def test_a_metric_that_no_trial_has_is_none_of_the_fronts() -> None:
    table = pd.DataFrame([[3.0, NAN], [1.0, NAN], [2.0, NAN]], columns=["fid_gen", "silhouette"])
    assert pareto_front(table) == (1,)
