"""What is made before the first search: features that are downloaded or trained, and a dry run that makes none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.error import URLError

import pytest
import torch

from benchmark import cli
from benchmark.config.protocol import parse_protocol
from benchmark.datasets.archives import download
from benchmark.errors import InputError
from benchmark.metrics import baselines, classifier, inception
from benchmark.paths import cache_root, data_root
from benchmark.suite import runner, worker
from benchmark.suite.executors.local_pool import OnEnd, OnMessage, OnOffer, Task
from benchmark.suite.plan import Prepared
from benchmark.suite.runner import Suite, plan_suite, run_suite
from benchmark.terminal.plan_table import print_plan
from benchmark.terminal.screen import TerminalScreen
from searchers.registry import Entry

PROTOCOL = parse_protocol(
    """
dataset.name = "digits"
backbone = {name = "mlp", hidden = [8]}
training.epochs = 1
space.sizes = [2]
""",
    "tiny",
)
SCREEN = TerminalScreen()
WEIGHTS = Path("inception", inception.WEIGHTS_FILE)


class Said(NamedTuple):
    stages: list[str]
    notices: list[str]
    errors: list[str]
    ready: list[Prepared]


def _prepare(features: str = "auto", with_features: bool = True) -> Said:
    said: dict[str, list[Any]] = {"stage": [], "notice": [], "input_error": [], "ready": []}

    class Sender:
        def send(self, message: tuple[str, Any]) -> None:
            said[message[0]].append(message[1])

    protocol = replace(PROTOCOL, evaluation=replace(PROTOCOL.evaluation, features=features))
    worker.prepare(Sender(), protocol, "cpu", with_features)
    return Said([stage.what for stage in said["stage"]], said["notice"], said["input_error"], said["ready"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 2)
    monkeypatch.setattr(worker, "limit_threads", lambda threads: None)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` means what it does on a GPU."""
    monkeypatch.setattr(worker, "resolve_features", lambda name, *_: "inception" if name == "auto" else name)


