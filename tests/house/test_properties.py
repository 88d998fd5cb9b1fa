"""What must hold for any input: the protocol parser, the store's reader, slopes and the choice among trials."""

import json
import math
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_frames import search

from benchmark.config.protocol import (
    FEATURES,
    Evaluation,
    Named,
    Protocol,
    Resources,
    Training,
    parse_protocol,
    protocol_names,
    protocol_table,
)
from benchmark.config.tables import bundled_protocols
from benchmark.errors import Damaged, InputError
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import write_json
from benchmark.store.columns import COSTS
from benchmark.store.folders import SearchFolder
from benchmark.store.rows import EPOCH_COLUMNS
from benchmark.suite.plan import make_searcher, plan
from benchmark.terminal.snapshot import FileCache, snapshot
from benchmark.terminal.summary import print_summary
from reports.analysis.comparison import comparison
from reports.data.groups import read_groups
from searchers import SEARCHERS
from searchers.base import Assessment, Choice, ChoiceRule, Trial
from searchers.parts.trends import all_rising, slope
from searchers.quantities import DECISION_METRICS, HIGHER_IS_BETTER, Weights
from searchers.selection import choose, costs, pareto_front
from searchers.testing import ToyProblem

FIXED = settings(deadline=None, derandomize=True, max_examples=100)

# --- protocols


def _toml(value: Any) -> str:
    """A value as TOML; tables inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()  # numbers, true and false, inf and nan, dates


def _document(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in table.items())


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(st.booleans(), st.integers(), st.floats(), text, st.dates(min_value=date(1900, 1, 1)))
junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
VALID: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "backbone": {"name": "mlp", "hidden": [8]},
    "training": {key: value for key, value in asdict(Training()).items() if value is not None},
    "evaluation": asdict(Evaluation()),
    "resources": {key: value for key, value in asdict(Resources()).items() if value is not None},
    "searchers": {name: json.loads(json.dumps(asdict(make_searcher(name, {})))) for name in SEARCHERS},
    "run": ["grid", "ald"],
    "seeds": [0],
}
del VALID["searchers"]["geco-l0arm"]["tau"]  # TOML has no None
PLACES = [(key,) for key in VALID] + [
    (key, inner) for key in VALID for inner in VALID[key] if key not in ("run", "seeds")
]
PLACES += [("searchers", name, key) for name in SEARCHERS for key in VALID["searchers"][name]]
places = st.sampled_from(PLACES) | st.tuples(st.sampled_from(["dataset", "backbone", "training", "resources"]), text)


def _changed(changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """VALID with other values at some places."""
    table: dict[str, Any] = json.loads(json.dumps(VALID))
    for (*way, last), value in changes:
        inner = table
        for key in way:
            inner = inner.get(key, {})
        if isinstance(inner, dict):
            inner[last] = value
    return table


def _parse_or_refuse(document: str) -> None:
    try:
        protocol = parse_protocol(document, "any")
        names = [name for name in protocol.run if ":" not in name]  # those would be imported
        assert len(plan(protocol, "f", names, protocol.seeds)) == len(names) * len(protocol.seeds)
    except InputError as error:
        assert str(error) and len(str(error).splitlines()) == 1


@FIXED
@given(st.lists(st.tuples(places, junk), max_size=2).map(_changed))
def test_any_protocol_is_parsed_or_refused(table: dict[str, Any]) -> None:
    _parse_or_refuse(_document(table))


@FIXED
@given(st.sampled_from(protocol_names()), st.integers(0, 4000), st.integers(0, 20), text)
def test_any_edit_of_a_protocol_is_parsed_or_refused(name: str, start: int, length: int, instead: str) -> None:
    whole = bundled_protocols()[name].read_text()
    start %= len(whole)
    _parse_or_refuse(whole[:start] + instead + whole[start + length :])


counts = st.integers(1, 2**31 - 1)
options = st.dictionaries(
    text.filter(lambda key: key != "name"), st.integers(-(2**31) + 1, 2**31 - 1) | text, max_size=2
)
protocols = st.builds(
    Protocol,
    name=st.just("any"),
    dataset=st.builds(Named, text, options),
    backbone=st.builds(Named, text, options),
    summary=text,
    training=st.builds(
        Training,
        epochs=counts,
        batches=st.none() | counts,
        epoch_batches=st.none() | counts,
        scale=st.floats(0, 1, exclude_min=True),
        batch_size=counts,
        learning_rate=st.floats(0, 1, exclude_min=True, exclude_max=True),
        threads=st.integers(1, 1024),
    ),
    evaluation=st.builds(
        Evaluation,
        features=st.sampled_from(FEATURES),
        max_images=counts.map(lambda n: n + 1).filter(lambda n: n < 2**31),
        silhouette_images=st.integers(2, 2**31 - 1),
        probe_images=counts,
    ),
    resources=st.builds(
        Resources,
        cpus=st.none() | st.floats(0, 1e6, exclude_min=True),
        gpus=st.floats(0, 1, exclude_min=True) | st.integers(2, 100).map(float),
        memory_gb=st.none() | st.floats(0, 1e6, exclude_min=True),
        max_retries=st.integers(0, 2**31 - 1),
    ),
    searchers=st.dictionaries(st.sampled_from([*SEARCHERS, "ald@100", "own.module:Class"]), options, max_size=3),
    run=st.lists(text, min_size=1, max_size=3).map(tuple),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3).map(tuple),
    show_latents=st.booleans(),
)


@FIXED
@given(protocols)
def test_a_protocol_written_out_is_the_same_protocol(protocol: Protocol) -> None:
    assert parse_protocol(_document(protocol_table(protocol)), "any") == protocol


# --- the store

floats = st.floats(width=64)
rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(EPOCH_COLUMNS, floats),
        **dict.fromkeys(("trial", "epoch", "latent_dim", "images_seen"), st.integers(0, 2**63 - 1)),
        "fid_features": st.text(st.characters(exclude_categories=["Cs"])),
        "ctl_trace": floats,
        "latent_id": st.lists(st.integers(0, 2**31), min_size=1, max_size=4),
        "latent_kl": st.lists(floats, min_size=1, max_size=4),
    }
)


def _bits(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_bits(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_bits(item) for item in value]
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@contextmanager
def _stored(of: dict[str, Any]) -> Iterator[tuple[ResultsStore, SearchFolder]]:
    """A store of one search, with nothing in it but its record."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "searches" / of["search_id"]).mkdir(parents=True)
        store = ResultsStore(folder)
        write_json(store.folder(of["search_id"]).path / "search.json", of)
        yield store, store.folder(of["search_id"])


