"""From TOML tables to frozen dataclasses, by pydantic."""

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, is_dataclass, make_dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmark.config.wording import first_refusal
from benchmark.errors import InputError
from benchmark.text import is_unicode
from searchers.registry import unknown_name

T = TypeVar("T")
LARGEST = 2**31 - 1  # of whole numbers: torch and NumPy take none that is much larger
CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


def from_mapping(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Makes an instance of the dataclass `cls` from a table; `where` names the table in errors (InputError).

    Types are strict, but for a list where a tuple is wanted and an int where a float is. Ranges are annotations of the
    fields, such as `Annotated[int, Ge(2)]`; infinity and NaN are refused unless a field allows them. A class that is no
    dataclass has no settings.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: got {table!r}; expected a table of settings")
    plain = _plain(table, where)
    if plain and not is_dataclass(cls):
        raise InputError(f"{where}: {unknown_name('setting', next(iter(plain)), ())}")
    try:
        return _adapter(cls).validate_json(json.dumps([plain]))[0] if is_dataclass(cls) else cls()
    except ValidationError as error:
        raise InputError(f"{where}: {first_refusal(cls, plain, error)}") from error
    except Exception as error:  # a user's own class may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: {reason}; expected settings that {cls.__name__} takes") from error


def checked_arguments(function: Callable[..., Any], table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checks a table as `from_mapping` does, for the parameters of `function` that have a default; returns them all."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is not p.empty]
    options = make_dataclass("Options", [(p.name, hints[p.name], field(default=p.default)) for p in parameters])
    return asdict(from_mapping(options, table, where))


@cache
def _adapter(cls: type[T]) -> TypeAdapter[list[T]]:
    """Reads a list of one table: an adapter of a dataclass itself takes no configuration.

    It reads JSON, since pydantic takes no table for a dataclass, and no list for a tuple, when it is strict of values.
    """
    return TypeAdapter(list[cls], config=CONFIG)  # type: ignore[valid-type]


def _plain(value: Any, where: str) -> Any:
    """The value in JSON's types. Raises InputError for dates, broken text and whole numbers beyond LARGEST."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if type(value) is int and abs(value) > LARGEST:
        bound = f"at most {LARGEST}" if value > 0 else f"at least {-LARGEST}"
        raise InputError(f"{where} is {value}; expected {bound}")
    if isinstance(value, str) and not is_unicode(value):
        raise InputError(f"{where} is {value!r}, which is no Unicode text; choose another name")
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise InputError(f"{where} is {value}; expected a number, a string, a list or a table")
    return value
