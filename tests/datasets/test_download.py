"""Downloads and the cache of decoded images, without network."""

import hashlib
import io
import os
from collections import namedtuple
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest

from benchmark import stages
from benchmark.datasets.archives import download, image_cache
from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.image_cache import cached_images, write_images
from benchmark.errors import InputError
from benchmark.paths import data_root
from benchmark.stages import Stage, listening

CONTENT = bytes(range(256)) * 20_000  # several chunks
MD5 = hashlib.md5(CONTENT).hexdigest()
FILE = RemoteFile("toy/file.bin", "https://example.org/file.bin", MD5)
SHAPE = (6, 1, 2, 2)
IMAGES = np.arange(24, dtype=np.uint8).reshape(SHAPE)


class Response(io.BytesIO):
    headers = {"Content-Length": str(len(CONTENT))}


def _serve(monkeypatch: pytest.MonkeyPatch, content: bytes = CONTENT, error: Exception | None = None) -> list[str]:
    """Serves the content instead of the network; returns the list to which requested addresses are added."""
    asked: list[str] = []

    def open_url(url: str) -> Response:
        asked.append(url)
        if error is not None:
            raise error
        return Response(content)

    monkeypatch.setattr(download, "open_url", open_url)
    return asked


# --- downloads


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_download_once(monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    asked = _serve(monkeypatch)
    file = RemoteFile(FILE.path, FILE.url, hashlib.new(algorithm, CONTENT).hexdigest())
    for _ in range(2):
        target = fetch("toy", file)
        assert target == data_root() / "toy" / "file.bin" and target.read_bytes() == CONTENT
    assert asked == [FILE.url]
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("content", [CONTENT[:-1], b"", b"<html>sorry</html>"])
def test_download_that_breaks_off_leaves_nothing_and_starts_again(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    _serve(monkeypatch, content)
    with pytest.raises(InputError, match=f"got {len(content)} bytes with md5 .*, expected {MD5}"):
        fetch("toy", FILE)
    assert not list((data_root() / "toy").iterdir())
    _serve(monkeypatch)
    assert fetch("toy", FILE).read_bytes() == CONTENT


@pytest.mark.parametrize("error", [URLError("no route\nto host"), TimeoutError("no route to host")])
def test_no_network(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    _serve(monkeypatch, error=error)
    with pytest.raises(InputError) as caught:
        fetch("toy", FILE)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"toy: found no {data_root() / FILE.path}", "no route to host", FILE.url, "LATENTBENCH_DATA"):
        assert part in message


def test_data_root_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch)
    data_root().write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"downloading it failed .*LATENTBENCH_DATA"):
        fetch("toy", FILE)


def test_plain_http_is_left_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _serve(monkeypatch)
    file = RemoteFile(FILE.path, "http://example.org/file.bin", MD5)
    with pytest.raises(InputError, match=r"http://example.org/file.bin is plain http.*fetch it yourself.*" + MD5):
        fetch("toy", file)
    assert not asked
    (data_root() / "toy").mkdir(parents=True)
    (data_root() / "toy" / "file.bin").write_bytes(CONTENT)
    assert fetch("toy", file).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1], b""])