@FIXED
@given(st.lists(rows, min_size=1, max_size=3), st.text(), st.text(), floats)
def test_any_numbers_and_names_come_back_bit_for_bit(
    written: list[dict[str, Any]], searcher: str, dataset: str, test_kl: float
) -> None:
    with _stored(search(searcher, dataset=dataset, search_id="a", test_kl=test_kl)) as (store, folder):
        arrays = [{key: np.array(v) if isinstance(v, list) else v for key, v in row.items()} for row in written]
        folder.trial(0).write_rows(arrays)
        back = folder.trial(0).read_rows()
        assert [{key: _bits(v) for key, v in row.items()} for row in back] == [
            {key: _bits(v) for key, v in row.items()} for row in written
        ]
        epochs, searches = store.epochs(), store.searches()
        assert epochs["searcher"].tolist() == [searcher] * len(written) and searches["searcher"].tolist() == [searcher]
        assert epochs["dataset"].iloc[0] == searches["dataset"].iloc[0] == dataset
        assert _bits(float(searches["test_kl"].iloc[0])) == _bits(test_kl)
        assert [_bits(v) for v in epochs["kl"].tolist()] == [_bits(row["kl"]) for row in written]


def _read_or_refuse(store: ResultsStore, folder: SearchFolder) -> None:
    """Every reader gives a frame that can be shown, or says which file is damaged."""
    for read in (store.searches, store.trials, store.epochs, store.latents, store.probes, folder.check):
        with suppress(Damaged):
            read()
    folder.status()
    snapshot(store, FileCache(), now=0.0)
    with suppress(InputError):
        comparison(read_groups(store, "results"))
    with redirect_stdout(StringIO()), suppress(Damaged):
        print_summary(store.searches())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),  # half pairs too
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
RECORD = search("ald", search_id="a")
TRIAL = {"trial": 0, "status": "done", "latent_dim": 4, **dict.fromkeys(COSTS, 1), "fid_features": "classifier"}
ROW = {**dict.fromkeys(EPOCH_COLUMNS, 1.0), "trial": 0, "latent_dim": 4, "images_seen": 1, "fid_features": "classifier"}


