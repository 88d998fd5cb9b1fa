"""What makes two searches the same search: ids and hashes of what they depend on."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmark.config.protocol import Named, Protocol, load_protocol
from benchmark.suite.plan import SearchSpec, plan
from searchers.base import SearchSpace


def _spec(protocol: Protocol, searcher: str = "ald", seed: int = 0, fingerprint: str = "f") -> SearchSpec:
    (spec,) = plan(protocol, fingerprint, [searcher], [seed])
    return spec


BASE = load_protocol("manifold")
TRAINING = {"epochs": 9, "batches": 9, "scale": 0.9, "batch_size": 9, "learning_rate": 0.9, "threads": 9}
Change = Callable[[], SearchSpec]
CONDITIONS: dict[str, Change] = {
    "dataset": lambda: _spec(replace(BASE, dataset=Named("digits"))),
    "dataset option": lambda: _spec(replace(BASE, dataset=Named("manifold", {"latent_dim": 6}))),
    "data": lambda: _spec(BASE, fingerprint="g"),
    "backbone": lambda: _spec(replace(BASE, backbone=Named("conv"))),
    "backbone option": lambda: _spec(replace(BASE, backbone=Named("mlp", {"hidden": [128, 127]}))),
    "space": lambda: _spec(replace(BASE, space=SearchSpace(2, 16, (3, 4)))),
    **{
        f"training {name}": lambda name=name, value=value: _spec(
            replace(BASE, training=replace(BASE.training, **{name: value}))
        )
        for name, value in TRAINING.items()
    },
    **{
        f"evaluation {name}": lambda name=name, value=value: _spec(
            replace(BASE, evaluation=replace(BASE.evaluation, **{name: value}))
        )
        for name, value in {"features": "inception", "max_images": 9, "silhouette_images": 9}.items()
    },
}
OWN: dict[str, Change] = {
    "seed": lambda: _spec(BASE, seed=1),
    "searcher": lambda: _spec(BASE, "sparsity"),
    "setting": lambda: _spec(replace(BASE, searchers={"ald": {"patience": 6}})),
}


def test_search_ids_differ_with_everything() -> None:
    ids = [_spec(BASE).search_id, *(change().search_id for change in (CONDITIONS | OWN).values())]
    assert len(set(ids)) == len(ids) == 19
    assert _spec(BASE).search_id == _spec(BASE).search_id
    assert _spec(BASE).search_id.startswith("manifold-mlp-ald-s0-")


@pytest.mark.parametrize("change", OWN.values(), ids=OWN)
def test_protocol_hash_is_of_the_conditions(change: Change) -> None:
    assert change().protocol_hash == _spec(BASE).protocol_hash


def test_protocol_hashes_differ_with_the_conditions() -> None:
    hashes = [_spec(BASE).protocol_hash, *(change().protocol_hash for change in CONDITIONS.values())]
    assert len(set(hashes)) == len(hashes)


def test_searches_of_other_partitions_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """So searches from before seeds had splits of their own are neither continued nor compared."""
    before, key = _spec(BASE), _spec(BASE).training_key(4, 2)
    before_id, before_hash = before.search_id, before.protocol_hash
    monkeypatch.setattr("benchmark.suite.plan.N_PARTITIONS", 1)
    assert before.search_id != before_id and before.protocol_hash != before_hash
    assert before.training_key(4, 2) != key


def test_spelt_out_defaults_are_the_same_search() -> None:
    spelt = replace(BASE, searchers={"ald": {"patience": 5, "removal": "random"}})
    assert _spec(spelt).search_id == _spec(BASE).search_id
    assert _spec(replace(BASE, name="renamed", summary="x")).search_id == _spec(BASE).search_id
    settings = _spec(BASE).settings
    assert settings["window"] == 20 and settings["start_latent_dim"] is None


def test_names_that_are_no_file_names() -> None:
    spec = _spec(BASE, "searchers.whole_run.grid:Grid")
    assert spec.search_id.startswith("manifold-mlp-searchers_whole_run_grid_Grid-s0-")


def test_a_folder_is_known_by_its_content() -> None:
    one, other = (
        _spec(replace(BASE, dataset=Named(name, options)))
        for name, options in (("folder:/a b/c", {}), ("folder:c/", {"size": 64, "fit": "crop"}))
    )
    assert one.search_id == other.search_id and one.search_id.startswith("folder-mlp-ald-s0-")
    assert one.protocol_hash == other.protocol_hash
    assert one.identity()["dataset"] == "folder:/a b/c"
    changed = _spec(replace(BASE, dataset=Named("folder:/a b/c")), fingerprint="g")
    assert changed.search_id != one.search_id and changed.protocol_hash != one.protocol_hash


def test_the_words_about_the_data_are_recorded_and_change_no_id() -> None:
    (spec,) = plan(BASE, "f", ["ald"], [0], data="7,000 images")
    assert (spec.search_id, spec.protocol_hash) == (_spec(BASE).search_id, _spec(BASE).protocol_hash)
    assert spec.identity()["data"] == "7,000 images" and spec.identity()["data_fingerprint"] == "f"
