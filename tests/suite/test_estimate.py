"""The estimate of a search's cost: its FLOPs equal counted ones, its speed is measured, and the dry run adds up."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.backbones.build import build_vae
from benchmark.backbones.linear import product_flops
from benchmark.config.protocol import Named, Protocol, Training
from benchmark.datasets.base import Split
from benchmark.errors import InputError
from benchmark.store import ResultsStore
from benchmark.store.folders import SearchFolder
from benchmark.store.remote import Results
from benchmark.suite.estimate import (
    _count,
    item_flops,
    measured_rate,
    rates,
    search_flops,
    step_flops,
    training_flops,
)
from benchmark.suite.forecast import SLOWEST, long_suite, plan_data
from benchmark.suite.plan import Prepared, SearchSpec, Shared, plan
from benchmark.suite.population import _step_flops
from benchmark.suite.runner import Plan
from benchmark.suite.work import WorkItem, make_items
from benchmark.terminal.plan_table import print_plan, summary
from benchmark.training.loop import train_epoch
from benchmark.training.rng import Purpose, stream
from benchmark.training.state import new_state
from searchers.base import FixedSize, SearchSpace

SHAPE, N_IMAGES = (1, 8, 8), 100
MLP = Named("mlp", {"hidden": [16, 16]})
BACKBONES = {
    "mlp": (MLP, SHAPE),
    "conv": (Named("conv", {"channels": 8, "hidden": 32}), (3, 32, 32)),
    "geco-conv": (Named("geco-conv"), (1, 28, 28)),
    "asperti-conv": (Named("asperti-conv"), (1, 28, 28)),
    "video": (Named("video", {"channels": 4, "n_blocks": 1}), (3, 2, 16, 16)),
}
SPACE = SearchSpace(2, 16, (2, 4, 8))
SETTINGS: dict[str, dict[str, Any]] = {
    "grid@more": {"sizes": [4, 12]},
    "random": {"n_trials": 4},
    "tpe": {"n_trials": 4},
    "ald": {"start_latent_dim": 12},
    "ald@long": {"start_latent_dim": 12, "budget": 1.5},
    "geco-l0arm": {"start_latent_dim": 10, "baseline_latent_dim": 6},
    "sparsity": {"start_latent_dim": 9},
}


def specs_of(
    *searchers: str, seeds: Sequence[int] = (0,), execution: str = "sequential", device: str = "cpu"
) -> list[SearchSpec]:
    training = Training(epochs=3, batch_size=16).with_epochs(N_IMAGES)
    protocol = Protocol("toy", Named("digits"), MLP, training=training, space=SPACE, searchers=SETTINGS)
    return plan(protocol, "", searchers, seeds, device, execution)


def items_of(specs: Sequence[SearchSpec]) -> list[WorkItem]:
    results = Results("nowhere")
    return make_items([(spec, SearchFolder(results.path / "searches" / spec.search_id)) for spec in specs], results)


def flops_of(specs: Sequence[SearchSpec]) -> list[float]:
    return item_flops(items_of(specs), specs, SHAPE, N_IMAGES)


def prepared_of(n_images: int = N_IMAGES, device: str = "cpu") -> Prepared:
    return Prepared(device, Protocol("toy", Named("digits"), MLP), "", "", SHAPE, n_images, Shared("", {}))


def plain(latent_dim: int) -> float:
    """A full training's FLOPs: 3 epochs of 6 whole batches of 16 images."""
    return 3 * 6 * step_flops(MLP, SHAPE, latent_dim, 16)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("latent_dim, batch_size", [(2, 4), (11, 16), (200, 5)])
def test_step_flops_are_those_of_a_real_step(name: str, latent_dim: int, batch_size: int) -> None:
    backbone, shape = BACKBONES[name]
    vae = build_vae(backbone.name, backbone.options, shape, latent_dim, seed=0)
    expected = _step_flops(vae, torch.zeros(batch_size, *shape))
    assert expected > 0 and step_flops(backbone, shape, latent_dim, batch_size) == expected


