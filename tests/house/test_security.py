"""Hostile files: nothing that is read is executed, nothing is written outside its folder (see SECURITY.md)."""

import ast
import hashlib
import importlib
import io
import pickle
import re
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_formats import ARCHIVES, Trap
from PIL import Image
from report_frames import epochs, search, write_store

from benchmark import cli
from benchmark.backbones.build import build_vae
from benchmark.backbones.model_file import FORMAT, load_model
from benchmark.datasets import DATASETS, load_dataset
from benchmark.datasets.archives.download import RemoteFile
from benchmark.datasets.archives.image_cache import cached_images, write_images
from benchmark.datasets.folders.image_files import list_images
from benchmark.datasets.published import cars3d, cifar100, eurosat
from benchmark.errors import Damaged, InputError
from benchmark.metrics import classifier, inception
from benchmark.paths import cache_root, data_root
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import write_checked
from benchmark.store.folders import TrialFolder
from benchmark.training import checkpoint
from reports.__main__ import main as reports
from searchers.base import FixedSize

ROOT = Path(__file__).parents[2]
PACKAGES = ("searchers", "benchmark", "reports", "latentbench")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

# --- what the code may not do

UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
IMPORTERS = {  # of what only these may import
    "subprocess": {"benchmark/provenance.py"},  # the code's own commit, from git
    "importlib": {
        "searchers/registry.py",
        "benchmark/provenance.py",
        "benchmark/plugins.py",
        "benchmark/config/resolved.py",
    },  # Entry; versions
    "urllib": {"benchmark/datasets/archives/download.py"},
    "http": {"benchmark/datasets/archives/download.py"},
    "requests": set(),
    # the machine's name; whether a cluster answers
    "socket": {"benchmark/processes.py", "benchmark/suite/executors/node.py", "benchmark/suite/executors/ray_pool.py"},
    "ray": {"benchmark/suite/executors/ray_pool.py"},
    "fsspec": {"benchmark/store/remote.py"},
}
CALLS = re.compile(r"eval|exec|compile|__import__|os\.(system|popen|exec\w+|spawn\w+)|.*\.(extractall|read_pickle)")
SWITCHES = ("shell", "allow_pickle", "download")


