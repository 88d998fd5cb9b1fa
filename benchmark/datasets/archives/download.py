"""Downloads files over https, verifies their checksums, and never leaves a partial file."""

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
    """A published file.

    path: below data_root(). checksum: MD5 or SHA-256 in hexadecimal; its length tells which. n_bytes: the size, if
    known; the progress display uses it when the server does not send the size.
    """

    path: str
    url: str
    checksum: str
    n_bytes: int | None = None

    @property
    def algorithm(self) -> str:
        """The name of the checksum's algorithm in hashlib."""
        return ALGORITHMS[len(self.checksum)]


def fetch(name: str, remote: RemoteFile) -> Path:
    """Returns the path of a file of the dataset `name`; downloads it if it is missing, and verifies it always.

    An interrupted download leaves nothing behind and starts again at the next call. A file that is published over plain
    http is never downloaded; the user fetches it. Raises InputError if the file is missing and cannot be downloaded, or
    if its checksum is wrong.
    """
    target = data_root() / remote.path
    if not target.is_file():
        _download(name, remote, target)
        return target
    checksum = _checksum(target, remote.algorithm)
    if checksum != remote.checksum:
        raise InputError(
            f"{target} is truncated, damaged or another file: {target.stat().st_size} bytes with {remote.algorithm} "
            f"{checksum}, expected {remote.checksum} of {remote.url}; delete it to download it again, or replace it"
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
            size, checksum = _copy(remote, partial)
            if checksum != remote.checksum:
                raise URLError(f"got {size} bytes with {remote.algorithm} {checksum}, expected {remote.checksum}")
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{name}: found no {target}, and downloading it failed ({reason}); fetch {remote.url} and {by_hand}"
        ) from error


def _copy(remote: RemoteFile, partial: Path) -> tuple[int, str]:
    """Downloads the file to `partial`; returns its number of bytes and its checksum."""
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
    """Follows redirects only to https addresses."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str) -> Any:
    """Opens an https address. The caller closes the response."""
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