def test_step_flops_compute_nothing_and_leave_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    wide = Named("mlp", {"hidden": [2**16, 2**16]})  # 400 GB of weights
    assert step_flops(wide, (3, 512, 512), 8, 2**16) > 1e16
    assert torch.equal(torch.get_rng_state(), before)
    assert type(torch.zeros(1)) is torch.Tensor


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_products_by_onednn_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, batch_size = Named("mlp", {"hidden": [64, 64]}), 2**13
    plain_products = step_flops(backbone, SHAPE, 4, batch_size)
    calls: list[torch.Size] = []

    def counted(a: torch.Size, b: torch.Size, *rest: Any, **named: Any) -> int:
        calls.append(a)
        return product_flops(a, b)

    monkeypatch.setattr("benchmark.backbones.linear.ONEDNN", True)
    formulas = {torch.ops.mkldnn._linear_pointwise: counted}
    monkeypatch.setattr("benchmark.training.flops.FLOP_FORMULAS", formulas)
    _count.cache_clear()
    assert step_flops(backbone, SHAPE, 4, batch_size) == plain_products and calls
    _count.cache_clear()


def test_a_backbone_that_cannot_take_the_images_says_so() -> None:
    with pytest.raises(InputError, match="expected"):
        step_flops(Named("video"), (1, 28, 28), 4, 4)


def test_a_batch_is_never_larger_than_the_split() -> None:
    (spec,) = specs_of("sparsity")
    spec = replace(spec, training=replace(spec.training, batch_size=1000))
    assert training_flops(spec, SHAPE, N_IMAGES, 4, 3) == 3 * step_flops(MLP, SHAPE, 4, N_IMAGES)


@pytest.mark.parametrize(
    "searcher, sizes",
    [
        ("grid", (2, 4, 8)),
        ("searchers.experiments.unsampled:UnsampledGrid", (2, 4, 8)),
        ("tpe", (16,) * 4),
        ("ald", (12,)),
        ("ald@long", (12,)),
        ("geco-l0arm", (6, 10)),
        ("sparsity", (9,)),
    ],
)
def test_a_search_is_the_trainings_that_it_expects(searcher: str, sizes: tuple[int, ...]) -> None:
    (spec,) = specs_of(searcher)
    budget = 4 / 3 if searcher == "ald@long" else 1.0  # in whole epochs
    assert search_flops(spec, SHAPE, N_IMAGES) == budget * sum(map(plain, sizes))


def test_random_is_the_sizes_that_its_seed_draws() -> None:
    first, second = specs_of("random", seeds=(0, 1))
    flops = [search_flops(spec, SHAPE, N_IMAGES) for spec in (first, second)]
    assert flops[0] != flops[1] and all(4 * plain(2) <= value <= 4 * plain(16) for value in flops)


def test_items_are_searches_trainings_or_stacks() -> None:
    """What several searches share is counted once."""
    grid, sparsity = plain(2) + plain(4) + plain(8), plain(9)
    names, seeds = ("grid", "sparsity"), (0, 1)
    assert flops_of(specs_of(*names, seeds=seeds)) == [grid, grid, sparsity, sparsity]
    spread = flops_of(specs_of(*names, seeds=seeds, execution="spread"))
    assert spread == [plain(2), plain(4), plain(8)] * 2 + [0, 0, sparsity, sparsity]
    assert flops_of(specs_of(*names, seeds=seeds, execution="stacked")) == [2 * grid, 0, 0, sparsity, sparsity]
    assert flops_of(specs_of("grid", "grid@more")) == [grid, plain(12)]
    assert flops_of(specs_of("grid", "grid@more", execution="spread")) == [*map(plain, (2, 4, 8, 12)), 0, 0]
    assert flops_of(specs_of("grid", "tpe")) == [grid, 4 * plain(16)]  # whose sizes nobody knows


def searches_of(*rows: tuple[str, str, str, float | None, float]) -> pd.DataFrame:
    columns = ["backbone", "status", "env_device", "train_flops", "train_seconds"]
    return pd.DataFrame(rows, columns=columns).assign(eval_seconds=1.0)


