"""Remembers in the cache which result files earlier commands have checked, so that not every start reads all."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.errors import Damaged
from benchmark.paths import cache_root
from benchmark.store.atomic_files import Checked, read_json, write_json


@contextmanager
def checked_files(results: Path, verify: bool) -> Iterator[Checked]:
    """Yields the checked files of a results folder; the caller adds to them, and the cache keeps them.

    verify: starts from an empty list, so that every file is read. Nothing is written into the results folder; a copy
    of it at another path is read anew.
    """
    key = hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:16]
    path = cache_root() / "checked" / f"{key}.json"
    checked: Checked = {}
    if not verify:
        with suppress(OSError, Damaged):
            checked = read_json(path)
    before = dict(checked)
    yield checked
    if checked != before:
        with suppress(OSError):  # the cache is not writable: the next command reads the files again
            write_json(path, checked)
