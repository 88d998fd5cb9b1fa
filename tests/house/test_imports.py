"""Imports run one way, between the packages and between their rooms; folders stay small; the command line starts light.

`latentbench report` and `verdict` alone find what is above them, by the names in `benchmark.cli`.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    # no bench, no disk, no clock, no dataset
    "searchers": {"benchmark", "reports", "latentbench", "pathlib", "os", "io", "time", "datetime", "sklearn"}
    | {"torchvision"},
    "benchmark": {"reports", "matplotlib", "latentbench"},
    "reports": {"latentbench"},
    "latentbench": set(),
}
# The rooms of each package, modules and folders, from the ground up. Those in one line do not import one another.
ROOMS = {
    "searchers": [
        {"registry", "parts"},
        {"quantities", "space"},
        {"rule", "assessment"},
        {"base"},
        {"selection", "masking"},
        {"whole_run", "in_training", "from_images", "from_autoencoder", "experiments"},
        {"testing"},
    ],
    "benchmark": [
        {"text"},
        {"errors"},
        {"stages", "paths", "processes", "machine", "provenance", "plugins"},
        {"config"},
        {"store"},
        {"datasets"},
        {"backbones"},
        {"metrics"},
        {"training"},
        {"suite", "export", "choosing"},
        {"terminal", "suggest", "testing"},
        {"commands"},
        {"cli"},
        {"__main__"},
    ],
    "reports": [
        {"headless", "data"},
        {"analysis"},
        {"claims", "compare", "drawing"},
        {"figures"},
        {"tables", "page"},
        {"papers", "write"},
        {"terminal"},
        {"__main__"},
    ],
    "latentbench": [
        {"data", "progress", "per_latent"},
        {"result"},
        {"calls", "inspection"},
        {"estimator"},
    ],
}
MOST_FILES = 12  # in a folder
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


# ---- rooms


def module_name(path: Path) -> str:
    """As Python imports it: a folder by its name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path): path for _, path in MODULES}


def imported_modules(nodes: Iterator[ast.AST], package: str) -> set[str]:
    """The package's own modules that these statements import."""
    found = set()
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            names = [name if name in NAMES else node.module for name in whole]
        found |= {name for name in names if name.split(".")[0] == package and name in NAMES}
    return found


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when the module is imported, and those under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def room(module: str) -> str:
    """`store` of `benchmark.store.rows`; the package's own file is `__init__`."""
    return (module.split(".") + ["__init__"])[1]


def test_every_room_has_its_floor() -> None:
    for package, floors in ROOMS.items():
        there = {room(name) for name in NAMES if name.split(".")[0] == package} - {"__init__"}
        assert there <= set().union(*floors)


@pytest.mark.parametrize("package, path", MODULES, ids=[str(path.relative_to(ROOT)) for _, path in MODULES])
def test_rooms_import_downwards(package: str, path: Path) -> None:
    floor = {name: number for number, names in enumerate(ROOMS[package]) for name in names}
    own = room(module_name(path))
    if own == "__init__":  # what it exports is imported when first used
        return
    others = {room(name) for name in imported_modules(ast.walk(ast.parse(path.read_text())), package)}
    assert {name for name in others - {own, "__init__"} if floor[name] >= floor[own]} == set()


def test_data_analysis_and_tables_draw_nothing() -> None:
    paths = [path for name in ("data", "analysis", "tables") for path in (ROOT / "reports" / name).rglob("*.py")]
    assert len(paths) > 12
    assert [path for path in paths if imported(path.read_text(), "reports") & {"matplotlib", "plotly"}] == []


@pytest.mark.parametrize("package", ROOMS)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    graph = {
        name: imported_modules(outside_functions(ast.parse(path.read_text())), package) - {name}
        for name, path in NAMES.items()
        if name.split(".")[0] == package
    }
    del graph[package]  # it loads what it exports lazily
    assert sum(map(len, graph.values())) > 3
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules


def test_a_circle_is_found() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()
    source = "def f():\n    import benchmark.cli\nif TYPE_CHECKING:\n    from benchmark.store import rows, Damaged\n"
    found = imported_modules(outside_functions(ast.parse(source)), "benchmark")
    assert found == {"benchmark.store.rows", "benchmark.store"}


FOLDERS = sorted({path.parent for package in FORBIDDEN for path in (ROOT / package).rglob("*.[pt][yo]*")})


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(folder.relative_to(ROOT)) for folder in FOLDERS])
def test_folders_are_small_and_no_prefix_does_a_folders_work(folder: Path) -> None:
    files = {path.stem for path in folder.glob("*.py")}
    assert max(len(files), len(list(folder.glob("*.toml")))) <= MOST_FILES
    names = files | {path.name for path in folder.iterdir() if path.is_dir()} | {folder.name}
    assert [stem for stem in files if any(stem.startswith(f"{name}_") for name in names)] == []


@pytest.mark.parametrize("package", ROOMS)
def test_the_architecture_page_has_the_rooms(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split(f"| `{package}` | |\n")[1].split("\n\n")[0]
    described = [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()[1:]]
    assert described == [rooms for rooms in ROOMS[package] if rooms != {"__main__"}]
