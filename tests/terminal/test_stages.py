"""What long work says about itself, and what a terminal and a pipe show of it."""

import io
import re
import time
from collections.abc import Callable

import pytest
import torch
from rich.console import Console

from benchmark import stages
from benchmark.config.protocol import Evaluation, Named, Training
from benchmark.datasets import load_dataset
from benchmark.metrics import classifier
from benchmark.metrics.evaluation import Evaluator
from benchmark.stages import Stage, as_stage, begin_stage, listening
from benchmark.suite.plan import SearchSpec
from benchmark.terminal import stage_display
from benchmark.terminal.progress import SuiteDisplay
from benchmark.terminal.stage_display import Lines, StageDisplay
from searchers.rule import ChoiceRule
from searchers.space import SearchSpace

DECODING = Stage("decoding", 12_000, 27_000, "images")
Clock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [0.0]
    monkeypatch.setattr(stages.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.mark.parametrize(
    "stage, text",
    [
        (DECODING, "decoding: 12,000 of 27,000 images"),
        (Stage("downloading a/b.zip", 12.345678, 95.628359, "MB"), "downloading a/b.zip: 12.3 of 95.6 MB"),
        (Stage("reading the archive", 57, None, "cars"), "reading the archive: 57 cars"),
        (Stage("connecting to example.org"), "connecting to example.org"),
    ],
)
def test_a_stage_in_words(stage: Stage, text: str) -> None:
    assert stage.text == text


def test_a_stage_is_told_of_when_it_begins_and_a_few_times_a_second(set_clock: Clock) -> None:
    told: list[Stage] = []
    with listening(told.append):
        advance = begin_stage("decoding", 100, "images")
        for i in range(100):
            set_clock(0.01 * (i + 1))  # a second in all
            advance(1)
    assert told[0] == Stage("decoding", 0, 100, "images")
    assert 3 <= len(told) <= 1 + 1 / stages.TELL_SECONDS
    assert [stage.done for stage in told] == sorted({stage.done for stage in told}) and told[-1].done > 70
    begin_stage("nobody listens")(1)
    assert told[-1].what == "decoding"


def test_counted_is_a_stage_of_its_items(set_clock: Clock) -> None:
    told: list[Stage] = []
    with listening(told.append):
        for item in as_stage("abc", "spelling", "letters"):
            set_clock(float("abc".index(item) + 1))
    assert told == [Stage("spelling", done, 3, "letters") for done in range(4)]


def test_training_the_classifier_and_computing_features_are_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 5)
    monkeypatch.setattr(stages, "TELL_SECONDS", 0.0)
    told: list[Stage] = []
    dataset, cpu = load_dataset("digits"), torch.device("cpu")
    with listening(told.append):
        features = classifier.load(dataset, cpu)
        Evaluator(dataset.val, dataset.n_classes, features, Evaluation(max_images=100), cpu)
    assert told[:6] == [Stage("training the classifier", done, 5, "steps") for done in range(6)]
    assert {stage.what for stage in told[6:]} == {"computing classifier features"}
    assert told[-1][1:] == (100, 100, "images")


# --- a pipe


def _printed(lines: Lines, until: float, since: float = 0.0) -> list[tuple[float, str]]:
    """What is printed when, looking four times a second."""
    looks = [(since + i / 4, lines.due(since + i / 4)) for i in range(1, int(4 * (until - since)) + 1)]
    return [(now, line) for now, line in looks if line is not None]


def test_a_stage_gets_a_line_after_two_seconds_and_every_ten() -> None:
    lines = Lines()
    assert _printed(lines, 60) == []  # nothing is known before the first stage
    assert lines.show(Stage("connecting"), 100.0)
    assert [now for now, _ in _printed(lines, 125, since=100)] == [102, 112, 122]
    assert lines.show(DECODING._replace(done=0), 125.0)
    assert _printed(lines, 126.75, since=125) == []
    assert not lines.show(DECODING, 129.0)
    ((now, line),) = _printed(lines, 130, since=129)
    assert now == 129.25 and line == "decoding: 12,000 of 27,000 images, about 0:00:05 left"


def test_short_stages_that_are_long_together_get_lines_too() -> None:
    lines, printed = Lines(), []
    for second in range(25):
        lines.show(Stage(f"downloading sheet {second}"), float(second))
        printed += _printed(lines, second + 1, since=second)
    assert [now for now, _ in printed] == [2, 12, 22]


def test_what_is_over_soon_gets_no_line() -> None:
    lines = Lines()
    lines.show(DECODING, 0.0)
    assert _printed(lines, 1.75) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_a_pipe_gets_a_line_of_a_stage_that_is_stuck(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a terminal that cannot move its cursor."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(stage_display, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(stage_display, "LOOK_SECONDS", 0.01)
    pipe = io.StringIO()
    with StageDisplay("starting", Console(file=pipe, width=40, force_terminal=terminal)) as display:
        display.show(Stage("connecting to [example].org\x1b[2J, which takes longer than a line is wide"))
        deadline = time.monotonic() + 30
        while not pipe.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert pipe.getvalue() == "connecting to [example].org [2J, which takes longer than a line is wide\n"
    assert not display._printer.is_alive()


def test_a_quick_start_leaves_a_pipe_empty() -> None:
    pipe = io.StringIO()
    with StageDisplay("starting", Console(file=pipe)) as display:
        display.show(DECODING)
    assert pipe.getvalue() == ""


# --- a terminal


def test_a_terminal_shows_the_stage_with_an_eta_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=120, color_system=None)
    with StageDisplay("starting", console) as display:
        assert "starting" in terminal.getvalue()  # at once
        for done in (0, 9_000, 18_000):
            display.show(DECODING._replace(done=done))
            time.sleep(0.05)
        display._progress.refresh()
        display.notice("a notice [that stays]")
    shown = terminal.getvalue()
    assert re.search(r"decoding: 18,000 of 27,000 images .* ETA 0:00:0\d", shown)
    assert "a notice [that stays]\n" in shown
    assert shown.endswith("\x1b[2K")  # the bar's line is erased
    assert not display._printer.is_alive()


def test_a_search_says_what_it_does_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Named("digits"), Named("mlp")
    spec = SearchSpec("p", named[0], "", named[1], Training(), Evaluation(), SearchSpace(), ChoiceRule(), "grid", {}, 0)
    display = SuiteDisplay([spec], [5], 0)
    display.stage(0, Stage("computing inception features", 50, 500, "images"))
    task = display._progress.tasks[-1]
    assert (task.description, task.completed) == ("  grid seed 0", 0.0)
    assert task.fields["detail"] == "computing inception features: 50 of 500 images"
    display.epoch(0, 0, 1, 2, 8)
    display.stage(0, Stage("computing inception features"))  # of the test split: what is done stays done
    assert display._progress.tasks[-1].completed == 0.1
