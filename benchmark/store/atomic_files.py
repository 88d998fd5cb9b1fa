"""Files that appear at once and whole, or not at all, and that say when they have been damaged since."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import Damaged

DIGEST_BYTES = hashlib.sha256().digest_size
SEAL_NAME = b"sha256:"
SEAL = SEAL_NAME + b"0" * 2 * DIGEST_BYTES  # as long as the hexadecimal digest that takes its place
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\..+")  # the names that `replacing` and `benchmark.store.claims` write under

Checked = dict[str, Any]
"""Files that were found whole, by path: [bytes, time of the last change in ns, SHA-256]."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder and renames it to `path` where the block ends without an error.

    A reader sees the whole file or none; of several writers the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")  # the name's ending stays: some writers look
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None:  # a write that failed does not say where
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """True for the name of a file that is being written, or was when its process was killed."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_hidden(path: Path) -> bool:
    """True for what no results are in: `.DS_Store`, `.ipynb_checkpoints`, a network file system's `.nfs...`."""
    return path.name.startswith(".")


def remove_folder(folder: Path) -> None:
    """Deletes a folder, if it is there. Hidden files may stay: `.nfs...` of files that somebody still reads.

    Raises OSError where another file cannot be deleted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for path in folder.rglob("*"):
        if not is_hidden(path) and not path.is_dir():
            raise OSError(errno.ENOTEMPTY, "cannot be deleted", str(path))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object with its checksum, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({**content, "checksum": _checksum(content)}, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object that `write_json` wrote. Raises Damaged where it is not what was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is a ValueError
        if isinstance(content, dict) and content.pop("checksum", None) == _checksum(content):
            return content
    except (ValueError, RecursionError) as error:
        raise Damaged(path) from error
    raise Damaged(path)


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_checked(path: Path, content: bytes) -> None:
    """Writes the content behind its SHA-256 digest, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)


def read_checked(path: Path) -> bytes:
    """The content that `write_checked` wrote. Raises Damaged where it is not."""
    whole = path.read_bytes()
    digest, content = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged(path)
    return content


def seal(content: bytes) -> bytes:
    """The content with its own digest wherever it has SEAL: for files that other programs read, with room for text."""
    return content.replace(SEAL, SEAL_NAME + hashlib.sha256(content).hexdigest().encode())


def check_seal(path: Path) -> None:
    """Raises Damaged where a file has a seal and is not what `seal` gave."""
    content = path.read_bytes()
    found = re.search(SEAL_NAME + rb"([0-9a-f]{64})", content)
    if found and hashlib.sha256(content.replace(found[0], SEAL)).hexdigest().encode() != found[1]:
        raise Damaged(path)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each of these files of a folder, by name; of those that exist."""
    return {name: _digest(folder / name) for name in names if (folder / name).is_file()}


def check_digests(folder: Path, expected: dict[str, str], checked: Checked | None = None) -> None:
    """Raises Damaged where a file is not as `digests` saw it.

    checked: a file that is there with its size and time as they are now is not read again; others are added.
    """
    checked = {} if checked is None else checked
    for path, digest in ((folder / name, digest) for name, digest in expected.items()):
        try:
            status = path.stat()
            seen = [status.st_size, status.st_mtime_ns, digest]
            if checked.get(str(path.absolute())) == seen:
                continue
            if not path.is_file() or _digest(path) != digest:
                raise Damaged(path)
        except FileNotFoundError as error:
            raise Damaged(path) from error
        checked[str(path.absolute())] = seen


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
