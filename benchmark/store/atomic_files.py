"""Writes files atomically, and detects later damage to them."""

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
SEAL = SEAL_NAME + b"0" * 2 * DIGEST_BYTES  # a placeholder as long as the hexadecimal digest that replaces it
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\..+")  # the names that `temporary_path` gives

Checked = dict[str, Any]
"""Files that passed their check, by path: [size in bytes, modification time in ns, SHA-256]."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; renames it to `path` if the block ends without an error.

    A reader sees the complete file or none. If several processes write, the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None:  # the error of a failed write does not name the file
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """A random hidden name in the same folder. It keeps the suffix, from which some writers take the format."""
    return path.with_name(f".{secrets.token_hex(6)}.{path.name}")


def is_temporary(path: Path) -> bool:
    """True if `temporary_path` gave the name: a process is writing the file, or was killed while it wrote."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_hidden(path: Path) -> bool:
    """True for names that hold no results: `.DS_Store`, `.ipynb_checkpoints`, a network file system's `.nfs...`."""
    return path.name.startswith(".")


def remove_folder(folder: Path) -> None:
    """Deletes a folder if it exists. Hidden files may stay, such as the `.nfs...` of a file that is still open.

    Raises OSError if another file cannot be deleted.
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
    """Reads a JSON object that `write_json` wrote. Raises Damaged if the file has changed since."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # raises ValueError for half a surrogate pair
        if isinstance(content, dict) and content.pop("checksum", None) == _checksum(content):
            return content
    except (ValueError, RecursionError) as error:
        raise Damaged(path) from error
    raise Damaged(path)


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_checked(path: Path, content: bytes | memoryview) -> None:
    """Writes the SHA-256 digest of the content, then the content, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)


def read_checked(path: Path) -> bytes:
    """Reads the content that `write_checked` wrote. Raises Damaged if the file has changed since."""
    data = path.read_bytes()
    digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged(path)
    return content


def seal(content: bytes) -> bytes:
    """Replaces SEAL in the content by the content's digest: for formats of other programs, with a field for text."""
    return content.replace(SEAL, SEAL_NAME + hashlib.sha256(content).hexdigest().encode())


def check_seal(path: Path) -> None:
    """Raises Damaged if a file has a digest from `seal` that does not match its content."""
    content = path.read_bytes()
    match = re.search(SEAL_NAME + rb"([0-9a-f]{64})", content)
    if match and hashlib.sha256(content.replace(match[0], SEAL)).hexdigest().encode() != match[1]:
        raise Damaged(path)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 digests, by name, of the files that exist in the folder."""
    return {name: _digest(folder / name) for name in names if (folder / name).is_file()}


def check_digests(folder: Path, expected: dict[str, str], checked: Checked | None = None) -> None:
    """Raises Damaged if a file is missing or has changed since `digests` read it.

    checked: files listed here with their present size and modification time are not read again; others are added.
    """
    checked = {} if checked is None else checked
    for path, digest in ((folder / name, digest) for name, digest in expected.items()):
        try:
            status = path.stat()
            signature = [status.st_size, status.st_mtime_ns, digest]
            if checked.get(str(path.absolute())) == signature:
                continue
            if not path.is_file() or _digest(path) != digest:
                raise Damaged(path)
        except FileNotFoundError as error:
            raise Damaged(path) from error
        checked[str(path.absolute())] = signature


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
