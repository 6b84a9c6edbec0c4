"""The layer picture of CONTRIBUTING.md, as a test: a module imports only from below, also inside functions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "fastcmp"

GROUND = {
    "errors",
    "globs",
    "name_expressions",
    "garbage",
    "dtypes",
    "metric_functions",
    "executor_choice",
    "options",
    "surroundings",
    "dump_layout",
    "preload_library",
    "toml_file",
    "_native",
}
READING = GROUND | {"formats"}
NAMING = READING | {"sources"}
ADDING = {"dtypes", "options"}
MEANING = NAMING | {"kernels", "pairing", "parallel", "metrics"}
PLANNING = MEANING | {"plan", "outcome", "thresholds", "rules", "rule_book", "verdict"}
WORKING = PLANNING | {"engine", "results", "dump", "progress"}

# Each unit (a module or a directory of fastcmp) and the units it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "metric_functions": {"errors"},
    "garbage": set(),
    "dtypes": {"errors"},
    "executor_choice": {"errors"},
    "options": {"errors", "executor_choice"},
    "surroundings": set(),
    "dump_layout": set(),
    "preload_library": {"errors"},
    "toml_file": {"errors"},
    "_native": set(),
    "progress": set(),
    "dump": {"errors", "dtypes", "dump_layout"},
    # Asks where compiled kernels are kept; numba is not imported for that.
    "doctor": {"errors", "dump_layout", "preload_library", "kernels"},
    "formats": GROUND,
    "kernels": ADDING,
    "sources": READING,
    "pairing": NAMING | {"parallel"},
    "parallel": NAMING,
    "metrics": GROUND | {"kernels"},
    "plan": PLANNING,
    "outcome": PLANNING,
    "thresholds": GROUND,
    "globs": set(),
    "name_expressions": set(),
    "rules": GROUND | {"thresholds"},
    "rule_book": GROUND | {"rules", "thresholds"},
    "verdict": PLANNING,
    "engine": PLANNING,
    "results": PLANNING,
    "analysis": PLANNING | {"results"},
    "closeup": PLANNING | {"results"},
    "page": PLANNING | {"results", "analysis"},
    "option_changes": {"options"},
    "live_progress": {"errors", "progress", "sources"},
    "result": PLANNING | {"results", "analysis"},
    "comparison": WORKING | {"result"},
    "api": WORKING | {"comparison", "result", "option_changes", "live_progress"},
    "testing": WORKING,
    "pytest_plugin": WORKING | {"api", "result"},
    "judgement": PLANNING | {"results", "result"},
    "dump_writers": NAMING,
    "watching": WORKING | {"api", "comparison", "result", "dump_writers"},
    "benchmark": WORKING | {"comparison", "api"},
    "cli": WORKING | {"analysis", "comparison", "result", "api", "judgement", "watching", "doctor", "benchmark", "closeup", "page"},
    "__main__": {"cli"},
    # The package itself loads its public names on first use; type checkers may see where they live.
    "fastcmp": WORKING | {"comparison", "result", "api", "judgement", "testing"},
}

# Third parties beside numpy, by unit. dump runs inside somebody's inference process, dump_layout and errors are read everywhere.
THIRD_PARTIES: dict[str, set[str]] = {
    "kernels": {"numba", "llvmlite"},
    "engine": {"ray", "distributed"},  # the executor of each, inside a function
    "doctor": {"elftools"},
    "formats": {"ml_dtypes"},
    "results": {"pyarrow"},
    "analysis": {"pyarrow"},
    "toml_file": {"tomllib", "tomli"},
    "pairing": {"tomllib", "tomli", "yaml"},  # YAML where PyYAML is installed
    "verdict": {"pyarrow"},
    "api": {"typing_extensions"},  # for type checkers only
    "live_progress": {"IPython"},
    "pytest_plugin": {"pytest"},
    "result": {"pyarrow", "pandas", "polars"},
    "comparison": {"pyarrow"},
    "page": {"pyarrow", "bokeh"},
    "cli": {"pyarrow", "rich", "cyclopts"},
    "metrics": {"ml_dtypes"},
}
WITHOUT_NUMPY = {
    "errors",
    "garbage",
    "dtypes",
    "executor_choice",
    "options",
    "surroundings",
    "option_changes",
    "live_progress",
    "pytest_plugin",
    "dump_layout",
    "preload_library",
    "doctor",
    "plan",
    "thresholds",
    "rules",
    "toml_file",
    "name_expressions",
    "cli",
    "fastcmp",
    "__main__",
}
TORCH_AT_HAND = {"dump", "formats", "api"}  # inside a function only, and only where a torch object or file is at hand
DRAWERS = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def test_every_module_imports_only_from_below() -> None:
    complaints = [complaint for path in modules() for complaint in wrong_imports(path.read_text(encoding="utf-8"), module_parts(path))]
    assert not complaints, "\n".join(complaints)


def test_every_unit_is_in_the_picture() -> None:
    units = {unit_of(module_parts(path)) for path in modules()}
    assert units <= set(MAY_IMPORT), f"say where in the picture they stand: {sorted(units - set(MAY_IMPORT))}"


def test_the_picture_has_no_cycle_between_layers() -> None:
    peers = {"plan", "outcome", "thresholds", "rules", "rule_book", "verdict"}
    for unit, below in MAY_IMPORT.items():
        above = {other for other in below if unit in MAY_IMPORT[other]} - {unit}
        assert not above - peers, f"{unit} and {sorted(above)} may import each other"


def test_no_module_is_a_drawer() -> None:
    drawers = [str(path) for path in modules() if set(module_parts(path)) & DRAWERS]
    assert not drawers


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("kernels.fold", "from fastcmp.formats import scan", "fastcmp.kernels.fold imports fastcmp.formats"),
        ("kernels.fold", "import fastcmp.api", "fastcmp.kernels.fold imports fastcmp.api"),
        ("formats.bin", "def f():\n    from fastcmp.engine.run import run", "fastcmp.formats.bin imports fastcmp.engine"),
        ("engine.run", "from fastcmp.results import journal", "fastcmp.engine.run imports fastcmp.results"),
        ("results.table", "from fastcmp import engine", "fastcmp.results.table imports fastcmp.engine"),
        ("plan", "from .cli.main import main", "fastcmp.plan imports fastcmp.cli"),
        ("engine.run", "from ..results.table import build", "fastcmp.engine.run imports fastcmp.results"),
        ("dump.journal", "from fastcmp.options import ScanOptions", "fastcmp.dump.journal imports fastcmp.options"),
        ("metrics", "from fastcmp import compare", "fastcmp.metrics imports fastcmp.compare"),
        ("engine.run", "import fastcmp\nfastcmp.compare()", "fastcmp.engine.run imports fastcmp.compare"),
        ("engine.run", "import pyarrow as pa", "fastcmp.engine.run imports pyarrow"),
        ("api", "def f():\n    import rich.console", "fastcmp.api imports rich"),
        ("plan", "import numba", "fastcmp.plan imports numba"),
        ("dump.values", "import torch", "fastcmp.dump.values imports torch at module level"),
        ("dump_layout", "import numpy", "fastcmp.dump_layout imports numpy"),
        ("dump.values", "import ml_dtypes", "fastcmp.dump.values imports ml_dtypes"),
        ("pytest_plugin", "def f():\n    import numpy", "fastcmp.pytest_plugin imports numpy"),
        ("live_progress", "import rich", "fastcmp.live_progress imports rich"),
        ("live_progress", "from fastcmp.cli.progress import progress_for", "fastcmp.live_progress imports fastcmp.cli"),
        ("testing.handed", "import torch", "fastcmp.testing.handed imports torch"),
        ("result", "from fastcmp.engine.run import compare_pairs", "fastcmp.result imports fastcmp.engine"),
    ],
)
def test_a_wrong_import_is_caught(module: str, source: str, complaint: str) -> None:
    assert any(complaint in found for found in wrong_imports(source, tuple(module.split("."))))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernels.fold", "import numba\nimport numpy as np\nfrom fastcmp.dtypes import DTYPES\nfrom fastcmp.kernels.sums import merge"),
        ("cli.main", "import rich\nfrom fastcmp.api import compare"),
        ("dump.values", "def f():\n    import torch"),
        ("results.table", "import pyarrow as pa\nfrom fastcmp import metrics"),
        ("engine.run", "import os, fastcmp\nos.path.dirname(fastcmp.__file__)\nfrom fastcmp.plan import Task"),
        ("fastcmp", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fastcmp.api import compare"),
    ],
)
def test_a_right_import_is_left_alone(module: str, source: str) -> None:
    assert not wrong_imports(source, tuple(module.split(".")))


def test_the_package_itself_runs_no_import() -> None:
    source = "from fastcmp.api import compare"
    assert wrong_imports(source, ("fastcmp",)) == ["line 1: fastcmp imports fastcmp.api at module level: it must load on first use"]


# What turns the bytes of a file into code or objects, or finds code by a name that a file may hold.
RUNNING_MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "importlib", "imp", "pkgutil", "runpy", "code", "codeop", "ctypes", "subprocess"}  # fmt: skip
RUNNING_CALLS = {"eval", "exec", "compile", "__import__", "literal_eval", "breakpoint"}
LOADERS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load")}  # each unpickles, or may
READERS = ("formats", "sources", "results", "dump_layout")


def test_what_reads_files_runs_nothing_of_them() -> None:
    chosen = [path for path in modules() if unit_of(module_parts(path)) in READERS]
    assert {unit_of(module_parts(path)) for path in chosen} == set(READERS) and len(chosen) > 40
    complaints = [f"{path.relative_to(PACKAGE)}: {found}" for path in chosen for found in what_runs(path.read_text(encoding="utf-8"))]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from pickle import loads", "pickle"),
        ("import importlib.util as u", "importlib"),
        ("from importlib import import_module", "importlib"),
        ("import marshal, json", "marshal"),
        ("import shelve", "shelve"),
        ("x = eval(text)", "eval"),
        ("exec(text)", "exec"),
        ("run = compile", "compile"),
        ("import builtins\nbuiltins.eval(text)", "eval"),
        ("__import__(name)", "__import__"),
        ("import ast\nast.literal_eval(text)", "literal_eval"),
        ("from ast import literal_eval as read", "literal_eval"),
        ("def f():\n    import torch\n    return torch.load(path, weights_only=True)", "torch.load"),
        ("from torch import load", "torch.load"),
        ("np.load(path)", "np.load"),
        ("np.lib.format.read_array(file, allow_pickle=True)", "allow_pickle"),
        ("read(file, allow_pickle=wanted)", "allow_pickle"),
    ],
)
def test_what_would_run_a_file_is_caught(source: str, what: str) -> None:
    (found,) = what_runs(source)
    assert found.endswith(f": {what}")


@pytest.mark.parametrize(
    "source", ["re.compile(text)", "import json\njson.load(file)", "pickle = archive['data.pkl']", "read(file, allow_pickle=False)"]
)
def test_what_runs_nothing_is_left_alone(source: str) -> None:
    assert not what_runs(source)


def what_runs(source: str) -> list[str]:
    """Every place of a module that could run or unpickle what it reads, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [top for alias in node.names if (top := alias.name.partition(".")[0]) in RUNNING_MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            top = (node.module or "").partition(".")[0]
            names = [top] if top in RUNNING_MODULES else []
            names += [f"{top}.{alias.name}" for alias in node.names if (top, alias.name) in LOADERS]
            names += [alias.name for alias in node.names if alias.name in RUNNING_CALLS]
        elif isinstance(node, ast.Name) and node.id in RUNNING_CALLS:
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in LOADERS:
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.Attribute) and node.attr in RUNNING_CALLS - {"compile"}:
            names = [node.attr]
        elif (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ):
            names = ["allow_pickle"]
        found += [f"line {node.lineno}: {name}" for name in names]
    return found


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_parts(path: Path) -> tuple[str, ...]:
    """``fastcmp/engine/run.py`` is ("engine", "run"); ``fastcmp/__init__.py`` is ("fastcmp",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        return ("fastcmp",)
    return parts


def unit_of(parts: tuple[str, ...]) -> str:
    return parts[0]


def wrong_imports(source: str, parts: tuple[str, ...]) -> list[str]:
    """Every import of the module that the picture forbids, as a sentence with its line."""
    unit = unit_of(parts)
    name = "fastcmp" if parts == ("fastcmp",) else "fastcmp." + ".".join(part for part in parts if part != "__init__")
    complaints = []
    for imported in imports(ast.parse(source), parts):
        reason = objection(unit, imported)
        if reason:
            complaints.append(f"line {imported.line}: {name} imports {imported.shown}{reason}")
    return complaints


class Imported:
    """One imported module: its dotted path, its line, and whether the import runs when the module is loaded."""

    def __init__(self, path: str, line: int, when_loaded: bool) -> None:
        self.path = path
        self.line = line
        self.when_loaded = when_loaded
        self.top, _, rest = path.partition(".")
        self.unit = rest.partition(".")[0]
        self.shown = f"fastcmp.{self.unit}" if self.top == "fastcmp" and self.unit else self.top


def objection(unit: str, imported: Imported) -> str | None:
    """Why ``unit`` may not import this, as the end of a sentence; None if it may."""
    if imported.top == "fastcmp":
        if unit == "fastcmp" and imported.when_loaded:
            return " at module level: it must load on first use"
        allowed = MAY_IMPORT.get(unit, set()) | {unit}
        return None if imported.unit in allowed else f": not below {unit} in the picture"
    if imported.top in sys.stdlib_module_names:
        return None
    if imported.top == "torch":
        if unit not in TORCH_AT_HAND:
            return f": {unit} never has a torch object at hand"
        return " at module level" if imported.when_loaded else None
    if imported.top == "numpy":
        return f": {unit} is plain Python" if unit in WITHOUT_NUMPY else None
    return None if imported.top in THIRD_PARTIES.get(unit, set()) else f": a third party that {unit} may not use"


def imports(tree: ast.Module, parts: tuple[str, ...]) -> Iterator[Imported]:
    """All imports of a module, wherever they stand."""
    lazy = {id(node) for node in lazy_nodes(tree)}
    for node in ast.walk(tree):
        when_loaded = id(node) not in lazy
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name != "fastcmp":
                    yield Imported(alias.name, node.lineno, when_loaded)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fastcmp":
            if not node.attr.startswith("__"):  # `import fastcmp` is free, what is then taken from it is not
                yield Imported(f"fastcmp.{node.attr}", node.lineno, when_loaded)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, parts)
            if base == "fastcmp":  # `from fastcmp import engine` names the unit behind the keyword
                for alias in node.names:
                    yield Imported(f"fastcmp.{alias.name}", node.lineno, when_loaded)
            else:
                yield Imported(base, node.lineno, when_loaded)


def absolute(node: ast.ImportFrom, parts: tuple[str, ...]) -> str:
    """The dotted path behind `from`, relative dots resolved."""
    if not node.level:
        return node.module or ""
    package = ("fastcmp", *parts)[: -node.level] if parts != ("fastcmp",) else ("fastcmp",)
    return ".".join((*package, *([node.module] if node.module else [])))


def lazy_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """What does not run when the module is loaded: function bodies and TYPE_CHECKING blocks."""
    for node in ast.walk(tree):
        is_type_block = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_type_block or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for child in ast.walk(node):
                if child is not node:
                    yield child