def offences(source: str, file: str) -> list[str]:
    """The calls and imports in a module that could run what a file holds, or fetch or write what is not checked."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            tops = {name.partition(".")[0] for name in names}
            found += [top for top in tops if top in UNPICKLERS or file not in IMPORTERS.get(top, {file})]
        elif isinstance(node, ast.Call):
            called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if CALLS.fullmatch(called) or (called == "torch.load" and options.get("weights_only") != "True"):
                found.append(called)
            found += [f"{called}({key}=...)" for key in SWITCHES if options.get(key) == "True"]
    return found


@pytest.mark.parametrize(
    "source, found",
    [
        ("import pickle", ["pickle"]),
        ("def f():\n    from joblib import load", ["joblib"]),
        ("import urllib.request", ["urllib"]),
        ("torch.load(path)", ["torch.load"]),
        ("torch.load(path, weights_only=False)", ["torch.load"]),
        ("torch.load(path, map_location='cpu', weights_only=True)", []),
        ("np.load(path, allow_pickle=True)", ["np.load(allow_pickle=...)"]),
        ("np.load(path, mmap_mode='c'); np.load(path, allow_pickle=False)", []),
        ("pd.read_pickle(path)", ["pd.read_pickle"]),
        ("tarfile.open(path).extractall(folder)", ["tarfile.open(path).extractall"]),
        ("re.compile('x'); vae.eval()", []),
        ("eval('x')", ["eval"]),
    ],
)
def test_offences_are_seen(source: str, found: list[str]) -> None:
    assert offences(source, "benchmark/store.py") == found


def test_no_offence() -> None:
    found = {(file := path.relative_to(ROOT).as_posix()): offences(path.read_text(), file) for path in SOURCES}
    assert len(found) > 100 and {file: some for file, some in found.items() if some} == {}


def test_every_download_is_pinned() -> None:
    for entry in DATASETS.values():
        entry.load()
    names = [name for name in sys.modules if name.startswith("benchmark.datasets.")]
    values = [value for name in names for value in vars(sys.modules[name]).values()]
    found = [one for value in values for one in (value if isinstance(value, list) else [value])]
    remote = {one for one in found if isinstance(one, RemoteFile)}
    assert {one.url for one in remote} >= {archive.module.ARCHIVE.url for archive in ARCHIVES.values()}
    for one in remote:
        assert one.algorithm in ("md5", "sha256") and re.fullmatch("[0-9a-f]+", one.checksum)
        assert one.url.startswith("https://") or one is cars3d.ARCHIVE  # which is left to the user


# --- pickles; each function plants one and returns how it is opened


def _pickled() -> bytes:
    return pickle.dumps({"x": Trap()}, protocol=2)  # torch's


def _torch_file() -> bytes:
    vae = build_vae("mlp", {"hidden": [4]}, (1, 4, 4), 2, seed=0)
    buffer = io.BytesIO()
    content = {"format": FORMAT, "backbone": "mlp", "options": {"hidden": [4]}, "image_shape": [1, 4, 4]}
    torch.save({**content, "latent_dim": 2, "weights": vae.state_dict(), "x": Trap()}, buffer)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object))
    return buffer.getvalue()


def _model(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="is no latentbench model"):
        load_model(folder / "model.pt")


def _checkpoint(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = TrialFolder(folder)
    write_checked(trial.checkpoint, content)
    checkpoint.check(trial)  # its checksum is right
    with pytest.raises(pickle.UnpicklingError):
        checkpoint.restore(trial, build_vae("mlp", {}, (1, 4, 4), 2, seed=0), FixedSize(), 1e-3)


def _classifier(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 2)
    dataset, cpu = load_dataset("digits"), torch.device("cpu")
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first = classifier.load(dataset, cpu)(images)
    (file,) = (cache_root() / "classifiers").iterdir()
    write_checked(file, content)  # its checksum is right
    assert torch.equal(classifier.load(dataset, cpu)(images), first)  # trained anew


def _inception(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = data_root() / "inception" / inception.WEIGHTS_FILE
    file.parent.mkdir()
    file.write_bytes(content)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", len(content))
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(pickle.UnpicklingError):
        inception.load(load_dataset("digits"), torch.device("cpu"))


def _gallery(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = search("grid", search_id="a")
    write_store(folder / "store", [row], [])
    path = folder / "store/searches/a/images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("originals.npy", content)
    with pytest.raises(Damaged, match="images.npz is damaged"):
        ResultsStore(folder / "store").gallery("a")


def _cache(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)

    def decode(cache: Path) -> None:
        write_images(cache, images.shape, [0, 1], [images])

    cached_images(folder, decode)
    (folder / "images.npy").unlink()
    (folder / "images.npy").write_bytes(content)
    assert np.array_equal(cached_images(folder, decode).images.numpy(), images)  # decoded anew


Plant = Callable[[bytes, Path, pytest.MonkeyPatch], None]
PLANTS: dict[str, tuple[Plant, Callable[[], bytes]]] = {
    f"{plant.__name__[1:]} {content.__name__[1:]}": (plant, content)
    for plant, contents in {
        _model: (_torch_file, _pickled),
        _checkpoint: (_torch_file, _pickled),
        _classifier: (_torch_file, _pickled),
        _inception: (_torch_file, _pickled),
        _gallery: (_npy,),
        _cache: (_npy, _pickled),
    }.items()
    for content in contents
}


@pytest.mark.parametrize("name", PLANTS)
def test_no_pickle_is_executed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_root().mkdir()
    plant, content = PLANTS[name]
    planted, folder = content(), tmp_path / "planted"
    folder.mkdir()
    plant(planted, folder, monkeypatch)
    assert not (data_root() / "trap").exists()
    if content is _torch_file:
        torch.load(io.BytesIO(planted), weights_only=False)
    elif content is _npy:
        np.load(io.BytesIO(planted), allow_pickle=True)
    else:
        pickle.loads(planted)
    assert (data_root() / "trap").exists()  # the trap works


# --- archives


def _with_hostile_members(name: str) -> bytes:
    """The small official archive, and members that point out of it."""
    source, target = io.BytesIO(ARCHIVES[name].content()), io.BytesIO()
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 64)).save(jpeg, "JPEG")
    outside = [f"2750/../../../{n}/{n}.jpg" for n in range(3)] + [str(data_root().parent / "evil/evil.jpg")]
    if name == "eurosat":
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for member in old.namelist():
                new.writestr(member, old.read(member))
            for path in outside:
                new.writestr(path, jpeg.getvalue())
        return target.getvalue()
    with tarfile.open(fileobj=source) as old, tarfile.open(fileobj=target, mode="w:gz") as new:
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member))
        for path in outside:
            member = tarfile.TarInfo(path)
            member.size = len(jpeg.getvalue())
            new.addfile(member, io.BytesIO(jpeg.getvalue()))
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"data/cars/../{number}")
            member.type, member.linkname = kind, "/etc"
            new.addfile(member)
    return target.getvalue()


@pytest.mark.parametrize("name", ["eurosat", "cifar100", "cars3d"])
def test_archives_write_nothing_but_the_cache(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar100, "N_TRAIN", 40)
    content = _with_hostile_members(name)
    module: Any = {"eurosat": eurosat, "cifar100": cifar100, "cars3d": cars3d}[name]
    monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, checksum=hashlib.md5(content).hexdigest()))
    path = data_root() / module.ARCHIVE.path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert len(load_dataset(name).train) > 10
    files = {file for file in tmp_path.rglob("*") if not file.is_dir() or file.is_symlink()}
    assert {file.name for file in files - {path}} == {"images.npy", "done.json"}
    assert all(file.is_relative_to(cache_root()) for file in files - {path})


def test_a_link_in_an_archive_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(kind.decode())
            member.type, member.linkname = kind, str(tmp_path / "secret")
            archive.addfile(member)
    with tarfile.open(tmp_path / "links.tar") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            with pytest.raises(KeyError, match="not found"):
                cifar100._member(archive, kind.decode())


# --- folder:PATH


def _twenty_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(20):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")


def test_links_in_circles_end(tmp_path: Path) -> None:
    _twenty_images(tmp_path / "images/a")
    for number in range(8):  # 8^40 paths
        (tmp_path / f"images/a/again-{number}").symlink_to("..")
    start = time.perf_counter()
    assert len(list_images(str(tmp_path / "images")).files) == 20
    assert time.perf_counter() - start < 2


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    side = 100_000  # 10 GB of pixels in 10 MB
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    _twenty_images(tmp_path / "images/a")
    bomb = tmp_path / "images/a/bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**8))) + chunk(b"IEND", b""))
    start = time.perf_counter()
    with pytest.raises(
        InputError, match=r"1 file cannot be read as an image: a/bomb\.png .*decompression bomb.*replace or remove"
    ):
        load_dataset(f"folder:{tmp_path / 'images'}", size=8)
    assert time.perf_counter() - start < 2
    assert Image.MAX_IMAGE_PIXELS is not None and 2 * Image.MAX_IMAGE_PIXELS < 200_000_000


def test_no_other_program_reads_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def run(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"{arguments} was to be run")

    for name in ("run", "call", "check_call", "check_output", "Popen"):
        monkeypatch.setattr(subprocess, name, run)
    _twenty_images(tmp_path / "images/a")
    Image.new("L", (8, 8)).save(tmp_path / "images/a/x.png", "EPS")
    with pytest.raises(InputError, match=r"1 file cannot be read as an image: a/x\.png"):
        load_dataset(f"folder:{tmp_path / 'images'}", size=8)
    with pytest.raises(AssertionError, match="was to be run"), Image.open(tmp_path / "images/a/x.png") as image:
        image.load()  # Pillow would ask Ghostscript


# --- somebody else's results

SCRIPT = "$\\frac{$</script><script>alert(1)</script><img src=x onerror=alert(2)>"
EVIL = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\nclass Searcher: pass\n"


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder whose maker means harm, beside a module that one of its searchers names."""
    dataset = f"folder:../../{SCRIPT}\x1b[2J\\input{{/etc/passwd}}[x](javascript:alert(3))"
    rows = [
        search("evil:Searcher", seed, dataset=dataset, backbone=SCRIPT, protocol=SCRIPT, settings={SCRIPT: SCRIPT})
        for seed in range(2)
    ]
    rows.append(search(SCRIPT, dataset=dataset, backbone=SCRIPT, status="failed", error=f"{SCRIPT}\x1b]0;title\x07"))
    rows.append(search("own\x1b[31m", dataset=dataset, backbone=SCRIPT, status="running"))
    write_store(tmp_path / "others", rows, [row for of in rows for row in epochs(of, [8, 7, 6])])
    for folder in (tmp_path / "others/searches").iterdir():
        (folder / "trials/000/checkpoint.pt").write_bytes(_torch_file())
    (tmp_path / "evil.py").write_text(EVIL)
    data_root().mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "others"


