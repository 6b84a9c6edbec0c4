"""What importing costs: a program that only dumps must not pay for kernels, tables or torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numba", "torch", "pyarrow", "rich", "cyclopts", "bokeh")


def heavy_modules_after(statement: str) -> list[str]:
    program = f"import sys\n{statement}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()


def test_the_check_sees_a_heavy_import() -> None:
    assert heavy_modules_after("import rich") == ["rich"]


def test_importing_fastcmp_imports_nothing_heavy() -> None:
    assert heavy_modules_after("import fastcmp; fastcmp.__all__; dir(fastcmp)") == []


@pytest.mark.parametrize("name", ["pytest_plugin", "option_changes", "live_progress"])
def test_what_runs_before_anybody_compares_imports_not_even_numpy(name: str) -> None:
    statement = f"import sys, fastcmp.{name}; assert 'numpy' not in sys.modules"
    assert heavy_modules_after(statement) == []


@pytest.mark.parametrize("statement", ["from fastcmp import dump_data", "from msquickcmp.pta_acl_cmp.compare import dump_data"])
def test_the_dump_side_imports_numpy_at_most(statement: str) -> None:
    assert heavy_modules_after(statement) == []


@pytest.mark.parametrize("arguments", [["nope", "."], ["compare", ".", "nope"], ["inspect", "nope"]])
def test_what_a_typing_error_costs_is_no_numpy(arguments: list[str]) -> None:
    statement = f"from fastcmp.cli.main import main\nassert main({arguments}) == 2\nassert 'numpy' not in sys.modules"
    assert heavy_modules_after(statement) == ["cyclopts"]


def test_workers_need_not_wait_for_numpy() -> None:
    statement = "import fastcmp.cli.app, fastcmp.api; assert 'numpy' not in sys.modules"
    assert heavy_modules_after(statement) == ["cyclopts"]