def test_the_rate_is_the_median_of_finished_searches_of_that_backbone_and_device() -> None:
    searches = searches_of(
        ("mlp", "done", "cpu", 100.0, 9.0),
        ("mlp", "done", "cpu", 80.0, 1.0),
        ("mlp", "done", "cpu", 30.0, 1.0),
        ("mlp", "done", "NVIDIA H200", 5000.0, 4.0),
        ("mlp", "failed", "cpu", None, 1.0),
        ("mlp", "running", "cpu", 1e9, 1.0),
        ("conv", "done", "cpu", 7.0, 6.0),
    )
    assert rates(searches, "mlp", "cpu").median() == 15.0
    assert rates(searches, "mlp", "cuda").median() == 1000.0
    assert rates(searches, "conv", "cpu").median() == 1.0
    assert rates(searches, "conv", "cuda").empty and rates(searches, "video", "cpu").empty


def test_an_empty_store_has_no_rate(tmp_path: Any) -> None:
    (tmp_path / "searches").mkdir()
    assert rates(ResultsStore(tmp_path).searches(), "mlp", "cpu").empty


def test_the_measured_rate_is_a_speed_and_the_threads_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.suite.estimate.MEASURED_SECONDS", 0.05)
    threads = torch.get_num_threads()
    (spec,) = specs_of("sparsity")
    torch.set_num_threads(2)
    try:
        measured = measured_rate(spec, SHAPE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert 1e5 < measured < 1e13


def test_the_dry_run_adds_up() -> None:
    specs = specs_of("sparsity", "grid", seeds=(0, 1))
    grid, sparsity = plain(2) + plain(4) + plain(8), plain(9)
    done = {specs[0].search_id}
    data = plan_data(specs, items_of(specs[1:]), SHAPE, N_IMAGES, done, speed=sparsity / 3600, workers=2)
    assert [(row.searcher, row.seeds, row.to_run, row.trainings) for row in data.rows] == [
        ("grid", (0, 1), 2, 3),
        ("sparsity", (0, 1), 1, 1),
    ]
    assert [row.flops for row in data.rows] == [grid, sparsity]
    hours = [row.hours for row in data.rows]
    assert np.allclose([float(value or 0) for value in hours], [grid / sparsity, 1.0])
    assert (data.searches, data.done, data.flops) == (4, 1, 2 * grid + sparsity)
    assert data.hours == pytest.approx(2 * grid / sparsity + 1)
    assert data.placement is not None and data.placement.makespan == pytest.approx(grid / sparsity + 1)
    assert data.tasks == "search"
    line = summary(data, 2, "CPU")
    assert line.startswith("4 searches, 1 done;") and "on 2 at a time" in line and "the longest search takes" in line


def test_the_dry_run_places_spread_trainings_alone() -> None:
    """And counts what two searches share once in the totals, in full in their rows."""
    specs = specs_of("grid", "grid@more", execution="spread")
    data = plan_data(specs, items_of(specs), SHAPE, N_IMAGES, set(), speed=plain(12) / 3600, workers=4)
    assert data.placement is not None and data.placement.makespan == pytest.approx(1.0)
    assert data.tasks == "task" and data.flops == sum(map(plain, (2, 4, 8, 12)))
    assert {row.searcher: row.flops for row in data.rows} == {
        "grid": plain(2) + plain(4) + plain(8),
        "grid@more": plain(4) + plain(12),
    }


def _print(specs: Sequence[SearchSpec], done: set[str], searches: pd.DataFrame, workers: int) -> None:
    pending = [spec for spec in specs if spec.search_id not in done]
    print_plan(Plan(specs, items_of(pending), prepared_of(), done, searches, workers))


def test_hours_are_not_invented(capsys: pytest.CaptureFixture[str]) -> None:
    specs = specs_of("grid", "ald", device="cuda:1")
    _print(specs, set(), pd.DataFrame(), 4)
    printed = capsys.readouterr().out
    assert "no finished search on a GPU in this results folder tells the speed; hours are not known" in printed
    assert "hours a search (GPU)" in printed and "to go" in printed and "at a time" not in printed


def test_the_source_of_the_speed_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.suite.estimate.MEASURED_SECONDS", 0.01)
    specs = specs_of("grid", "ald")
    _print(specs, set(), pd.DataFrame(), 4)
    printed = capsys.readouterr().out
    assert "speed: measured now" in printed and "CPU hours to go; on 4 at a time" in printed
    finished = searches_of(*[("mlp", "done", "cpu", 3.6e12, 1.0)] * 3)
    _print(specs, set(), finished, 0)
    printed = capsys.readouterr().out
    assert "speed: median of 3 finished searches" in printed and "at a time" not in printed
    _print(specs, {spec.search_id for spec in specs}, finished, 4)
    assert "2 searches, 2 done\nno search has to run" in capsys.readouterr().out


LONG = 10**9  # images, of which even the smallest network takes hours


def announced(specs: Sequence[SearchSpec], n_images: int, hours_of_a_sparsity: float, workers: int = 1) -> str | None:
    """The line on a suite, where a finished search tells the speed."""
    flops = search_flops(specs_of("sparsity")[0], SHAPE, n_images)
    done = searches_of(("mlp", "done", "cpu", flops, 3600 * hours_of_a_sparsity - 1.0))
    return long_suite(specs, items_of(specs), prepared_of(n_images), workers, lambda: done)


def test_a_suite_of_more_than_two_hours_is_announced_with_cheaper_ways() -> None:
    assert announced(specs_of("sparsity"), LONG, hours_of_a_sparsity=1.99) is None
    line = announced(specs_of("sparsity"), LONG, hours_of_a_sparsity=2.01)
    assert line is not None and "about 2.01 hours; cheaper: --scale 0.1, a GPU (" in line and "\n" not in line
    line = announced(specs_of("sparsity", seeds=(0, 1)), LONG, hours_of_a_sparsity=1.5)
    assert line is not None and "about 3 hours; cheaper: --scale 0.1, --seeds 0, a GPU (" in line
    assert announced(specs_of("sparsity", seeds=(0, 1)), LONG, hours_of_a_sparsity=1.5, workers=2) is None
    line = announced(specs_of("sparsity", "grid"), LONG, hours_of_a_sparsity=1.5)
    assert line is not None and "cheaper: --searchers sparsity, --scale 0.1, a GPU (" in line
    assert announced([], LONG, hours_of_a_sparsity=9) is None


def test_no_speed_is_measured_for_a_suite_that_no_machine_takes_long_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> pd.DataFrame:
        raise AssertionError("the results are read for long suites alone")

    (spec,) = specs_of("sparsity")
    assert search_flops(spec, SHAPE, N_IMAGES) < SLOWEST * 7200 < search_flops(spec, SHAPE, LONG)
    assert long_suite([spec], items_of([spec]), prepared_of(), 1, read) is None
    with pytest.raises(AssertionError, match="long suites alone"):
        long_suite([spec], items_of([spec]), prepared_of(LONG), 1, read)


def test_on_a_gpu_of_unknown_speed_nothing_is_announced() -> None:
    specs = specs_of("sparsity", device="cuda")
    assert long_suite(specs, items_of(specs), prepared_of(LONG, "cuda"), 1, pd.DataFrame) is None


def test_a_training_counts_what_was_estimated() -> None:
    (spec,) = specs_of("sparsity")
    pixels = torch.randint(256, (N_IMAGES, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(pixels, torch.zeros(N_IMAGES, dtype=torch.int64), torch.arange(N_IMAGES))
    state = new_state(build_vae("mlp", MLP.options, SHAPE, 9, seed=0), FixedSize(), 1e-3)
    for epoch in range(spec.training.epochs):
        train_epoch(state, split, spec.training, stream(Purpose.ORDER, 0, 0, epoch), stream(Purpose.NOISE, 0, 0, epoch))
    assert state.train_flops == search_flops(spec, SHAPE, N_IMAGES) > 0