@pytest.fixture
def never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a dry run trains and downloads nothing")

    monkeypatch.setattr(classifier, "_train", fail)
    monkeypatch.setattr(baselines, "_compute", fail)
    monkeypatch.setattr(download, "open_url", fail)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run in this process, one after another."""

    def run_tasks(count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
        for index in range(count):
            task = offer(index)
            assert isinstance(task, Task)
            Entry(task.target, "").load()(_Sender(index, on_message), *task.arguments)
            assert not on_end(index, None)

    monkeypatch.setattr(runner, "run_tasks", run_tasks)
    monkeypatch.setattr(runner, "warm_up", lambda: None)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: True)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr("benchmark.suite.executors.local_pool.warm_up", lambda: None)


class _Sender:
    def __init__(self, index: int, on_message: OnMessage) -> None:
        self._index, self._on_message = index, on_message

    def send(self, message: Any) -> None:
        self._on_message(self._index, message)


class _Response:
    def __init__(self, content: bytes, fails_at_end: bool = False) -> None:
        self.headers: dict[str, str] = {}
        self._parts = [content, b""]
        self._fails = fails_at_end

    def __enter__(self) -> "_Response":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, _: int) -> bytes:
        part = self._parts.pop(0)
        if self._fails and not part:
            raise TimeoutError("The read operation timed out")
        return part


def _no_network(url: str) -> _Response:
    raise URLError("no route to host")


DOWNLOADS: dict[str, tuple[Callable[[str], _Response], str]] = {
    "no network": (_no_network, "no route to host"),
    "another file": (lambda _: _Response(b"<html>sorry</html>"), "got 18 bytes with sha256"),
    "breaks off": (lambda _: _Response(b"x" * 1000, fails_at_end=True), "timed out"),
}


# --- Inception's weights


@pytest.mark.parametrize("name", DOWNLOADS)
def test_weights_that_cannot_be_had_end_a_suite_that_asks_for_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_url, reason = DOWNLOADS[name]
    monkeypatch.setattr(download, "open_url", open_url)
    said = _prepare("inception")
    (line,) = said.errors
    assert not said.ready and not said.notices
    for part in (reason, inception.WEIGHTS_URL, str(data_root() / WEIGHTS), 'features = "classifier"'):
        assert part in line
    assert "\n" not in line and not list((data_root() / "inception").glob("*"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", DOWNLOADS)
def test_auto_goes_on_with_the_classifier_and_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_url, reason = DOWNLOADS[name]
    monkeypatch.setattr(download, "open_url", open_url)
    said = _prepare("auto")
    (notice,) = said.notices
    assert notice.startswith("FIDs are on the classifier's features, as Inception's cannot be had: inception: found no")
    assert reason in notice and inception.WEIGHTS_URL in notice
    assert said.ready[0].protocol.evaluation.features.startswith("classifier:") and not said.errors
    assert "connecting to github.com, which may take 30 s" in said.stages and "training the classifier" in said.stages


@pytest.mark.usefixtures("gpu", "in_process")
def test_the_features_used_instead_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "open_url", _no_network)
    searches = run_suite(Suite(PROTOCOL, ("grid",), (0,), tmp_path / "results", "cpu"), SCREEN)
    assert searches["status"].tolist() == ["done"]
    assert searches["test_fid_features"].str.startswith("classifier").tolist() == [True]
    assert "FIDs are on the classifier's features" in capsys.readouterr().out


@pytest.mark.usefixtures("gpu")
def test_auto_on_a_gpu_is_inception_where_its_weights_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, *_: object) -> SimpleNamespace:
        loaded.append(name)
        return SimpleNamespace(name=name)

    monkeypatch.setattr(worker, "load_features", load)
    said = _prepare("auto")
    assert loaded == ["inception"] and said.ready[0].protocol.evaluation.features == "inception"
    assert not said.notices
    assert [name.split("/")[0] for name in said.ready[0].shared.cache_files] == ["baselines"] * 3  # seeds 0 to 2


# --- prepare, the command


@pytest.mark.usefixtures("in_process")
def test_prepare_makes_everything_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["prepare", "digits"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == [
        "digits: 1,797 images, grey 8x8; 10 classes of 174 to 183 images; splits: 1,293 train, 144 validation, "
        "360 test; all differ by seed (5 partitions); classifier features for the FIDs are ready",
        f"downloads are kept in {data_root()}, decoded images and classifiers in {cache_root()}",
    ]
    assert err == "" and len(list((cache_root() / "classifiers").iterdir())) == 1


@pytest.mark.usefixtures("in_process")
def test_prepare_names_what_a_gpu_needs_besides(capsys: pytest.CaptureFixture[str]) -> None:
    Path("auto.toml").write_text('dataset.name = "digits"\nbackbone.name = "mlp"\n')
    for arguments in (["--protocol", "auto.toml"], ["--protocol", "auto.toml", "--features", "classifier"]):
        with pytest.raises(SystemExit):
            cli.main(["prepare", "digits", "--device", "cpu", *arguments])
        expected = "--features" not in arguments
        assert ("prepare those too with --features inception" in capsys.readouterr().out) is expected


@pytest.mark.usefixtures("in_process", "no_network")
@pytest.mark.parametrize(
    "arguments, says",
    [
        ("prepare digits --features inception", "inception: found no"),
        ("prepare mnist", "mnist: found no"),
        ("prepare minst", "did you mean 'mnist'?"),
        ("prepare folder:nowhere", "nowhere does not exist; give a folder of images"),
        ("prepare digits --device gpu9", "device 'gpu9' cannot be used here"),
        ("prepare", "the following arguments are required: dataset"),
    ],
)
def test_prepare_what_cannot_be(arguments: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments.split())
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and err.count("\n") == 1 and says in err


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- a dry run


@pytest.mark.usefixtures("never_made")
@pytest.mark.parametrize("features", ["auto", "classifier", "inception"])
def test_a_dry_run_makes_no_features(features: str) -> None:
    said = _prepare(features, with_features=False)
    (ready,) = said.ready
    assert ready.n_images == 1_293 and not ready.shared.cache_files
    assert ready.protocol.evaluation.features == features.replace("auto", "classifier")


def test_a_dry_run_plans_the_same_searches_as_the_run() -> None:
    run, dry = _prepare(), _prepare(with_features=False)
    assert dry.ready == run.ready and dry.ready[0].shared.cache_files  # the classifier is there by now
    assert "training the classifier" in run.stages and "training the classifier" not in dry.stages


@pytest.mark.usefixtures("gpu", "never_made")
def test_a_dry_run_on_a_gpu_plans_what_runs_have_done_there() -> None:
    assert _prepare(with_features=False).ready[0].protocol.evaluation.features == "classifier"
    (data_root() / "inception").mkdir(parents=True)
    (data_root() / WEIGHTS).touch()
    assert _prepare(with_features=False).ready[0].protocol.evaluation.features == "inception"


@pytest.mark.usefixtures("in_process", "never_made")
def test_a_dry_run_writes_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for results in (tmp_path / "results", f"file://{tmp_path}/store"):
        print_plan(plan_suite(Suite(PROTOCOL, ("grid",), (0,), results, "cpu"), SCREEN))
        assert "1 searches, 0 done" in capsys.readouterr().out
    assert not (tmp_path / "results").exists() and not (tmp_path / "store").exists()


@pytest.mark.usefixtures("in_process")
def test_a_dry_run_knows_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = Suite(PROTOCOL, ("grid",), (0,), tmp_path / "results", "cpu")
    run_suite(suite, SCREEN)
    print_plan(plan_suite(suite, SCREEN))
    assert "1 searches, 1 done" in capsys.readouterr().out


# --- a long suite


@pytest.mark.usefixtures("in_process")
def test_a_long_suite_is_announced_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (None, "this suite is long"):
        monkeypatch.setattr(runner, "long_suite", lambda *_, line=line: line)
        run_suite(Suite(PROTOCOL, ("grid",), (int(line is not None),), tmp_path / "results", "cpu"), SCREEN)
        assert ("this suite is long" in capsys.readouterr().out.splitlines()[:2]) is (line is not None)


def test_a_worker_that_dies_while_preparing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_tasks(count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
        on_end(0, runner.Death("the worker process was killed by SIGKILL"))

    with pytest.raises(InputError, match="preparing the data failed: the worker process was killed by SIGKILL"):
        runner._prepare(PROTOCOL, "cpu", run_tasks, SCREEN)