def _records(valid: dict[str, Any], *more: str) -> st.SearchStrategy[Any]:
    """A record with some of its values replaced by anything."""
    keys = st.sampled_from([*valid, *more])
    return st.dictionaries(keys, json_values, max_size=3).map(lambda changed: {**valid, **changed})


@FIXED
@given(_records(RECORD, "settings", "environment", "files", "pareto"), _records(TRIAL, "files", "wall_seconds"))
def test_any_record_is_read_or_refused(record: dict[str, Any], trial: dict[str, Any]) -> None:
    with _stored(RECORD) as (store, folder):
        write_json(folder.path / "search.json", record)
        folder.trial(0).write_rows([ROW])
        write_json(folder.trial(0).path / "trial.json", trial)
        _read_or_refuse(store, folder)


ARROW = b"ARROW1\0\0"
contents = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda content: ARROW + content + ARROW),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.integers(1, 3).map(lambda power: b"[" * 10**power * 100),
)


@settings(FIXED, max_examples=60)
@given(contents, st.sampled_from(["search.json", "trials/000/trial.json", "trials/000/epochs.arrow", "images.npz"]))
def test_any_bytes_are_refused(content: bytes, name: str) -> None:
    with _stored(RECORD) as (store, folder):
        folder.trial(0).write_rows([ROW])
        (folder.path / name).write_bytes(content)
        _read_or_refuse(store, folder)
        with suppress(Damaged):
            store.gallery("a")
        if name == "trials/000/epochs.arrow":
            with pytest.raises(Damaged, match=name):
                store.epochs()


# --- slopes (whole numbers, so that sums are exact)

curve = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=60)


@FIXED
@given(curve, st.integers(2, 70))
def test_slope_is_polyfits(values: list[float], window: int) -> None:
    last = values[-window:]
    assert slope(values, window) == pytest.approx(np.polyfit(range(len(last)), last, 1)[0], rel=1e-7, abs=1e-7)


@FIXED
@given(curve, st.integers(2, 70), st.integers(-1000, 1000), st.integers(0, 6))
def test_slope_is_linear_and_blind_to_the_level(values: list[float], window: int, level: int, power: int) -> None:
    y, got = np.array(values), slope(values, window)
    assert slope(y + level, window) == got and slope(2**power * y, window) == 2**power * got
    assert slope(-y, window) == -got and slope(y[-window:][::-1], window) == -got


@FIXED
@given(st.lists(curve, max_size=4), st.integers(2, 20))
def test_all_rising_is_equation_4(curves: list[list[float]], window: int) -> None:
    def rises(values: list[float]) -> bool:
        y = np.array(values[-window:])
        x = np.arange(window)
        return len(y) == window and bool(window * (x @ y) > x.sum() * y.sum())  # the sign of the least-squares slope

    assert all_rising(curves, window) == all(map(rises, curves))


# --- the choice among trials

NAN = math.nan
values = st.integers(-5, 5).map(float)
lines = st.tuples(st.integers(2, 6), *[st.one_of(values, values, values, st.just(NAN))] * 4)
finite = st.tuples(st.integers(2, 6), *[values] * 4)
groups = st.tuples(finite, st.lists(lines, max_size=6)).map(lambda pair: [pair[0], *pair[1]])
weightings = st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any).map(lambda w: Weights(*map(float, w)))


