"""The numbers beside a verdict against closed forms, other libraries and the published power table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from claim_store import evidence
from scipy.stats import ttest_1samp
from statsmodels.stats.weightstats import ttost_paired

from reports.analysis.effects import effect, new_interval
from reports.claims import companions
from reports.claims.claim import Block, Claim
from reports.claims.evidence import BlockEvidence

CLAIM = Claim("As good.", "sparsity", (Block("digits"),), (0, 1, 2))
TABLE = [  # margin, true loss, tau, data sets, power with 3, 5 and 10 seeds whose sd is 3 % of the gap
    (0.02, 0.0, 0.01, 6, (0.51, 0.65, 0.81)),
    (0.02, 0.005, 0.01, 12, (0.66, 0.81, 0.93)),
    (0.02, 0.01, 0.01, 8, (0.23, 0.31, 0.43)),
    (0.05, 0.01, 0.02, 6, (0.84, 0.90, 0.94)),
    (0.05, 0.02, 0.02, 12, (0.95, 0.97, 0.99)),
]


@pytest.mark.parametrize("margin, loss, tau, n, chances", TABLE)
def test_power(margin: float, loss: float, tau: float, n: int, chances: tuple[float, ...]) -> None:
    found = [companions.power(loss, margin, math.sqrt(tau**2 + 0.03**2 / seeds), n) for seeds in (3, 5, 10)]
    assert found == pytest.approx(chances, abs=0.012)


def test_power_is_unknown_without_spread() -> None:
    assert math.isnan(companions.power(0.0, 0.05, 0.0, 6))
    assert math.isnan(companions.power(0.0, 0.05, 0.1, 1))


def test_spread() -> None:
    found = companions.spread(evidence({("a", "a"): [0.0, 0.2], ("b", "b"): [1.0, 1.4, 1.2], ("c", "b"): [1.2, 1.2]}))
    assert found.seeds_df == 4
    assert found.seeds == pytest.approx(math.sqrt((0.02 + 0.08) / 4))
    assert found.units == pytest.approx(1.1 / math.sqrt(2))
    assert found.between == pytest.approx(math.sqrt(1.1**2 / 2 - (0.02 / 2 + (0.04 / 3) / 4) / 2))
    single = companions.spread(evidence({("a", "a"): [0.0, 0.2]}))
    assert math.isnan(single.between)
    assert single.units == pytest.approx(0.2 / math.sqrt(2))


def test_seeds_explain_equal_means() -> None:
    assert companions.spread(evidence({(f"{i}", f"{i}"): [0.1, -0.1] for i in range(4)})).between == 0


def test_the_interval_for_a_new_data_set() -> None:
    losses = effect([0.0, 0.1, 0.2, 0.3])
    low, high = new_interval(losses.mean, 0.1, float(np.std([0, 0.1, 0.2, 0.3], ddof=1)), losses.n)
    half = 3.1824 * math.sqrt(0.1**2 + (1 / 60) / 4)
    assert (low, high) == pytest.approx((0.15 - half, 0.15 + half), rel=1e-4)


def test_both_ways_is_tost() -> None:
    generator = np.random.default_rng(3)
    seen = set()
    for _ in range(60):
        values = generator.normal(0.01, 0.04, 6)
        expected = ttost_paired(values, np.zeros(6), -0.05, 0.05)[0] < 0.05
        seen.add(bool(expected))
        assert companions.equivalent_both_ways(dict(zip("abcdef", values, strict=True)), 0.05) == expected
    assert seen == {True, False}


def test_without_each() -> None:
    found = companions.without_each({"a": 0.0, "b": 0.1, "c": 0.5})
    assert found["c"] == effect([0.0, 0.1])
    assert max(found, key=lambda name: found[name].mean) == "a"


def test_blocks_alone_are_paired_tests_after_holm() -> None:
    generator = np.random.default_rng(5)
    losses = {(name, name): list(generator.normal(0.02, 0.03, 4)) for name in "abc"}
    found = evidence(losses)
    tests = companions.block_tests(CLAIM, found)
    for (name, _), values in losses.items():
        assert tests[name].p == pytest.approx(ttest_1samp(values, 0.05, alternative="less").pvalue)
    first, second, third = sorted(tests.values(), key=lambda test: test.p)
    assert first.p_holm == pytest.approx(3 * first.p) and first.p < second.p < third.p
    assert second.p_holm == pytest.approx(max(3 * first.p, 2 * second.p))
    assert third.p_holm == pytest.approx(max(second.p_holm, third.p)) and third.p_holm < 1
    same = companions.block_tests(CLAIM, evidence({("a", "a"): [0.01] * 3}))
    assert same["a"].p == 1  # the same models in few seeds show nothing of others


def test_units_leave_out_what_has_no_value() -> None:
    found = evidence({("a", "a"): [0.0, 0.1], ("b", "b"): [0.2, 0.3]})
    assert found.units(lambda block: {} if block.name == "a" else block.losses()) == {"b": pytest.approx(0.25)}
    assert found.units(BlockEvidence.losses) == {"a": pytest.approx(0.05), "b": pytest.approx(0.25)}
