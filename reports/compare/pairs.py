"""Pairs the searches of two results and says by how much the second differ from the first.

`COMPARED` is what is compared, by its column in `searches()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from benchmark.errors import InputError
from benchmark.text import printable
from reports.analysis.effects import effect
from reports.data.groups import dataset_names
from reports.data.names import SEQUENTIAL, executed, in_order
from reports.data.quantities import METRICS, SHOWN_COSTS, Quantity

SIZES = {"latent_dim": Quantity("latent_dim", "latent size"), "test_active_units": Quantity("active_units", "in use")}
COMPARED = {**SIZES, **{one.tested: one for one in METRICS}, **{cost.column: cost for cost in SHOWN_COSTS}}
KEY = ["dataset", "backbone", "protocol_hash", "searcher", "seed"]
COLUMNS = (
    *("dataset", "backbone", "protocol_hash", "searcher", "quantity", "unit"),
    *("pairs", "equal", "first", "second", "difference", "low", "high"),
)


@dataclass(frozen=True)
class Comparison:
    """Two results, search by search.

    rows: a row a data set, network, protocol, searcher and quantity, over the pairs in which both searches have it.
    `pairs`: how many those are, one a seed; `equal`: in how many both values are the same to the last bit; `first`,
    `second`: means; `difference`: second less first, with its 95 % t-interval `low` to `high` (NaN for one pair, and
    for fewer than six that are all the same).
    notes: searches that have no partner, have not both finished, or are not the one of their seed that counts.
    warnings: what differs in how they were made.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def compare_searches(first: pd.DataFrame, second: pd.DataFrame) -> Comparison:
    """Compares frames of `ResultsStore.searches()`, paired by protocol hash, searcher and seed.

    Of several searches with these in common (other settings) that which both results hold counts, then a finished one,
    then the one whose id comes first.

    Raises InputError where no search of one has a partner in the other.
    """
    places = _places(first, second)
    named = _named(first, second)
    (one, left_one), (two, left_two) = (_keyed(frame, places) for frame in named)
    shared = one.index.intersection(two.index)
    if shared.empty:
        hashes = [", ".join(sorted(set(map(str, frame["protocol_hash"].dropna())))) for frame in (first, second)]
        raise InputError(
            f"no search of the first has a partner in the second (protocol hashes {hashes[0] or 'none'} and "
            f"{hashes[1] or 'none'}); expected searches of the same protocol, searcher and seed"
        )
    one_of, two_of = one.loc[shared], two.loc[shared]
    done = one_of["status"].eq("done") & two_of["status"].eq("done")
    finished = {key: (rows, two_of.loc[rows.index]) for key, rows in _grouped(one_of[done])}
    order = in_order(key[3] for key in finished)
    keys = sorted(finished, key=lambda key: (*key[:3], order.index(key[3])))
    rows = [row for key in keys for row in _rows(key, *finished[key])]
    notes = (
        *_left_out(left_one, left_two),
        *_alone(one, two, len(shared)),
        *_unfinished(one_of, two_of, int(done.sum())),
    )
    warnings = (*_settings(one_of, two_of), *_warnings(one_of, two_of))
    return Comparison(pd.DataFrame(rows, columns=list(COLUMNS)), notes, warnings)


def _places(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, int]:
    """How early a search counts by its id: 0 if it is done in both results, 1 if it is in both."""
    (one, one_done), (two, two_done) = (_ids(frame) for frame in (first, second))
    return {search_id: 0 if search_id in one_done & two_done else 1 for search_id in one & two}


def _ids(searches: pd.DataFrame) -> tuple[set[str], set[str]]:
    """The ids of all searches and of those that are done."""
    frame = searches.reindex(columns=["search_id", "status"]).dropna(subset=["search_id"])
    return set(frame["search_id"]), set(frame.loc[frame["status"].eq("done"), "search_id"])


def _named(first: pd.DataFrame, second: pd.DataFrame) -> list[pd.DataFrame]:
    """Gives folders and arrays with the same content one name, wherever they are."""
    columns = ["dataset", "data_fingerprint"]
    results = (first, second)
    frames = [frame.reindex(columns=columns) for frame in results]
    texts = [pd.DataFrame({column: _text(frame[column]) for column in columns}) for frame in frames]
    names = dataset_names(pd.concat(texts, ignore_index=True)).to_numpy()
    return [frame.assign(dataset=own) for frame, own in zip(results, np.split(names, [len(results[0])]), strict=True)]


