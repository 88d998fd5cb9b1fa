"""`make gpu` itself: a part that fails, hangs or finds something wrong leaves the others as they are."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.gpu import __main__ as run
from tests.gpu.lines import Line, Report, markdown, read_lines
from tests.gpu.wheels import needed

MODULES = {
    "good": "report.add('a', '1', '1', True)",
    "wrong": "report.at_most('b', 3.0, 2)",
    "broken": "report.add('before', '', 'said'); raise ValueError('no such thing')",
    "hangs": "report.add('before', '', 'said')\nimport subprocess\n"
    "subprocess.run(['sleep', '317.625'], start_new_session=True)",
}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, run.Part]:
    """Parts of these modules, in the folder of another package."""
    package = tmp_path / "root" / "tests" / "gpu"
    package.mkdir(parents=True)
    for name, body in MODULES.items():
        head = f"import sys\nsys.path.insert(0, {str(run.ROOT)!r})\nfrom pathlib import Path\n"
        head += "import importlib.util\n"
        head += f"spec = importlib.util.spec_from_file_location('lines', {str(run.ROOT / 'tests/gpu/lines.py')!r})\n"
        head += "lines = importlib.util.module_from_spec(spec); sys.modules['lines'] = lines\n"
        head += "spec.loader.exec_module(lines)\n"
        head += f"report = lines.Report({name!r}, Path(sys.argv[sys.argv.index('--lines') + 1]))\n"
        (package / f"{name}.py").write_text(head + body + "\n")
    (package.parent / "__init__.py").touch()
    monkeypatch.setattr(run, "ROOT", tmp_path / "root")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return {name: run.Part(name, name, 60, 2 if name == "hangs" else 60) for name in MODULES}


def test_no_part_stops_another(parts: dict[str, run.Part], tmp_path: Path) -> None:
    out, begin = tmp_path / "out", time.monotonic()
    order = [parts[name] for name in ("broken", "hangs", "wrong", "good")]
    assert run.main(["--device", "cpu", "--out", str(out)], order, beside=()) == 1
    assert time.monotonic() - begin < 60
    content = json.loads((out / "gpu.json").read_text())
    found = [(line["part"], line["what"], line["is_met"]) for line in content["lines"]]
    assert found[:-1] == [
        ("broken", "before", None),
        ("broken", "end", False),
        ("hangs", "before", None),
        ("hangs", "time", False),
        ("wrong", "b", False),
        ("good", "a", True),
    ]
    assert found[-1][0] == "all" and "ValueError: no such thing" in (out / "gpu.md").read_text()
    assert f"torch {torch.__version__.partition('+')[0]}" in content["machine"]
    left = subprocess.run(["pgrep", "-f", "sleep 317.625"], capture_output=True, check=False)
    assert left.stdout == b""  # nothing that it started is left


def test_all_as_it_should_be(parts: dict[str, run.Part], tmp_path: Path) -> None:
    beside = [run.Part("beside", "good", 60, 60)]
    assert run.main(["--device", "cpu", "--out", str(tmp_path / "out")], [parts["good"]], beside) == 0
    lines = read_lines(tmp_path / "out" / "lines" / "beside.jsonl")
    assert [line.what for line in lines] == ["a"]


def test_a_machine_without_a_gpu_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        run.main(["--device", "cuda"])
    assert ended.value.code == 2
    assert "sees no CUDA device; DEVICE=cpu runs the same at small sizes" in capsys.readouterr().err


def test_the_table(tmp_path: Path) -> None:
    report = Report("p", tmp_path / "lines")
    report.at_most("a | b", 2.0, 2, " ms")
    report.at_least("c", 2.0, 3)
    report.at_least("d", float("nan"), 3)
    report.at_least("e", 2.0, 3, counts=False)
    lines = read_lines(tmp_path / "lines")
    assert [line.is_met for line in lines] == [True, False, False, None]
    text = markdown(lines, "a card")
    assert text.startswith("# a card\n\n1 as they should be, 2 not, 1 for information.\n")
    assert "| p | a / b | at most 2 ms | 2 ms | pass |" in text and "| p | c | at least 3 | 2 | FAIL |" in text
    assert read_lines(tmp_path / "none") == [] and Line("p", "w", "s", "f").is_met is None


def test_every_parts_module_is_there() -> None:
    for part in (*run.PARTS, *run.BESIDE):
        assert (Path(run.__file__).parent / f"{part.module}.py").is_file()
    assert sum(part.seconds for part in run.PARTS) <= 480  # the limits alone keep it within eight minutes


def test_wheels_are_what_a_package_needs() -> None:
    found = needed(["pandas"])
    assert {"pandas", "python-dateutil", "numpy"} <= set(found) and "pytest" not in found
    without = needed(["pandas"], without=["NumPy"])
    assert set(found) - set(without) == {"numpy"}
    printed = subprocess.run(
        [sys.executable, "-m", "tests.gpu.wheels", "rich"], cwd=run.ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = [line.partition("==")[0] for line in printed]
    assert {"torch-fidelity", "optuna", "pytest"} <= set(names) and not {"torch", "numpy", "rich"} & set(names)
