"""Bad input, in each way that a person gets it wrong: one line that says what was got and what to do, exit code 2,
nothing written. Options, protocols, environment variables and the files of datasets.

What only a worker process finds out runs in this process here; `test_cli` runs some of it as a user does.
"""

import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input import LONG, OTHER_COMMANDS, PROTOCOL, REPORTS, RUN
from official_formats import ARCHIVES, install
from PIL import Image
from report_frames import search, write_store

from benchmark import cli
from benchmark.backbones import BACKBONES
from benchmark.config.protocol import Protocol
from benchmark.datasets import DATASETS
from benchmark.datasets.published.sprite_sheets import SHEETS
from benchmark.metrics.inception import WEIGHTS_FILE
from benchmark.paths import data_root
from benchmark.suite import runner, worker
from benchmark.suite.display import Screen
from benchmark.suite.executors.local_pool import RunTasks
from reports.__main__ import main as reports

pytestmark = pytest.mark.usefixtures("no_network")

REMEDY = re.compile(
    "expected|did you mean|give|set |fetch|delete|replace|remove|choose|check|correct|see:? |make benchmark|run the"
)
MODULE = """
from searchers.base import Choice, Searcher


class NeedsArgument(Searcher):
    def __init__(self, size):
        self.size = size

    def search(self, problem):
        return Choice(problem.train(self.size))


class Refuses(Searcher):
    def __init__(self):
        raise KeyError("colour")

    def search(self, problem):
        return Choice(problem.train(4))
"""

# --- environment variables and files

Prepare = Callable[[pytest.MonkeyPatch], object]
UNREADABLE = "/proc/self/mem"  # a file that gives an error where it is read, for root too
SHEET, WEIGHTS = SHEETS["body"][0].path, f"inception/{WEIGHTS_FILE}"