def test_wrong_file_is_named_and_kept(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    asked = _serve(monkeypatch)
    target = data_root() / "toy" / "file.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    with pytest.raises(InputError, match=rf"{target} is truncated, .* {len(content)} bytes .*delete it"):
        fetch("toy", FILE)
    assert not asked and target.read_bytes() == content


def test_redirects_stay_on_https() -> None:
    handler = download._HttpsOnly()
    request = Request(FILE.url)
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://example.org/there")
    assert followed.full_url == "https://example.org/there"
    with pytest.raises(URLError, match="http://example.org/there, which is not https"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://example.org/there")


@pytest.mark.parametrize("says", [{}, {"Content-Length": str(len(CONTENT))}])
def test_a_download_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, says: dict[str, str]) -> None:
    monkeypatch.setattr(Response, "headers", says)
    monkeypatch.setattr(stages, "TELL_SECONDS", 0.0)
    _serve(monkeypatch)
    stages_seen: list[Stage] = []
    with listening(stages_seen.append):
        fetch("toy", RemoteFile(FILE.path, FILE.url, MD5, len(CONTENT)))
        fetch("toy", FILE)
    size = len(CONTENT) / 1e6
    names = ["connecting to example.org, which may take 30 s", f"downloading {FILE.path}"]
    assert list(dict.fromkeys(stage.what for stage in stages_seen)) == [*names, f"checking {data_root() / FILE.path}"]
    for name in names[1], stages_seen[-1].what:
        done = [stage.done for stage in stages_seen if stage.what == name]
        assert done == sorted(done) and len(done) > 4 and done[0] == 0.0 and done[-1] == pytest.approx(size)
        assert {stage[2:] for stage in stages_seen if stage.what == name} == {(size, "MB")}


# --- the cache


def _batches() -> Iterator[np.ndarray]:
    yield IMAGES[:4]
    yield IMAGES[4:]


def test_cache_is_written_once_and_mapped(tmp_path: Path) -> None:
    written = []

    def decode(cache: Path) -> None:
        written.append(cache)
        write_images(cache, SHAPE, [0, 1, 2, 0, 1, 2], _batches())

    first, second = cached_images(tmp_path, decode), cached_images(tmp_path, decode)
    assert written == [tmp_path]
    for stored in (first, second):
        assert np.array_equal(stored.images.numpy(), IMAGES) and stored.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert first.fingerprint == second.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done.json", "images.npy"]
    first.images.zero_()
    assert np.array_equal(np.load(tmp_path / "images.npy"), IMAGES)


def test_decoding_counts_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "TELL_SECONDS", 0.0)
    stages_seen: list[Stage] = []
    with listening(stages_seen.append):
        write_images(tmp_path, SHAPE, [0] * 6, _batches())
    assert stages_seen == [Stage("decoding", done, 6, "images") for done in (0, 4, 6)]


def test_fingerprint_follows_images_labels_and_shape(tmp_path: Path) -> None:
    def fingerprint(shape: tuple[int, ...], labels: list[int], images: np.ndarray) -> str:
        return cached_images(
            tmp_path / str(len(list(tmp_path.iterdir()))),
            lambda cache: (cache.mkdir(), write_images(cache, shape, labels, [images]))[1],
        ).fingerprint

    labels = [0, 1, 2, 0, 1, 2]
    fingerprints = [
        fingerprint(SHAPE, labels, IMAGES),
        fingerprint(SHAPE, labels[::-1], IMAGES),
        fingerprint(SHAPE, labels, IMAGES[::-1]),
        fingerprint((6, 1, 1, 4), labels, IMAGES.reshape(6, 1, 1, 4)),
    ]
    assert len(set(fingerprints)) == 4
    assert fingerprint(SHAPE, labels, IMAGES) == fingerprints[0]


@pytest.mark.parametrize("labels, images", [([0] * 6, IMAGES[:5]), ([0] * 5, IMAGES), ([0] * 6, IMAGES[:, :, :1])])
def test_loader_that_miscounts_leaves_no_cache(tmp_path: Path, labels: list[int], images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_images(tmp_path, SHAPE, labels, [images])
    assert not list(tmp_path.iterdir())


def test_disk_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: usage(3e8))
    with pytest.raises(InputError, match=rf"take 5.9 GB in {tmp_path}, which has 0.3 GB free; .*XDG_CACHE_HOME"):
        write_images(tmp_path, (480_000, 3, 64, 64), [0], [])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("side", [1, 1000])
def test_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """A small file fails when it is closed, a large one when it is written."""
    write = image_cache._write_npy
    monkeypatch.setattr(image_cache, "_write_npy", lambda _, *rest: write(Path("/dev/full"), *rest))
    with pytest.raises(InputError, match="cannot write .*No space left.*XDG_CACHE_HOME"):
        write_images(tmp_path, (2, 1, side, side), [0, 1], [np.zeros((2, 1, side, side), np.uint8)])


def test_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    for name, age in ((".00.images.npy", 7200), (".01.images.npy", 0)):
        (tmp_path / name).write_bytes(b"half")
        time = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (time, time))
    write_images(tmp_path, SHAPE, [0] * 6, _batches())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".01.images.npy", "done.json", "images.npy"]