def _untouched(folder: Path) -> None:
    assert not (data_root() / "trap").exists() and not (folder.parent / "executed").exists()


@pytest.mark.parametrize("arguments", [["show"], ["watch", "--once"]])
def test_looking_at_results_executes_nothing(
    arguments: list[str], others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    before = sorted(others.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        cli.main([arguments[0], str(others), *arguments[1:]])
    out, errors = capsys.readouterr()
    assert ended.value.code == 0 and errors == "" and out.strip()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)  # nothing that a terminal would obey
    assert sorted(others.rglob("*")) == before
    _untouched(others)


def test_a_report_on_results_executes_nothing(others: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = others.parent / "out"
    before = {*others.parent.rglob("*")}
    assert reports(["--results", str(others), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", printed.out)
    assert all(path.is_relative_to(out) for path in {*others.parent.rglob("*")} - before)
    page = (out / "index.html").read_text()
    assert "&lt;/script&gt;" in page and "alert(1)</script>" not in page and "<img src=x" not in page
    assert "default-src &#39;none&#39;" in page  # and a script that did get in would not run
    markdown = (out / "comparison.md").read_text()
    assert "alert(1)" in markdown and not re.search(r"(?<!\\)<|(?<!\\)\]\(javascript", markdown)
    latex = "".join(path.read_text() for path in out.glob("*.tex"))
    assert "frac" in latex and not re.search(r"\\(frac|input|write|openin)\b", latex)
    _untouched(others)
    importlib.import_module("evil")
    assert (others.parent / "executed").exists()  # the trap works
    del sys.modules["evil"]