def _place(path: Path, what: bytes | str) -> None:
    """A file of these bytes, a "folder", or a file that is "unreadable"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, bytes):
        path.write_bytes(what)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(UNREADABLE)


def _idx(what: bytes | str) -> Prepare:
    """The four files of MNIST, one of them bad."""

    def prepare(_: pytest.MonkeyPatch) -> None:
        for part, n in (("train", 40), ("t10k", 10)):
            _place(data_root() / f"MNIST/raw/{part}-images-idx3-ubyte", _idx_bytes(n, 28, 28))
            _place(data_root() / f"MNIST/raw/{part}-labels-idx1-ubyte", _idx_bytes(n))
        bad = data_root() / "MNIST/raw/t10k-labels-idx1-ubyte"
        bad.unlink()
        _place(bad, what)

    return prepare


def _idx_bytes(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + bytes(int(np.prod(shape)))


def _archive(name: str, what: bytes | str) -> Prepare:
    def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
        path = install(name, monkeypatch)
        path.unlink()
        _place(path, what)

    return prepare


def _at(path: str, what: bytes | str) -> Prepare:
    return lambda _: _place(data_root() / path, what)


def _images(name: str, make: Callable[[Path], object]) -> Prepare:
    """Twenty images in `../images/a`, and another that `make` makes."""

    def prepare(_: pytest.MonkeyPatch) -> None:
        Path("../images/a").mkdir(parents=True)
        for i in range(20):
            Image.new("L", (8, 8)).save(f"../images/a/{i}.png")
        make(Path("../images/a") / name)

    return prepare


def _save(mode: str, format: str, **options: Any) -> Callable[[Path], object]:
    return lambda path: Image.new(mode, (8, 8)).save(path, format, **options)


def _bitmap(side: int) -> bytes:
    """The head of a bitmap that says it has side x side pixels."""
    head = io.BytesIO()
    Image.new("1", (8, 8)).save(head, "BMP")
    content = bytearray(head.getvalue())
    content[18:26] = side.to_bytes(4, "little") * 2
    return bytes(content)


def _set(**variables: str) -> Prepare:
    return lambda monkeypatch: [monkeypatch.setenv(name, value) for name, value in variables.items()]


# By the arguments of `run`: what is wrong, and what the line must say.
FILES: dict[str, dict[str, tuple[Prepare, str]]] = {
    "--dataset dsprites": {
        "cache is a file": (_set(XDG_CACHE_HOME="file"), "cannot make the cache folder file/latentbench/dsprites"),
        "cache that cannot be": (_set(XDG_CACHE_HOME="/proc/x"), "set XDG_CACHE_HOME to a writable folder"),
        "cache of nobody": (_set(XDG_CACHE_HOME="~nobody-here"), "XDG_CACHE_HOME: the home folder in '~nobody-here'"),
    },
    "--dataset mnist": {
        "data of nobody": (_set(LATENTBENCH_DATA="~nobody-here"), "LATENTBENCH_DATA: the home folder in '~nobody-here"),
        "data is a file": (_set(LATENTBENCH_DATA="file"), "mnist: found no file/MNIST/raw/train-images-idx3-ubyte.gz"),
        "data too long": (_set(LATENTBENCH_DATA=LONG), f"File name too long: '{LONG}/MNIST/raw"),
        "a folder": (_idx("folder"), "found no "),
        "unreadable": (_idx("unreadable"), "Input/output error"),
        "compressed": (_idx(b"\x1f\x8b\x08\0" * 9), "36 bytes, magic number 529205248"),
        "of one image": (_idx(_idx_bytes(1)), "10 images but"),
        "of floats": (_idx(b"\0\0\x0d\1" + bytes(44)), "magic number 3329"),
    },
    **{
        f"--dataset {name}": {
            f"{name} a folder": (_archive(name, "folder"), f"{name}: found no "),
            f"{name} unreadable": (_archive(name, "unreadable"), "Input/output error"),
            f"{name} a page": (_archive(name, b"<html>404</html>"), "16 bytes with md5"),
        }
        for name in ARCHIVES
    },
    "--dataset sprites": {
        "sheet missing": (lambda _: None, "sprites: found no"),
        "sheet empty": (_at(SHEET, b""), "0.png is truncated, damaged or another file: 0 bytes with sha256"),
        "sheet a page": (_at(SHEET, b"<html>"), "6 bytes with sha256"),
        "sheet a folder": (_at(SHEET, "folder"), "sprites: found no"),
        "sheet unreadable": (_at(SHEET, "unreadable"), "Input/output error"),
    },
    "--features inception": {
        "weights missing": (lambda _: None, "inception: found no "),
        "weights a folder": (_at(WEIGHTS, "folder"), "inception: found no "),
        "weights truncated": (_at(WEIGHTS, b"half"), "is truncated, damaged or another file: 4 bytes with sha256"),
        "weights unreadable": (_at(WEIGHTS, "unreadable"), "Input/output error"),
    },
    "--dataset folder:../images": {
        "image empty": (_images("x.png", Path.touch), "1 file cannot be read as an image: a/x.png (empty file)"),
        "image no image": (
            _images("x.png", lambda p: p.write_text("x")),
            "a/x.png (no image format that is known here)",
        ),
        "image cut short": (
            _images("x.bmp", lambda p: p.write_bytes(_bitmap(64))),
            "cannot be read as an image: a/x.bmp (",
        ),
        "image a bomb": (_images("x.bmp", lambda p: p.write_bytes(_bitmap(20_000))), "could be decompression bomb"),
        "image deep": (_images("x.png", _save("I;16", "PNG")), "a/x.png (more than 8 bits a channel (mode I;16))"),
        "image PostScript": (_images("x.png", _save("L", "EPS")), "a/x.png (no image format that is known here)"),
        "image a dead link": (
            _images("x.png", lambda p: p.symlink_to("nowhere")),
            "a/x.png (No such file or directory)",
        ),
        "image a pipe": (_images("x.png", os.mkfifo), "a/x.png (a pipe or device)"),
        "image unreadable": (_images("x.png", lambda p: p.symlink_to(UNREADABLE)), "a/x.png (Input/output error)"),
        "image of two lines": (
            _images("x\n\x1b[2Jy.png", Path.touch),
            "cannot be read as an image: a/x [2Jy.png (empty file)",
        ),
    },
}

Case = tuple[Prepare | None, list[str], str]


def _own_protocol(text: str) -> Prepare:
    """Writes a protocol of this text, with a dataset and a backbone where it has none."""
    names = {"dataset": "digits", "backbone": "mlp"}
    rest = [f'{k}.name = "{name}"' for k, name in names.items() if not re.search(rf"^{k}( |\.name)", text, re.M)]
    return lambda _: Path("own.toml").write_text("\n".join([text, *rest]))


CASES: dict[str, Case] = {
    **{f"run {text}": (None, ["run", *shlex.split(text)], says) for text, says in RUN.items()},
    **{text: (None, shlex.split(text), says) for text, says in OTHER_COMMANDS.items()},
    **{f"reports {text}": (None, ["reports", *shlex.split(text)], says) for text, says in REPORTS.items()},
    **{text: (_own_protocol(text), ["run", "--protocol", "own.toml"], says) for text, says in PROTOCOL.items()},
    **{
        f"{text} {name}": (prepare, ["run", *text.split()], says)
        for text, table in FILES.items()
        for name, (prepare, says) in table.items()
    },
}


def _prepare(protocol: Protocol, device: str, run_tasks: RunTasks, screen: Screen, with_features: bool = True) -> Any:
    """The runner's, without a worker process; a suite that could run is no bad input."""

    class Answer:
        def send(self, message: tuple[str, Any]) -> None:
            kind, content = message
            assert kind in ("stage", "input_error"), "accepted"
            if kind == "input_error":
                raise runner.InputError(content)

    worker.prepare(Answer(), protocol, device, with_features)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, and no trace of the commands in this process."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(runner, "warm_up", lambda: None)
    monkeypatch.setattr(runner, "_prepare", _prepare)
    monkeypatch.setattr(worker, "limit_threads", lambda threads: None)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of somebody who is about to get it wrong."""
    folder = tmp_path / "work"
    for name in ("empty", "folder.toml", "unbegun/searches", "damaged/searches/a"):
        (folder / name).mkdir(parents=True)
    (folder / "damaged/searches/a/search.json").write_text("{")
    (folder / "file").write_text("no folder")
    (folder / "empty.toml").touch()
    (folder / "binary.toml").write_bytes(bytes(range(256)))
    (folder / "utf16.toml").write_text("summary = 'x'", encoding="utf-16")
    (folder / "latin1.toml").write_text("summary = 'é'", encoding="latin-1")
    named = "summary = 'é'\ndataset.name = 'digits'\nbackbone.name = 'mlp'\n"
    (folder / "bom.toml").write_text(named, encoding="utf-8-sig")
    monkeypatch.setenv("HOME", str(folder))
    (folder / "dangling.toml").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    for name, code in (("syntax", "def f(:"), ("zero", "1 / 0"), ("exit", "raise SystemExit(0)"), ("module", MODULE)):
        (folder / f"bad_{name}.py").write_text(code)
    write_store(folder / "results", [search("grid")], [])
    monkeypatch.chdir(folder)
    return folder


def _tree(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in sorted(folder.rglob("*"))}


def _check(arguments: list[str], says: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _tree(work)
    if arguments[:1] == ["reports"]:
        code: object = reports(arguments[1:])
    else:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        code = ended.value.code
    out, line = capsys.readouterr()
    assert (code, out) == (2, ""), line
    assert line.count("\n") == 1 and line[:-1].isprintable() and line.startswith(("latentbench: ", "error: "))
    assert says in line and REMEDY.search(line)
    assert _tree(work) == before


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    prepare, arguments, says = CASES[name]
    if prepare is not None:
        prepare(monkeypatch)
    _check(arguments, says, work, capsys)
    for module in [name for name in sys.modules if name.startswith("bad_")]:
        del sys.modules[module]


# --- without permission

NO_PERMISSION = {  # what may not be read or written, its mode, the arguments, what the line must say
    "protocol": ("own.toml", 0, "run --protocol own.toml", "cannot read protocol own.toml: [Errno 13] Permission"),
    "folder": ("images", 0, "run --dataset folder:images", "Permission denied: 'images'; check the path"),
    "class": ("images/a", 0, "run --dataset folder:images", "Permission denied: 'images/a'; check the path"),
    "image": (
        "images/a/3.png",
        0,
        "run --dataset folder:images",
        "cannot be read as an image: a/3.png (Permission denied)",
    ),
    "data": ("../data", 0, "run --dataset cars3d", "cannot prepare dataset cars3d: [Errno 13] Permission denied: "),
    "cache": ("../cache", 0o555, "run --dataset dsprites", "cannot make the cache folder"),
    "results": ("locked", 0o555, "run --results locked", "no permission to read and write locked; choose another"),
    "searches": ("store/searches", 0, "show store", "cannot read store/searches; expected a readable folder"),
    "report": ("store", 0o555, "reports --results store", "cannot write to store/report (Permission denied)"),
}
NOBODY = 65534


@pytest.fixture
def as_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A working folder that is not root's alone; called, this process loses root's permissions, if it has them."""
    for entry in (*DATASETS.values(), *BACKBONES.values()):
        entry.load()  # the package may lie where only root can read
    folder = Path(tempfile.mkdtemp())
    (folder / "work").mkdir()
    for path in (folder, folder / "work"):
        path.chmod(0o777)
    monkeypatch.chdir(folder / "work")
    was_root = os.geteuid() == 0
    yield lambda: os.setresuid(NOBODY, NOBODY, 0) if was_root else None
    if was_root:
        os.setresuid(0, 0, 0)
    shutil.rmtree(folder)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", NO_PERMISSION)
def test_no_permission(
    name: str,
    as_nobody: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, mode, arguments, says = NO_PERMISSION[name]
    for folder in ("images/a", "locked", "../data", "../cache"):
        Path(folder).mkdir(parents=True)
    for i in range(20):
        Image.new("L", (8, 8)).save(f"images/a/{i}.png")
    write_store(Path("store"), [search("grid")], [])
    Path("own.toml").touch()
    Path("../cache").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", "../cache")
    monkeypatch.setenv("LATENTBENCH_DATA", "../data")
    as_is = Path(path).stat().st_mode
    Path(path).chmod(mode)
    as_nobody()
    _check(arguments.split(), says, Path(), capsys)
    if os.geteuid() != NOBODY:
        Path(path).chmod(as_is)  # so that the folder can be removed
