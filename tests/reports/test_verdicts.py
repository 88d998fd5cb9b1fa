"""Verdicts against the grid: known answers, error rates by simulation, and what counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from method_losses import NO_LATENTS, method, trainings
from report_frames import Row, group, search
from scipy import stats as scipy_stats

from reports.analysis.analysis import analyse
from reports.analysis.effects import CONFIDENCE, MARGIN, effect, p_below
from reports.analysis.losses import Losses, losses_of
from reports.analysis.verdicts import Decision, Verdict, decide, decimal, verdicts_of

GRID = [10.0, 10.2, 9.8]  # its mean is 10, so that latents are worth 10 nats
NAN = math.nan


def verdict(rows: list[Row], searcher: str = "ald") -> Verdict:
    return next(one for one in verdicts_of(group(rows)) if one.searcher == searcher)


def losses(rows: list[Row], curves: list[Row] | None = None) -> Losses:
    found = losses_of(group(rows, curves=curves))
    assert found is not None
    return found


# ---- one method


def test_the_effect_is_the_t_interval_of_the_paired_differences_in_parts_of_the_gap() -> None:
    found = verdict([*method("grid", GRID), *method("ald", [10.5, 10.4, 10.6])])
    differences = np.array([0.05, 0.02, 0.08])
    interval = scipy_stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.gap == pytest.approx(10)
    assert found.effect.mean == pytest.approx(0.05)
    assert (found.effect.low, found.effect.high) == pytest.approx((interval.low, interval.high))
    assert found.shown == "not shown" and not found.recommended
    assert found.sentence == (
        "ALD’s test loss (−ELBO) is 0.50 nats above the grid’s (95 %: −0.25 to 1.25, 3 seeds), 5 % of what latents "
        "are worth: neither a loss nor equality within 5 % is shown."
    )


def test_the_three_verdicts() -> None:
    grid = [10.0, 10.1, 9.9, 10.0, 10.05, 9.95]
    noise = [0.02, -0.02, 0.01, -0.01, 0.0, 0.03]
    rows = method("grid", grid)
    for name, by in (("ald", 0.0), ("tpe", 1.0), ("random", 0.3)):
        rows += method(name, [loss + by + 5 * by * one + one for loss, one in zip(grid, noise, strict=True)], 5e9)
    found = {one.searcher: one for one in verdicts_of(group(rows))}
    assert {name: one.shown for name, one in found.items()} == {
        **{"random": "equivalent", "tpe": "worse", "ald": "equivalent"}
    }
    assert found["tpe"].sentence.endswith("10 % of what latents are worth: it is shown to be worse.")
    assert found["ald"].sentence.endswith("0.0 % of what latents are worth: a loss of 5 % or more is ruled out.")


def test_the_cheapest_that_is_shown_is_recommended() -> None:
    grid = [10.0 + 0.1 * n for n in range(6)]
    near = [loss + 0.01 * (-1) ** n for n, loss in enumerate(grid)]
    far = [loss + 2.0 + 0.01 * (-1) ** n for n, loss in enumerate(grid)]
    rows = [
        *method("grid", grid, 1e10),
        *method("tpe", near, 5e9),
        *method("ald", near, 2e9),
        *method("gone", far, 1e9),
    ]
    assert [one.searcher for one in verdicts_of(group(rows)) if one.recommended] == ["ald"]
    dear = [*method("grid", grid, 1e10), *method("tpe", near, 1e10)]
    assert [(one.shown, one.recommended) for one in verdicts_of(group(dear))] == [("equivalent", False)]


def test_sizes_are_compared_by_their_geometric_mean_over_the_seeds_that_both_finished() -> None:
    rows = [*method("grid", [*GRID, NAN], size=4), *method("ald", [NAN, *GRID[1:], 10.0], size=8)]
    rows[-2]["latent_dim"] = 2
    found = verdict(rows)
    assert found.size_ratio == pytest.approx(1.0) and not found.is_larger
    failed = verdict([*method("grid", GRID), *method("ald", [NAN] * 3)])
    assert math.isnan(failed.size_ratio) and not failed.is_larger


def test_the_same_models_show_nothing_of_other_seeds() -> None:
    found = verdict([*method("grid", GRID), *method("ald", GRID, 1e9)])
    assert found.sentence == (
        "ALD handed over the same models as the grid in each of 3 seeds, which shows nothing of other seeds."
    )
    assert found.shown == "not shown" and not found.recommended
    rounded = verdict([*method("grid", GRID), *method("ald", [loss * (1 + 1e-12) for loss in GRID])])
    assert rounded.sentence == found.sentence


def test_a_difference_far_below_the_margin_is_never_called_worse() -> None:
    """A stacked grid that is 1e-6 lower in every seed is as good, not better or worse."""
    grid = [10.0 + 0.1 * n for n in range(12)]
    found = verdict([*method("grid", grid), *method("ald", [loss + 1e-6 for loss in grid])])
    assert found.shown == "equivalent"
    assert "equal to the grid’s" in found.sentence


def test_one_seed_shows_nothing() -> None:
    found = verdict([*method("grid", [10.0]), *method("ald", [10.5])])
    assert math.isnan(found.effect.low) and found.shown == "not shown"
    assert found.sentence == (
        "ALD’s test loss (−ELBO) is 0.50 nats above the grid’s (1 seed), 5 % of what latents are worth: one seed has "
        "no interval, so nothing is shown."
    )


def test_numbers_have_the_digits_of_their_spread() -> None:
    assert [decimal(0.2, 0.72), decimal(12.34, 23.0), decimal(-0.53, 0.7), decimal(-0.001, 0.5)] == [
        *("0.20", "12", "−0.53", "0.00")
    ]


# ---- what counts


def test_a_failed_search_counts_as_a_model_without_latents() -> None:
    """The method that fails in 8 of 20 seeds and is a little better in the others is no winner."""
    grid = [10.0 + 0.01 * n for n in range(20)]
    ours = [NAN if n < 8 else loss - 0.02 for n, loss in enumerate(grid)]
    found = verdict([*method("grid", grid), *method("ald", ours, 1e9)])
    gap = NO_LATENTS - np.mean(grid)  # no trainings' losses by size, so of what the searchers handed over
    best = min(np.mean(grid), np.nanmean(ours))
    assert found.gap == pytest.approx(NO_LATENTS - best) and found.gap <= gap + 0.2
    assert found.n_failed == 8 and found.effect.n == 20
    assert found.effect.mean == pytest.approx((8 - 12 * 0.02 / found.gap) / 20)
    assert found.shown == "worse" and not found.recommended
    assert found.sentence.endswith(" 8 of 20 seeds failed and count as models without latents.")


def test_a_finished_search_without_an_elbo_counts_as_failed() -> None:
    rows = [*method("grid", GRID), *method("ald", GRID)]
    rows[-1]["test_elbo"] = NAN
    found = verdict(rows)
    assert found.n_failed == 1 and found.effect.mean == pytest.approx(1 / 3)


def test_failing_always_is_said() -> None:
    found = verdict([*method("grid", GRID), *method("ald", [NAN] * 3)])
    assert found.sentence == "ALD failed in each of 3 seeds: it counts as a model without latents."
    assert found.effect.mean == 1.0 and not found.recommended


def test_running_searches_and_seeds_without_a_grid_are_left_out() -> None:
    rows = [*method("grid", [10.0, NAN, 10.0]), *method("ald", [10.1, 10.1, 10.1, 10.1]), search("ald", 4, "running")]
    rows += [search("tpe", 0, "running")]
    found = verdicts_of(group(rows))
    assert [(one.searcher, one.effect.n) for one in found] == [("ald", 2)]


def test_a_repeated_seed_counts_once_by_its_id() -> None:
    rows = [*method("grid", GRID), *method("ald", GRID)]
    for name, loss in (("a-first", 11.0), ("z-last", 5.0)):
        rows.append({**method("ald", [loss])[0], "search_id": name})
    assert verdict(rows).effect.mean == pytest.approx((11.0 - 10.0) / verdict(rows).gap / 3)
    rows.append({**search("ald", 0, "failed"), "search_id": "0-failed"})  # finished ones come before
    assert verdict(rows).n_failed == 0


def test_a_missing_value_of_the_first_is_not_averaged_away() -> None:
    rows = [*method("grid", GRID), *method("ald", GRID)]
    rows.append({**method("ald", [9.0])[0], "search_id": "a-first", "test_elbo": NAN})
    assert verdict(rows).n_failed == 1


def test_scaled_down_runs_show_nothing() -> None:
    rows = [*method("grid", GRID, scale=0.05), *method("ald", [10.5, 10.4, 10.6], scale=0.05)]
    (of,) = analyse([group(rows)]).groups
    assert of.verdicts == ()
    assert of.headline.lead.startswith("These searches ran on a scaled-down protocol, to see that everything works")
    full = [*method("grid", GRID, scale=1.0), *method("ald", [10.5, 10.4, 10.6], scale=1.0)]
    small = [{**row, "search_id": f"{row['search_id']}-s", "seed": row["seed"] + 3} for row in rows]
    assert verdict([*full, *small]).effect.n == 3


def test_nothing_is_known_of_results_without_an_elbo() -> None:
    rows = [*method("grid", GRID), *method("ald", GRID)]
    for row in rows:
        row["test_elbo"] = NAN
    (of,) = analyse([group(rows)]).groups
    assert of.verdicts == ()
    assert "Nothing can be compared with it: no search has a test ELBO." in of.headline.lead


# ---- the gap


def test_the_gap_is_to_the_best_size_of_the_grid_by_its_mean() -> None:
    rows = method("grid", [11.0, 11.0])
    by_size = [{4: 12.0, 8: 9.0, 16: 10.0}, {4: 12.0, 8: 11.0, 16: 10.0}]  # means 12, 10, 10; the luckiest is 9
    curves = [one for row, of in zip(rows, by_size, strict=True) for one in trainings(row, of)]
    found = losses(rows, curves)
    assert (found.no_latents, found.best, found.gap) == (NO_LATENTS, 10.0, 10.0)
    curves[5]["elbo"] = NAN  # size 16 of seed 0 on the test split: what has gaps comes last
    assert losses(rows, curves).best == 10.0
    assert losses(rows).best == 11.0


def test_no_gap_no_verdict() -> None:
    assert losses_of(group([*method("grid", [30.0, 31.0]), *method("ald", [30.0, 31.0])])) is None
    assert losses_of(group(method("ald", [10.0]))) is None
    assert verdicts_of(group([search("grid", 0, "running"), search("ald")])) == ()


# ---- error rates


def test_p_values_are_scipys_and_agree_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 10):
        for _ in range(50):
            values = rng.normal(0.02, 0.03, n).tolist()
            p = p_below(values, MARGIN)
            assert p == pytest.approx(scipy_stats.ttest_1samp(values, MARGIN, alternative="less").pvalue)
            assert (p < (1 - CONFIDENCE) / 2) == (effect(values).high < MARGIN)
    assert math.isnan(p_below([0.1], MARGIN)) and math.isnan(p_below([0.0] * 3, MARGIN))
    assert (p_below([0.0] * 8, MARGIN), p_below([0.1] * 8, MARGIN), p_below([0.0, math.inf], MARGIN)) == (0.0, 1.0, 1.0)


def decided(rng: np.random.Generator, means: dict[str, float], n: int, sd: float) -> dict[str, Decision]:
    """The decision on one made-up group: differences that share nothing, the first method is the cheapest."""
    differences = {name: rng.normal(mean, sd, n).tolist() for name, mean in means.items()}
    return decide(differences, {name: float(place) for place, name in enumerate(means)}, grid_flops=10.0)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("others", [0, 3])
def test_a_cheap_method_that_is_worse_is_rarely_recommended(n: int, others: int) -> None:
    """Worse by the margin, which is one sd of the noise; few seeds must not make it win (they did in 25 to 82 %)."""
    rng = np.random.default_rng(n)
    means = {"cheap": MARGIN} | {f"equal {k}": 0.0 for k in range(others)}
    times = sum(decided(rng, means, n, MARGIN)["cheap"].recommended for _ in range(3000))
    assert times / 3000 <= 0.04  # 2.5 % at most, and its own error


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("comparisons", [1, 4])
def test_without_differences_worse_is_rarely_said_of_any(n: int, comparisons: int) -> None:
    rng = np.random.default_rng(n)
    groups = 2000
    times = 0
    for _ in range(groups):
        grid = rng.normal(0, MARGIN, n)  # the same grid for all, so that they are correlated
        differences = {str(k): (rng.normal(0, MARGIN, n) - grid).tolist() for k in range(comparisons)}
        times += any(one.shown == "worse" for one in decide(differences, dict.fromkeys(differences, 1.0), 2.0).values())
    assert times / groups <= 0.04


@pytest.mark.parametrize("comparisons", [1, 4])
def test_ten_seeds_show_that_an_equal_method_is_equal(comparisons: int) -> None:
    rng = np.random.default_rng(0)
    means = {str(k): 0.0 for k in range(comparisons)}
    shown = [one.shown for _ in range(300) for one in decided(rng, means, 10, 0.4 * MARGIN).values()]
    assert shown.count("equivalent") / len(shown) > 0.95


def test_holm_is_said_where_it_matters() -> None:
    grid = [10.0 + 0.1 * n for n in range(5)]
    rng = np.random.default_rng(1)
    rows = method("grid", grid) + method(
        "ald", [loss + one for loss, one in zip(grid, [0.2, 0.3, 0.0, 0.05, 0.4], strict=True)]
    )
    assert verdict(rows).shown == "equivalent"
    rows += [row for name in ("tpe", "random", "sparsity") for row in method(name, rng.normal(10.2, 1.0, 5).tolist())]
    found = verdict(rows)
    assert found.effect.shown(MARGIN) == "equivalent" and found.shown == "not shown"
    assert "is, after Holm’s correction over 4 comparisons, shown." in found.sentence