def _keyed(searches: pd.DataFrame, places: Mapping[str, int]) -> tuple[pd.DataFrame, int]:
    """One search a key, see `compare_searches`; and how many others are left out."""
    columns = dict.fromkeys([*searches.columns, *KEY, "execution", "status", "search_id"])
    frame = searches.reindex(columns=list(columns))
    execution = frame["execution"].astype(object).where(frame["execution"].notna(), SEQUENTIAL)
    names = [executed(str(name), str(how)) for name, how in zip(frame["searcher"], execution, strict=True)]
    frame = frame.assign(searcher=names, protocol_hash=frame["protocol_hash"].fillna(""))
    place = frame["search_id"].map(places).fillna(2 + frame["status"].ne("done"))
    frame = frame.assign(_place=place).sort_values(["_place", "search_id"], kind="stable")
    kept = frame.drop_duplicates(KEY)
    return kept.set_index(KEY).sort_index(), len(frame) - len(kept)


def _grouped(searches: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """A searcher's searches under each condition."""
    for key, rows in searches.groupby(level=KEY[:4]):
        yield tuple(map(str, cast("tuple[str, ...]", key))), rows


def _rows(key: tuple[str, ...], one: pd.DataFrame, two: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of one searcher's pairs; the frames have the same index."""
    for column, quantity in COMPARED.items():
        if column not in one or column not in two:
            continue
        values = pd.DataFrame({"first": one[column], "second": two[column]}).apply(pd.to_numeric).astype(float).dropna()
        if len(values):
            differences = (values["second"] - values["first"]).tolist()
            found, equal = effect(differences), sum(difference == 0 for difference in differences)
            numbers = (len(values), equal, *values.mean(), found.mean, found.low, found.high)
            yield dict(zip(COLUMNS, (*key, column, quantity.unit, *numbers), strict=True))


def _left_out(*counts: int) -> Iterator[str]:
    for what, count in zip(("first", "second"), counts, strict=True):
        if count:
            yield f"{count} searches of the {what} are left out, as others of their protocol, searcher and seed count"


def _alone(one: pd.DataFrame, two: pd.DataFrame, shared: int) -> Iterator[str]:
    for what, frame in (("first", one), ("second", two)):
        if len(frame) > shared:
            yield f"{len(frame) - shared} of {len(frame)} searches are in the {what} alone"


def _unfinished(one: pd.DataFrame, two: pd.DataFrame, done: int) -> Iterator[str]:
    if done < len(one):
        counts = [frame["status"].value_counts().sort_index() for frame in (one, two)]
        said = " and ".join(", ".join(f"{n} {status}" for status, n in count.items()) for count in counts)
        yield f"{len(one) - done} of {len(one)} pairs are left out, as not both are finished ({said})"


def _settings(one: pd.DataFrame, two: pd.DataFrame) -> Iterator[str]:
    """The settings that differ between the searches of a pair; the frames have the same index."""
    for name in sorted({str(name) for frame in (one, two) for name in frame if str(name).startswith("setting_")}):
        values = [_text(frame.reindex(columns=[name])[name]) for frame in (one, two)]
        differ = values[0] != values[1]
        if differ.any():
            said = [", ".join(sorted(set(series[differ]))) or "unknown" for series in values]
            what = name.removeprefix("setting_").replace("_", " ")
            yield f"setting {what} differs in {differ.sum()} of {len(one)} pairs: {said[0]} and {said[1]}"


def _text(values: pd.Series) -> pd.Series[str]:
    """Text that is empty where there is none, of any type of column."""
    return values.astype(object).where(values.notna(), "").map(printable)


def _warnings(one: pd.DataFrame, two: pd.DataFrame) -> Iterator[str]:
    """What of the recorded environments differs between the results."""
    for name in sorted({str(name) for frame in (one, two) for name in frame.columns if str(name).startswith("env_")}):
        values = [_distinct(frame, name) for frame in (one, two)]
        if values[0] != values[1]:
            what = name.removeprefix("env_").replace("_", " ")
            yield f"{what} differs: {values[0] or 'unknown'} and {values[1] or 'unknown'}"


def _distinct(frame: pd.DataFrame, name: str) -> str:
    found = frame[name].dropna() if name in frame else pd.Series(dtype=object)
    return ", ".join(sorted({printable(f"{value:g}" if isinstance(value, float) else value) for value in found}))