def _trials(group: list[tuple[float, ...]]) -> list[Trial]:
    trials = []
    for number, (size, *values) in enumerate(group):
        metrics = dict(zip(DECISION_METRICS, values, strict=True))
        trials.append(Trial(number, int(size), pd.DataFrame(), Assessment(int(size), metrics, {}, np.ones(2))))
    return trials


def _choose(trials: list[Trial], weights: Weights) -> Choice:
    return choose(ToyProblem(rule=ChoiceRule("mean-rank", weights=weights)), trials)


def _mean_ranks(group: list[tuple[float, ...]], weights: Weights) -> list[float]:
    """By counting: 1 + how many are better + half of how many others are equal; a NaN that counts excludes.

    The values are whole numbers in -5..5, so none but equal ones are within 5 % of the range.
    """
    total = [0.0] * len(group)
    for column, metric in enumerate(DECISION_METRICS, start=1):
        sign, weight = -1 if metric in HIGHER_IS_BETTER else 1, getattr(weights, metric)
        cost = [sign * line[column] for line in group]
        for i, own in enumerate(cost):
            total[i] += weight * (1 + sum(c < own for c in cost) + (cost.count(own) - 1) / 2) if weight else 0
    return total


@FIXED
@given(groups, weightings)
def test_the_choice_has_the_lowest_mean_rank(group: list[tuple[float, ...]], weights: Weights) -> None:
    used = [column for column, metric in enumerate(DECISION_METRICS, start=1) if getattr(weights, metric)]
    known = [i for i, line in enumerate(group) if not any(math.isnan(line[column]) for column in used)]
    ranks = _mean_ranks([group[i] for i in known], weights)
    best = min(range(len(known)), key=lambda i: (ranks[i], group[known[i]][0], i))
    assert _choose(_trials(group), weights).trial.number == known[best]


@FIXED
@given(groups, weightings, st.randoms(use_true_random=False))
def test_the_choice_is_blind_to_order(group: list[tuple[float, ...]], weights: Weights, random: Any) -> None:
    trials = _trials(group)
    shuffled = random.sample(trials, len(trials))
    choice, again = _choose(trials, weights), _choose(shuffled, weights)
    assert again.trial is choice.trial and set(again.pareto) == set(choice.pareto)


TRANSFORMS = (lambda v: 2 * v - 7, lambda v: 1e-6 * v, lambda v: v / 3 + 1e3)  # which keep parts of the range


@FIXED
@given(groups, weightings, st.integers(1, 4), st.sampled_from(TRANSFORMS))
def test_the_choice_is_blind_to_a_metrics_scale(
    group: list[tuple[float, ...]], weights: Weights, column: int, transform: Any
) -> None:
    changed = [(*line[:column], transform(line[column]), *line[column + 1 :]) for line in group]
    choice, again = (_choose(_trials(lines), weights) for lines in (group, changed))
    assert again.trial.number == choice.trial.number and again.pareto == choice.pareto


@FIXED
@given(groups, weightings, st.integers(1, 4), st.lists(values, min_size=7, max_size=7))
def test_a_metric_of_no_weight_does_not_count(
    group: list[tuple[float, ...]], weights: Weights, column: int, instead: list[float]
) -> None:
    given_weights = {**asdict(weights), DECISION_METRICS[column - 1]: 0.0}
    if not any(given_weights.values()):
        return
    changed = [(*line[:column], instead[i], *line[column + 1 :]) for i, line in enumerate(group)]
    before, after = (_choose(_trials(lines), Weights(**given_weights)) for lines in (group, changed))
    assert before.trial.number == after.trial.number


@FIXED
@given(groups)
def test_the_pareto_front_is_what_nothing_dominates(group: list[tuple[float, ...]]) -> None:
    table = {i: row.tolist() for i, row in costs(_trials(group)).iterrows() if not row.isna().any()}

    def dominates(a: list[float], b: list[float]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    front = {i for i, own in table.items() if not any(dominates(other, own) for other in table.values())}
    assert set(pareto_front(costs(_trials(group)))) == front and front
