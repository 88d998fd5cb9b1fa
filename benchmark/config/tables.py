"""Protocols as tables: TOML files with `extends`, one table laid over another, and `KEY=VALUE` of the command line."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from searchers.registry import unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]
PROTOCOLS = Path(__file__).parents[1] / "protocols"


def bundled_protocols() -> dict[str, Path]:
    """The files below `benchmark/protocols` by their names without the ending, in alphabetical order."""
    return {path.stem: path for path in sorted(PROTOCOLS.rglob("*.toml"), key=lambda path: path.stem)}


def protocol_file(name: str, beside: Path = Path()) -> Path:
    """The file of a bundled protocol, or where `name` ends in .toml a user's own, in the folder `beside` or anywhere.

    Raises InputError where there is none.
    """
    known = bundled_protocols()
    path = beside / os.path.expanduser(name) if name.endswith(".toml") else known.get(name)
    if path is None or not path.is_file():
        raise InputError(unknown_name("protocol", name, known) + ", or the path of a .toml file")
    return path


def read_table(path: Path, extended_by: tuple[Path, ...] = ()) -> Table:
    """Reads a protocol's file and lays it over the one that it extends; InputError where that cannot be."""
    if path.resolve() in extended_by:
        chain = " -> ".join(file.stem for file in (*extended_by, path))
        raise InputError(f"protocol {path.stem} extends itself: {chain}; remove one extends")
    return parse_table(toml_text(path, "protocol"), path.stem, path.parent, (*extended_by, path.resolve()))


def parse_table(text: str, name: str, beside: Path = Path(), extended_by: tuple[Path, ...] = ()) -> Table:
    """The table of a protocol's TOML text, laid over the one that it extends; see `read_table`."""
    table = parse_toml(text, f"protocol {name}")
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise InputError(f"protocol {name}: extends is {base!r}; expected the name of one protocol")
    below = read_table(protocol_file(base, beside), extended_by)
    below.pop("name", None)
    return laid_over(below, table)


def toml_text(path: Path, what: str) -> str:
    """Reads a TOML file's text, with or without a byte-order mark; `what` names its kind in the InputError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error}; expected a TOML file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {what} {path}: {error}; expected a TOML file: save it as UTF-8") from error


def parse_toml(text: str, where: str) -> Table:
    """The table of a TOML text; `where` names it in the InputError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML ({error}); correct it there") from error


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Merges two protocols' tables key by key; a list or a single value of `above` replaces the one below.

    Another dataset or backbone has none of the options below (of `folder:A` and `folder:B` they are the same), and a
    budget in epochs replaces one in batches.
    """
    kept = dict(below)
    for key in ("dataset", "backbone"):
        names = [table.get(key, {}).get("name") for table in (below, above) if isinstance(table.get(key, {}), Mapping)]
        if None not in names and len({str(name).partition(":")[0] for name in names}) > 1:
            kept.pop(key)
    training = above.get("training")
    if isinstance(training, Mapping) and "epochs" in training and isinstance(kept.get("training"), Mapping):
        kept["training"] = {key: value for key, value in kept["training"].items() if key != "batches"}
    return _merged(kept, above)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    merged = dict(below)
    for key, value in above.items():
        is_table = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        merged[key] = _merged(below[key], value) if is_table else value
    return merged


def assigned(key: str, value: Any) -> Table:
    """A table in which `key` has this value: for `a.b."c.d"` that is {a: {b: {c.d: value}}}."""
    for part in reversed([quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', key)]):
        value = {part: value}
    return dict(value)


def parse_assignment(text: str) -> Table:
    """The table of `KEY=VALUE`. The value is TOML; what is no TOML is a string: `cosine` is "cosine"."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r'("[^"]+"|[^."]+)(\.("[^"]+"|[^."]+))*', key := key.strip()):
        raise InputError(f"set is {text!r}; expected KEY=VALUE, such as training.epochs=3")
    try:
        return assigned(key, tomllib.loads(f"value = {value}")["value"])
    except tomllib.TOMLDecodeError:
        return assigned(key, value.strip())
