"""Files fetched from the web: over https alone, checked by checksum, whole or not there at all."""

import hashlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from benchmark.errors import InputError
from benchmark.paths import data_root
from benchmark.stages import begin_stage
from benchmark.store.atomic_files import replacing

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
MB = 1e6
ALGORITHMS = {32: "md5", 64: "sha256"}


@dataclass(frozen=True)
class RemoteFile:
    """A file, where it is published and what it holds.

    path: below data_root(). checksum: MD5 or SHA-256, told apart by their length, in hexadecimal. n_bytes: its size,
    where it is known; progress is counted by it where the server does not say.
    """

    path: str
    url: str
    checksum: str
    n_bytes: int | None = None

    @property
    def algorithm(self) -> str:
        """The checksum's algorithm, by hashlib's name."""
        return ALGORITHMS[len(self.checksum)]


def fetch(name: str, remote: RemoteFile) -> Path:
    """Where the file of the dataset `name` lies: downloaded if it is missing, and verified either way.

    A download that breaks off leaves nothing behind and starts again at the next call. A file published over plain
    http is never downloaded: the user fetches it. Raises InputError if the file is missing and cannot be had, or if
    its checksum is wrong.
    """
    target = data_root() / remote.path
    if not target.is_file():
        _download(name, remote, target)
        return target
    got = _checksum(target, remote.algorithm)
    if got != remote.checksum:
        raise InputError(
            f"{target} is truncated, damaged or another file: {target.stat().st_size} bytes with {remote.algorithm} "
            f"{got}, expected {remote.checksum} of {remote.url}; delete it to download it again, or replace it"
        )
    return target


def _download(name: str, remote: RemoteFile, target: Path) -> None:
    by_hand = f"put it there, or set LATENTBENCH_DATA to the folder that holds {remote.path}"
    if not remote.url.startswith("https://"):
        raise InputError(
            f"{name}: found no {target}, and {remote.url} is plain http, from which nothing is downloaded; fetch it "
            f"yourself and {by_hand} ({remote.algorithm} {remote.checksum})"
        )
    try:
        with replacing(target) as partial:
            size, got = _copy(remote, partial)
            if got != remote.checksum:
                raise URLError(f"got {size} bytes with {remote.algorithm} {got}, expected {remote.checksum}")
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{name}: found no {target}, and downloading it failed ({reason}); fetch {remote.url} and {by_hand}"
        ) from error


def _copy(remote: RemoteFile, partial: Path) -> tuple[int, str]:
    """Writes what the address gives to `partial`; its number of bytes and checksum."""
    digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    size = 0
    begin_stage(f"connecting to {urlsplit(remote.url).hostname}, which may take {TIMEOUT_SECONDS:.0f} s")
    with open_url(remote.url) as response, partial.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0) or remote.n_bytes
        advance = begin_stage(f"downloading {remote.path}", total and total / MB, "MB")
        for chunk in _chunks(response):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            advance(len(chunk) / MB)
    return size, digest.hexdigest()


class _HttpsOnly(HTTPRedirectHandler):
    """Follows redirects to https addresses alone."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str) -> Any:
    """The response at an https address, to be closed by the caller."""
    request = Request(url, headers={"User-Agent": "latentbench"})
    return build_opener(_HttpsOnly).open(request, timeout=TIMEOUT_SECONDS)


def _checksum(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    advance = begin_stage(f"checking {path}", path.stat().st_size / MB, "MB")
    with path.open("rb") as file:
        for chunk in _chunks(file):
            digest.update(chunk)
            advance(len(chunk) / MB)
    return digest.hexdigest()


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk
