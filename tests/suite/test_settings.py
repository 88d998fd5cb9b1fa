"""Settings from tables, protocols from TOML, and what makes two searches the same search."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import Field

from benchmark.backbones.build import make_backbone
from benchmark.config.protocol import (
    DEFAULT_SEARCHERS,
    DEFAULT_SEEDS,
    Named,
    Protocol,
    Training,
    dataset_protocol,
    load_protocol,
    parse_protocol,
    protocol_names,
)
from benchmark.config.settings import from_mapping
from benchmark.datasets import DATASETS
from benchmark.errors import InputError
from benchmark.suite.plan import SearchSpec, make_searcher, plan, searcher_class
from searchers import SEARCHERS
from searchers.whole_run.grid import Grid


@dataclass(frozen=True)
class Inner:
    low: Annotated[int, Ge(0)] = 1
    high: int = 9

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise ValueError(f"low is {self.low} and high {self.high}; expected low <= high")


@dataclass(frozen=True)
class Outer:
    count: int
    rate: float = 0.5
    name: str = "a"
    flag: bool = False
    limit: float | None = None
    sizes: tuple[int, ...] = ()
    inner: Inner = field(default_factory=Inner)
    kind: Literal["mean", "last"] = "mean"
    either: int | str | list[int] = 0
    pair: tuple[int, str] = (0, "")
    by_name: dict[str, float] = field(default_factory=dict)
    several: list[Inner] = field(default_factory=list)
    bound: Annotated[float, Field(allow_inf_nan=True)] = math.inf


VALUES: dict[str, tuple[Any, Any]] = {  # what a table says, and what a searcher gets
    "rate": (2, 2.0),
    "name": ("b", "b"),
    "flag": (True, True),
    "limit": (4, 4.0),
    "sizes": ([1, 2], (1, 2)),
    "inner": ({"low": 7}, Inner(7)),
    "kind": ("last", "last"),
    "either": ([1, 2], [1, 2]),
    "pair": ([1, "a"], (1, "a")),
    "by_name": ({"a": 1}, {"a": 1.0}),
    "several": ([{"low": 2}, {}], [Inner(2), Inner()]),
    "bound": (-math.inf, -math.inf),
}


def test_every_type() -> None:
    settings = from_mapping(Outer, {"count": 3, **{name: value for name, (value, _) in VALUES.items()}}, "outer")
    assert settings == Outer(3, **{name: expected for name, (_, expected) in VALUES.items()})
    assert type(settings.rate) is type(settings.limit) is float  # an int is taken for a float
    assert from_mapping(Outer, {"count": 3, "limit": None}, "outer") == Outer(3)
    assert from_mapping(Outer, {"count": 3, "inner": Inner(2), "either": "x"}, "outer") == Outer(
        3, inner=Inner(2), either="x"
    )


@pytest.mark.parametrize(
    "table, message",
    [
        ({"cuont": 3}, r"^outer: unknown setting 'cuont'; did you mean 'count'\? expected one of count, rate"),
        ({"count": 3, "xyz": 3}, r"^outer: unknown setting 'xyz'; expected one of count"),
        ({"count": 3, "inner": {"lwo": 3}}, r"^outer: inner: unknown setting 'lwo'; did you mean 'low'\?"),
        ({"count": 3.0}, r"^outer: count is 3.0; expected int"),
        ({"count": True}, r"^outer: count is True; expected int"),
        ({"count": "3"}, r"^outer: count is '3'; expected int"),
        ({"count": None}, r"^outer: count is None; expected int"),
        ({"count": 3, "rate": "x"}, r"^outer: rate is 'x'; expected float"),
        ({"count": 3, "rate": True}, r"^outer: rate is True; expected float"),
        ({"count": 3, "flag": 1}, r"^outer: flag is 1; expected bool"),
        ({"count": 3, "name": 1}, r"^outer: name is 1; expected str"),
        ({"count": 3, "limit": "x"}, r"^outer: limit is 'x'; expected float"),
        ({"count": 3, "sizes": 4}, r"^outer: sizes is 4; expected a list$"),
        ({"count": 3, "sizes": [4, "x"]}, r"^outer: sizes is 'x'; expected int"),
        ({"count": 3, "inner": 4}, r"^outer: inner is 4; expected a table of settings$"),
        ({"count": 3, "inner": {"low": -1}}, r"^outer: inner: low is -1; expected at least 0$"),
        ({"count": 3, "inner": {"low": 10}}, r"^outer: inner: low is 10 and high 9; expected low <= high$"),
        (
            {"count": 3, "kind": "lats"},
            r"^outer: unknown kind 'lats'; did you mean 'last'\? expected one of mean, last$",
        ),
        ({"count": 3, "kind": 1}, r"^outer: kind is 1; expected 'mean' or 'last'$"),
        ({"count": 3, "either": 1.5}, r"^outer: either is 1.5; expected int or str or a list$"),
        ({"count": 3, "pair": [1]}, r"^outer: pair is \[1\]; expected a longer list$"),
        ({"count": 3, "pair": [1, "a", 2]}, r"^outer: pair is \[1, 'a', 2\]; expected a list of at most 2$"),
        ({"count": 3, "by_name": {"a": "x"}}, r"^outer: by_name: a is 'x'; expected float$"),
        ({"count": 3, "several": [{"lwo": 3}]}, r"^outer: several: unknown setting 'lwo'; did you mean 'low'\?"),
        ({"count": 3, "several": [{}, {"low": -1}]}, r"^outer: several: low is -1; expected at least 0$"),
        ({"count": 3, "rate": math.nan}, r"^outer: rate is nan; expected a finite number$"),
        ({"count": 3, "limit": math.inf}, r"^outer: limit is inf; expected a finite number$"),
        ({"count": 2**31}, r"^outer: count is 2147483648; expected at most 2147483647$"),
        ({"count": 3, "either": [-(2**40)]}, r"^outer: either is -1099511627776; expected at least -2147483647$"),
        ({"count": 3, "name": "\udcff"}, r"^outer: name is '.udcff', which is no Unicode text; choose another name$"),
        ({"count": date(2026, 1, 1)}, r"^outer: count is 2026-01-01; expected a number, a string, a list or a table$"),
        ({}, r"^outer: count is missing; expected a value$"),
        ([1], r"^outer: got \[1\]; expected a table of settings"),
    ],
)
def test_what_does_not_fit(table: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping(Outer, table, "outer")


# --- protocols


@pytest.mark.parametrize("name", protocol_names())
def test_bundled_protocol(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name and protocol.summary
    assert protocol.dataset.name in DATASETS
    make_backbone(protocol.backbone.name, protocol.backbone.options)
    for searcher in {*SEARCHERS, *protocol.searchers}:  # those with settings may be variants: ald@100
        make_searcher(searcher, protocol.searchers.get(searcher, {}))
    specs = plan(protocol, "f", protocol.run, protocol.seeds)
    assert len({spec.search_id for spec in specs}) == len(specs) == len(protocol.run) * len(protocol.seeds) > 0
    for name in (*SEARCHERS, *protocol.run):  # no table's start may lie below what it can shrink to
        assert make_searcher(name, protocol.searchers.get(name, {})).expected(protocol.space, 3, 0)


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_has_a_protocol(name: str) -> None:
    protocol = dataset_protocol(name)
    assert protocol.dataset.name == name and protocol.name in protocol_names()
    assert (protocol.run, protocol.seeds) == (DEFAULT_SEARCHERS, DEFAULT_SEEDS)
    assert dataset_protocol("folder:/a/b") == dataset_protocol("folder")


MINIMAL = '[dataset]\nname = "digits"\n[backbone]\nname = "mlp"\n'


def test_parse_protocol() -> None:
    text = f'summary = "s"\n{MINIMAL}hidden = [9]\n[training]\nepochs = 7\n[searchers.grid]\nsizes = [2, 3]\n'
    protocol = parse_protocol(text, "mine")
    assert (protocol.name, protocol.summary, protocol.training) == ("mine", "s", Training(epochs=7))
    assert protocol.backbone == Named("mlp", {"hidden": [9]}) and protocol.dataset == Named("digits")
    assert make_searcher("grid", protocol.searchers["grid"]) == Grid(sizes=(2, 3))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[dataset", "protocol mine: not valid TOML"),
        ("", "dataset is None; expected a table with a name"),
        ('[dataset]\nname = "digits"\n', "backbone is None; expected a table with a name"),
        ("[dataset]\nname = 3\n", "dataset is {'name': 3}; expected a table with a name"),
        (MINIMAL + "[trainng]\nepochs = 3\n", "protocol mine: unknown setting 'trainng'; did you mean 'training'"),
        (MINIMAL + "[training]\nepoch = 3\n", "training: unknown setting 'epoch'; did you mean 'epochs'"),
        (MINIMAL + "[training]\nepochs = 0\n", "training: epochs is 0; expected at least 1"),
        (MINIMAL + "[training]\nlearning_rate = nan\n", "training: learning_rate is nan; expected a finite number"),
        (MINIMAL + "[training]\nepochs = true\n", "training: epochs is True; expected int"),
        (MINIMAL + '[evaluation]\nfeatures = "inceptoin"\n', "unknown features 'inceptoin'; did you mean 'inception'"),
        (MINIMAL + "[evaluation]\nmax_images = 1\n", "evaluation: max_images is 1; expected at least 2"),
        ("searchers = 3\n" + MINIMAL, "searchers is 3; expected"),
        ("training = 3\n" + MINIMAL, "training is 3; expected a table of settings"),
    ],
)
def test_protocol_that_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_protocol(text, "mine")
    assert message in str(caught.value)


def test_unknown_protocol_and_searcher() -> None:
    with pytest.raises(InputError, match=r"unknown protocol 'digit'; did you mean 'digits'\?"):
        load_protocol("digit")
    with pytest.raises(InputError, match=r"unknown searcher 'gird'; did you mean 'grid'\?.*module:Class"):
        searcher_class("gird")
    with pytest.raises(InputError, match="cannot load searcher 'no_such_module:X'"):
        searcher_class("no_such_module:X")
    with pytest.raises(InputError, match="expected a subclass of searchers.base.Searcher"):
        searcher_class("searchers.base:Trial")
    with pytest.raises(InputError, match=r"searcher ald: unknown setting 'patince'; did you mean 'patience'\?"):
        make_searcher("ald", {"patince": 3})
    with pytest.raises(InputError, match=r"searcher random: weights: fid_gen is -1"):
        make_searcher("random", {"weights": {"fid_gen": -1}})


@pytest.mark.parametrize(
    "training, epochs",
    [
        (Training(epochs=7), 7),
        (Training(epochs=7, scale=0.25), 2),  # 1.75
        (Training(batches=104), 10),  # ten batches an epoch of 659 images
        (Training(batches=106), 11),
        (Training(batches=100, scale=0.5), 5),
        (Training(batches=3, batch_size=1000), 3),
        (Training(scale=1e-6), 1),
    ],
)
def test_budget_in_epochs(training: Training, epochs: int) -> None:
    assert training.with_epochs(659).epochs == epochs


# --- identity of a search


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
    assert len(set(ids)) == len(ids) == 18
    assert _spec(BASE).search_id == _spec(BASE).search_id
    assert _spec(BASE).search_id.startswith("manifold-mlp-ald-s0-")


@pytest.mark.parametrize("change", OWN.values(), ids=OWN)
def test_protocol_hash_is_of_the_conditions(change: Change) -> None:
    assert change().protocol_hash == _spec(BASE).protocol_hash


def test_protocol_hashes_differ_with_the_conditions() -> None:
    hashes = [_spec(BASE).protocol_hash, *(change().protocol_hash for change in CONDITIONS.values())]
    assert len(set(hashes)) == len(hashes)


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


def test_infinite_settings_are_refused() -> None:
    with pytest.raises(InputError, match="tau is inf"):
        make_searcher("geco-l0arm", {"tau": math.inf})


def test_a_dataset_runs_with_its_papers_protocol_and_everybodys_searchers() -> None:
    for dataset in DATASETS:
        protocol = dataset_protocol("folder:/some/path" if dataset == "folder" else dataset)
        assert protocol.dataset.name == dataset and protocol.run == DEFAULT_SEARCHERS and protocol.seeds == (0, 1, 2)
    assert load_protocol("ald-mnist").run == ("grid", "ald@100", "ald@80", "ald@64", "ald@full", "ald@retrain")
