"""From TOML tables to frozen dataclasses, with an error for every key or value that does not fit."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from benchmark.errors import InputError
from searchers.registry import unknown_name

LARGEST = 2**31 - 1  # of whole numbers: torch and NumPy take none that is much larger


def from_mapping(cls: type[Any], table: Mapping[str, Any], where: str) -> Any:
    """An instance of the dataclass `cls` from a table; `where` names the table in errors (InputError)."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: got {table!r}; expected a table of settings")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in fields(cls)] if is_dataclass(cls) else []
    for key in table:
        if key not in names:
            raise InputError(f"{where}: {unknown_name('setting', key, names)}")
    values = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # a setting is missing; and a user's own class may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: {reason}; expected settings that {cls.__name__} takes") from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if value is None else _convert(value, arguments[0], where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(item, arguments[0], where) for item in value)
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _convert(item, arguments[1], f"{where}: {key}") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint is not Any and type(value) is not hint:
        expected = hint.__name__ if origin is None else str(hint).replace("typing.", "").replace("collections.abc.", "")
        raise InputError(f"{where} is {value!r}; expected {expected}")
    if hint is int and abs(value) > LARGEST:
        raise InputError(f"{where} is {value}; expected at most {LARGEST}")
    return value
