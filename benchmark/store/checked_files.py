"""Which files of the results earlier commands have found whole, so that not every start reads all of them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.errors import Damaged
from benchmark.paths import cache_root
from benchmark.store.atomic_files import Checked, read_json, write_json


@contextmanager
def checked_files(results: Path, verify: bool) -> Iterator[Checked]:
    """Yields what is known of the files of a results folder, to be used and added to; the cache keeps it.

    verify: nothing is known, so that every file is read. The results themselves stay as they are, and a copy of them
    elsewhere is read once.
    """
    place = hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:16]
    path = cache_root() / "checked" / f"{place}.json"
    checked: Checked = {}
    if not verify:
        with suppress(OSError, Damaged):
            checked = read_json(path)
    before = dict(checked)
    yield checked
    if checked != before:
        with suppress(OSError):  # a cache that takes no files: they are read again the next time
            write_json(path, checked)
