"""Pairs the searches of two results and says by how much the second differ from the first.

`COMPARED` is what is compared, by its column in `searches()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pandas as pd

from benchmark.errors import InputError
from benchmark.text import printable
from reports.analysis.effects import effect
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
    notes: searches that have no partner or have not both finished. warnings: what differs in how they were made.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def compare_searches(first: pd.DataFrame, second: pd.DataFrame) -> Comparison:
    """Compares frames of `ResultsStore.searches()`, paired by protocol hash, searcher and seed.

    Raises InputError where no search of one has a partner in the other.
    """
    one, two = _keyed(first), _keyed(second)
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
    notes = (*_alone(one, two, len(shared)), *_unfinished(one_of, two_of, int(done.sum())))
    return Comparison(pd.DataFrame(rows, columns=list(COLUMNS)), notes, tuple(_warnings(one_of, two_of)))


def _keyed(searches: pd.DataFrame) -> pd.DataFrame:
    """One search a key: of several (other settings, another device) the finished one whose id comes first."""
    columns = dict.fromkeys([*searches.columns, *KEY, "execution", "status", "search_id"])
    frame = searches.reindex(columns=list(columns))
    execution = frame["execution"].astype(object).where(frame["execution"].notna(), SEQUENTIAL)
    names = [executed(str(name), str(how)) for name, how in zip(frame["searcher"], execution, strict=True)]
    frame = frame.assign(searcher=names, protocol_hash=frame["protocol_hash"].fillna(""))
    frame = frame.assign(_place=frame["status"].ne("done")).sort_values(["_place", "search_id"], kind="stable")
    return frame.drop_duplicates(KEY).set_index(KEY).sort_index()


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


def _alone(one: pd.DataFrame, two: pd.DataFrame, shared: int) -> Iterator[str]:
    for what, frame in (("first", one), ("second", two)):
        if len(frame) > shared:
            yield f"{len(frame) - shared} of {len(frame)} searches are in the {what} alone"


def _unfinished(one: pd.DataFrame, two: pd.DataFrame, done: int) -> Iterator[str]:
    if done < len(one):
        counts = [frame["status"].value_counts().sort_index() for frame in (one, two)]
        said = " and ".join(", ".join(f"{n} {status}" for status, n in count.items()) for count in counts)
        yield f"{len(one) - done} of {len(one)} pairs are left out, as not both are finished ({said})"


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
