"""What pydantic refuses, as one line in our words: the setting's name, what was got and what was expected."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from searchers.registry import unknown_name

Path = tuple[int | str, ...]  # keys and indices from a table to a value in it
UNKNOWN = "unexpected_keyword_argument"
EXPECTED = {  # by pydantic's name of the error
    "int_type": "int",
    "float_type": "float",
    "bool_type": "bool",
    "string_type": "str",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table of settings",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "missing": "a longer list",
    "literal_error": "{expected}",
}


def first_refusal(cls: type[Any], table: Mapping[str, Any], error: ValidationError) -> str:
    """Says what is wrong with the first setting in `table` that does not fit the dataclass `cls`."""
    details = error.errors(include_url=False)
    first = next((other for other in details if other["type"] == UNKNOWN), details[0])
    path = _path(first, table)
    names = [key for key in path if isinstance(key, str)]
    if first["type"] == "missing" and isinstance(first["loc"][-1], str):
        return f"{': '.join([*names, first['loc'][-1]])} is missing; expected a value"
    if first["type"] == "value_error":
        return ": ".join([*names, str(first["ctx"]["error"])])
    *places, name = names or [""]
    place = "".join(f"{key}: " for key in places)
    if first["type"] == UNKNOWN:
        return place + unknown_name("setting", name, _setting_names(cls, path[:-1]))
    alternatives = [other for other in details if _path(other, table) == path]  # more than one for a union
    value = _at(table, path)
    for alternative in alternatives:
        if alternative["type"] == "literal_error" and isinstance(value, str):
            return place + unknown_name(name, value, re.findall("'([^']*)'", alternative["ctx"]["expected"]))
    return f"{place}{name} is {value!r}; expected {' or '.join(dict.fromkeys(map(_expected, alternatives)))}"


def _expected(details: ErrorDetails) -> str:
    words = EXPECTED.get(details["type"])
    return words.format(**details.get("ctx", {})) if words else details["msg"].removeprefix("Input should be ")


def _path(details: ErrorDetails, table: Any) -> Path:
    """Where an error is; pydantic's names for a union's alternatives and for what is missing are left out."""
    path: Path = ()
    for key in details["loc"][1:]:  # the first is the place in a list of tables
        parent = _at(table, path)
        if (isinstance(parent, dict) and key in parent) or (isinstance(parent, list) and key in range(len(parent))):
            path = (*path, key)
    return path


def _at(table: Any, path: Path) -> Any:
    for key in path:
        table = table[key]
    return table


def _setting_names(hint: Any, path: Path) -> list[str]:
    """The fields of the dataclass that a type has at this place, for `tuple[Inner, ...]` at (0,) those of Inner."""
    if is_dataclass(hint):
        hints = {item.name: typing.get_type_hints(hint)[item.name] for item in fields(hint)}
        return _setting_names(hints[str(path[0])], path[1:]) if path else list(hints)
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    found = (_setting_names(item, path if is_union else path[1:]) for item in typing.get_args(hint))
    return next(filter(None, found), [])
