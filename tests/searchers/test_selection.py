"""The choice among trials: ranks worked out by hand, the Pareto set against brute force."""

import math

import numpy as np
import pandas as pd
import pytest

from searchers.base import Trial
from searchers.quantities import DECISION_METRICS, Weights, last_means
from searchers.selection import choose, costs, mean_ranks, pareto_front

NAN = math.nan


def _trial(number: int, latent_dim: int, *metrics: float, epochs: int = 5) -> Trial:
    """A training whose metrics (fid_recon, fid_gen, recon_nll, silhouette) are the same in every epoch."""
    return Trial(number, latent_dim, pd.DataFrame([dict(zip(DECISION_METRICS, metrics, strict=True))] * epochs))


def test_a_metric_is_its_mean_over_the_last_five_epochs() -> None:
    history = pd.DataFrame({metric: [1000.0, 1, 2, 3, 4, 10] for metric in DECISION_METRICS})
    history["recon_nll"] = [NAN, 1, 1, 1, 1, 6]
    history["silhouette"] = [0.5, NAN, 0.5, 0.5, 0.5, 0.5]
    final = last_means(history)
    assert list(final) == list(DECISION_METRICS)
    assert final["fid_recon"] == final["fid_gen"] == 4.0 and final["recon_nll"] == 2.0
    assert math.isnan(final["silhouette"])  # a missing epoch is not skipped
    assert last_means(history.head(2))["fid_gen"] == 500.5  # fewer than five


def test_costs_turn_the_silhouette() -> None:
    table = costs([_trial(3, 8, 1.0, 2.0, 3.0, 0.25), _trial(5, 4, 4.0, 5.0, 6.0, -0.5)])
    assert list(table.index) == [3, 5] and table["silhouette"].tolist() == [-0.25, 0.5]
    assert table["fid_recon"].tolist() == [1.0, 4.0] and table["recon_nll"].tolist() == [3.0, 6.0]


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


def test_choose_the_lowest_mean_rank() -> None:
    good, bad = _trial(0, 16, 1.0, 1.0, 1.0, 0.5), _trial(1, 2, 2.0, 2.0, 2.0, 0.4)
    assert choose([good, bad], Weights()).trial is good
    assert choose([bad, good], Weights()).trial is good
    assert choose([good, bad], Weights()).pareto == (0,)


def test_choice_follows_the_weights() -> None:
    sharp, clustered = _trial(0, 16, 1.0, 1.0, 1.0, 0.1), _trial(1, 4, 2.0, 2.0, 2.0, 0.9)
    assert choose([sharp, clustered], Weights()).trial is sharp
    choice = choose([sharp, clustered], Weights(silhouette=4.0))
    assert choice.trial is clustered and choice.pareto == (0, 1)


def test_tie_goes_to_the_smaller_size_then_the_earlier() -> None:
    large, small = _trial(0, 16, 1.0, 1.0, 2.0, 0.4), _trial(1, 8, 2.0, 2.0, 1.0, 0.5)
    again = _trial(2, 8, 2.0, 2.0, 1.0, 0.5)
    assert mean_ranks(costs([large, small]), Weights()).nunique() == 1
    assert choose([large, small], Weights()).trial is small
    assert choose([again, small], Weights()).trial is small


def test_trial_without_metrics_is_last() -> None:
    failed, slow = _trial(0, 2, NAN, NAN, NAN, NAN), _trial(1, 32, 9.0, 9.0, 9.0, -0.9)
    choice = choose([failed, slow], Weights())
    assert choice.trial is slow and choice.pareto == (1,)


@pytest.mark.parametrize("trials", [[], [_trial(0, 4, NAN, NAN, NAN, NAN)], [_trial(0, 4, 1.0, math.inf, 1.0, 0.5)]])
def test_nothing_to_choose_from(trials: list[Trial]) -> None:
    with pytest.raises(ValueError, match=f"none of {len(trials)} trainings has finite metrics in its last 5 epochs"):
        choose(trials, Weights())


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


def test_a_metric_that_no_trial_has_does_not_count() -> None:
    trials = [_trial(number, 4, nll, nll, nll, NAN) for number, nll in enumerate((3.0, 1.0, 2.0))]
    choice = choose(trials, Weights())
    assert choice.trial.number == 1 and choice.pareto == (1,)
    with pytest.raises(ValueError, match="none of 3 trainings"):
        choose(trials, Weights(fid_recon=0, fid_gen=0, recon_nll=0, silhouette=1))
