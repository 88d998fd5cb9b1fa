"""What the results must hold: each refusal has its line, and what is read is what was registered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from claim_store import CLAIM, GAP, ONE_BLOCK, ClaimStore, Row, complete, registered
from commands import TINY, benchmark

from benchmark.config.protocol import load_protocol
from benchmark.errors import InputError
from benchmark.store import ResultsStore
from reports.claims.evidence import Evidence
from reports.claims.gather import conditions, gather
from reports.claims.stored import Store

RUN = "run: latentbench run --protocol digits --searchers"


def gathered(folder: Path, *stores: Store, text: str = CLAIM, blocks: str = ONE_BLOCK) -> Evidence:
    return gather(registered(folder, text, blocks), stores)


def refusal(folder: Path, *stores: Store, text: str = CLAIM, blocks: str = ONE_BLOCK) -> str:
    with pytest.raises(InputError) as found:
        gathered(folder, *stores, text=text, blocks=blocks)
    return str(found.value)


def test_the_numbers_are_those_of_the_store(tmp_path: Path) -> None:
    losses = (0.01, -0.01, 0.0, 0.02, -0.02, 0.03)
    found = gathered(tmp_path, complete(losses))
    (block,) = found.blocks
    mean_noise = np.mean([0.01 * math.sin(5 * seed) for seed in range(6)])
    assert block.gap == pytest.approx(GAP * (1 - mean_noise))
    assert not block.gap_registered
    assert list(block.losses().values()) == pytest.approx([loss * GAP / block.gap for loss in losses])
    assert list(block.control_losses("smallest").values()) == pytest.approx([0.6 * GAP / block.gap] * 6)
    assert list(block.control_losses("half").values()) == pytest.approx([0.3 * GAP / block.gap] * 6)
    assert block.size_ratios() == dict.fromkeys(range(6), 0.0)
    assert block.cost() == 8 / 32
    assert found.decides_by_itself
    assert found.draws == (20,)
    assert found.n_ignored == 0
    assert found.versions == ("latentbench 0.3.0 (commit c0ffeec0ff)",)


def test_a_registered_gap_and_the_other_metric(tmp_path: Path) -> None:
    store = complete()
    store.change(lambda row: row["searcher"] == "sparsity", test_iwae=-20.0)
    found = gathered(tmp_path, store, text=CLAIM + 'metric = "iwae"\n', blocks=ONE_BLOCK + "gap = 2.0\n").blocks[0]
    assert (found.gap, found.gap_registered) == (2.0, True)
    assert found.losses()[0] == pytest.approx((20 - 25.5) / 2)


def is_grid(row: Row) -> bool:
    return row["searcher"] == "grid"


def of(searcher: str, *seeds: int) -> Callable[[Row], bool]:
    return lambda row: row["searcher"] == searcher and row["seed"] in seeds


REFUSED: dict[str, tuple[Callable[[Row], bool], Row, str]] = {
    "running": (
        of("sparsity", 2),
        {"status": "running"},
        f"sparsity (seed 2) is still running; {RUN} sparsity --seeds 2",
    ),
    "smoke": (
        of("grid", 1, 3),
        {"scale": 0.05, "protocol_hash": "f" * 12},
        "grid (seeds 1, 3) is there at scale 0.05 only",
    ),
    "hash": (of("grid", 0), {"protocol_hash": "abc"}, "other conditions or settings only (protocol hash abc)"),
    "settings": (
        is_grid,
        {"setting_sizes": "[4, 8]"},
        "grid (seeds 0 to 5) is there under other conditions or",
    ),
    "rule": (is_grid, {"rule": "mean-rank"}, "chose by mean-rank in place of smallest-good (set it in the protocol)"),
    "no rule": (of("grid", 4), {"rule": ""}, "grid (seed 4) chose by no rule in place of smallest-good"),
    "its rule": (of("sparsity", 4), {"rule": "knee"}, "sparsity (seed 4) chose by knee in place of smallest-good"),
    "old": (of("grid", 0), {"test_draws": None}, "grid (seed 0) lacks the test values of its trainings (an earlier"),
    "baseline": (of("grid", 0), {"no_latents_nll": None}, "lacks the test values of its trainings"),
    "backbone": (of("grid", 0), {"backbone": "conv", "protocol_hash": "abc"}, "grid (seed 0) is missing"),
    "dataset": (of("grid", 0), {"dataset": "mnist"}, "grid (seed 0) is missing"),
    "all failed": (lambda row: True, {"status": "failed"}, "has failed, and no search of the block is done"),
    "all grids failed": (
        is_grid,
        {"status": "failed", "test_elbo": None},
        "all searches of grid failed; see why, and run",
    ),
    "no gap": (lambda row: True, {"no_latents_nll": 3.0}, "latents are worth -23 nats over none; expected above 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    which, values, says = REFUSED[name]
    store = complete()
    store.change(which, **values)
    message = refusal(tmp_path, store)
    assert message.startswith("block digits: ")
    assert says in message
    assert RUN in message or "expected" in message
    assert "\n" not in message


def test_missing_searches_and_their_command(tmp_path: Path) -> None:
    store = complete()
    store.rows = [row for row in store.rows if row["seed"] < 4 and (row["searcher"], row["seed"]) != ("grid", 1)]
    says = "block digits: grid (seeds 1, 4, 5) and sparsity (seeds 4, 5) are missing; "
    assert refusal(tmp_path, store) == f"{says}{RUN} grid sparsity --seeds 1 4 5"
    assert f"{RUN} grid sparsity --seeds 0 1 2 3 4 5" in refusal(tmp_path, ClaimStore())
    (tmp_path / "my own.toml").write_text('extends = "digits"\n')
    message = refusal(tmp_path, ClaimStore(), blocks='[[blocks]]\nprotocol = "my own.toml"\n')
    assert f"run --protocol '{tmp_path / 'my own.toml'}' --searchers" in message


def test_no_test_rows(tmp_path: Path) -> None:
    store = complete()
    store.tested = [row for row in store.tested if row["split"] == "val"]
    assert "lacks the test values of its trainings (an earlier version's; use a new results folder)" in refusal(
        tmp_path, store
    )
    store.tested = [{key: value for key, value in row.items() if key != "split"} for row in store.tested]
    assert "lacks the test values" in refusal(tmp_path, store)


def test_two_hashes_are_refused(tmp_path: Path) -> None:
    store = complete()
    store.add("sparsity", 0, 0.5, data_fingerprint="d2")
    planned = conditions(load_protocol("digits"), ("sparsity",), store.searches().iloc[-1])
    assert planned is not None
    ours, theirs = store.rows[0]["protocol_hash"], planned["sparsity"].protocol_hash
    store.rows[-1]["protocol_hash"] = theirs
    assert f"protocol hashes {', '.join(sorted((ours, theirs)))} (other data, or" in refusal(tmp_path, store)


def test_several_blocks_lack_something(tmp_path: Path) -> None:
    two = ONE_BLOCK + '[[blocks]]\nprotocol = "manifold"\n'
    message = refusal(tmp_path, ClaimStore(), blocks=two)
    assert message.startswith("block digits: ") and message.endswith(" (and so for 1 more blocks)")
    message = refusal(tmp_path, complete(), blocks=two)
    assert message.startswith("block manifold: ") and "--protocol manifold" in message


def test_several_folders_and_what_is_ignored(tmp_path: Path) -> None:
    two = ONE_BLOCK + '[[blocks]]\nprotocol = "manifold"\n'
    first, second = complete(), complete(protocol="manifold")
    first.add("ald", 0, 0.0)
    first.add("sparsity", 77, 0.0)
    first.add("sparsity", 0, 0.9, execution="stacked")  # a fixed rule: the sequential one counts
    found = gathered(tmp_path, first, second, blocks=two)
    assert found.datasets == ("digits", "manifold")
    assert found.n_ignored == 3
    assert found.blocks[0].losses()[0] < 0.1


def test_a_search_in_two_folders_counts_once(tmp_path: Path) -> None:
    again = complete([0.9] * 6)  # the same ids
    found = gathered(tmp_path, complete(), again)
    assert found.n_ignored == 0
    assert max(found.blocks[0].losses().values()) < 0.1
    assert min(gathered(tmp_path, again, complete()).blocks[0].losses().values()) > 0.8


def test_failed_searches_count(tmp_path: Path) -> None:
    store = complete()
    store.change(of("sparsity", 3), status="failed", test_elbo=None, latent_dim=None, test_fid_features=None)
    store.change(of("grid", 1), status="failed", test_elbo=None, latent_dim=None)
    store.change(of("sparsity", 5), test_elbo=math.nan)  # a model without a finite loss
    found = gathered(tmp_path, store).blocks[0]
    assert found.losses()[3] == found.losses()[5] == 1
    assert abs(found.losses()[1]) < 0.05
    assert set(found.losses_without_failures()) == {0, 2, 4}


def test_searches_of_a_table_have_the_likelihood_that_they_found(tmp_path: Path) -> None:
    text = TINY.format(epochs=1).replace('"digits"', '"factors"').replace('"classifier"', '"auto"')
    (tmp_path / "rows.toml").write_text(text)
    arguments = ["--protocol", "rows.toml", "--searchers", "sparsity", "--seeds", 0]
    assert benchmark("run", *arguments, cwd=tmp_path, cache=tmp_path / "cache").returncode == 0
    (row,) = (row for _, row in ResultsStore(tmp_path / "results").searches().iterrows())
    asked = load_protocol(str(tmp_path / "rows.toml"))
    planned = conditions(asked, ("sparsity",), row)
    assert planned is not None and row["likelihood"] == "gaussian-optimal"
    assert planned["sparsity"].protocol_hash == row["protocol_hash"]
    other = conditions(replace(asked, likelihood="gaussian"), ("sparsity",), row)  # what is named stays
    assert other is not None and other["sparsity"].likelihood == "gaussian"
    early = conditions(asked, ("sparsity",), row.drop("likelihood"))
    assert early is not None and early["sparsity"].likelihood == "bernoulli"


def test_real_searches_have_the_conditions_that_the_protocol_plans(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=1))
    arguments = ["--protocol", "tiny.toml", "--searchers", "grid", "sparsity", "--seeds", 0, 1]
    assert benchmark("run", *arguments, cwd=tmp_path, cache=tmp_path / "cache").returncode == 0
    searches = ResultsStore(tmp_path / "results").searches()
    assert len(searches) == 4
    for _, row in searches.iterrows():
        planned = conditions(load_protocol(str(tmp_path / "tiny.toml")), (row["searcher"],), row)
        assert planned is not None
        assert planned[row["searcher"]].protocol_hash == row["protocol_hash"]
    text = 'claim = "a"\nmethod = "sparsity"\nseeds = [0, 1, 2]\n'
    store = ResultsStore(tmp_path / "results")
    message = refusal(tmp_path, store, text=text, blocks='[[blocks]]\nprotocol = "tiny.toml"\n')
    assert "grid (seed 2) and sparsity (seed 2) are missing" in message
    assert "other conditions" not in message  # so those of the other seeds were found
