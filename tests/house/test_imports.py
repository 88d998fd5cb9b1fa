"""Imports run one way: reports -> benchmark -> searchers; and the command line starts without torch.

`latentbench report` alone finds what is above it, by the name in `benchmark.cli.REPORT`.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    # no bench, no disk, no clock, no dataset
    "searchers": {"benchmark", "reports", "pathlib", "os", "io", "time", "datetime", "sklearn", "torchvision"},
    "benchmark": {"reports", "matplotlib"},
    "reports": set(),
}
MODULES = [(package, path) for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]


def imported(source: str, package: str) -> set[str]:
    """The top-level names that a module imports anywhere: in functions and under TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(package if node.level else (node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            names |= {arg.value.split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return names


def entry_targets(source: str) -> set[str]:
    """The packages that a registry's `Entry("module:attribute", ...)` names."""
    return {
        node.args[0].value.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Entry"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.parametrize(
    "source, name",
    [
        ("import benchmark.store", "benchmark"),
        ("from benchmark import store", "benchmark"),
        ("def f():\n    import os.path as p", "os"),
        ("if TYPE_CHECKING:\n    from reports.data.groups import x", "reports"),
        ("importlib.import_module('reports.page.page')", "reports"),
        ("from . import grid", "searchers"),
    ],
)
def test_the_parser_sees_every_import(source: str, name: str) -> None:
    assert imported(source, "searchers") == {name}


def test_every_package_is_looked_at() -> None:
    assert {package for package, _ in MODULES} == set(FORBIDDEN)
    assert len(MODULES) > 30
    assert entry_targets((ROOT / "searchers" / "__init__.py").read_text()) == {"searchers"}


@pytest.mark.parametrize("package, path", MODULES, ids=[str(path.relative_to(ROOT)) for _, path in MODULES])
def test_imports_run_one_way(package: str, path: Path) -> None:
    source = path.read_text()
    assert not (imported(source, package) | entry_targets(source)) & FORBIDDEN[package]


@pytest.mark.parametrize("command", ["import benchmark.cli", "from benchmark.cli import main; main(['list'])"])
def test_the_command_line_starts_without_torch(command: str) -> None:
    heavy = ("torch", "torchvision", "sklearn", "pandas", "optuna", "matplotlib")
    script = f"import sys\ntry:\n    {command}\nexcept SystemExit as stop:\n    assert not stop.code\n"
    script += f"print('loaded:', [name for name in {heavy} if name in sys.modules], 'benchmark.cli' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] True"
    assert "list" not in command or "geco-l0arm" in done.stdout
