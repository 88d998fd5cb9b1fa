"""Settings from tables: every type, and one line for what does not fit."""

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import Field

from benchmark.config.settings import from_mapping
from benchmark.errors import InputError


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
