"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from written_dumps import save_side

from fastcmp.pytest_plugin import _directory_name

HEAVY = ("numpy", "pyarrow", "numba", "torch", "rich", "cyclopts", "ml_dtypes")
# Of an editable installation, which those of users are not: see filterwarnings in pyproject.toml.
EDITABLE = [name for name in ("_editable_skbc_fastcmp", "_fastcmp_editable") if name in sys.modules]
QUIET = [f"-Wignore:Module already imported so cannot be rewritten; {name}:pytest.PytestAssertRewriteWarning" for name in EDITABLE]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    golden = {("a", "0"): np.ones((2, 3), np.float32), ("b", "0"): np.ones(4, np.float32)}
    target = {key: array.copy() for key, array in golden.items()}
    save_side(tmp_path / "golden", golden)
    save_side(tmp_path / "same", target)
    target["b", "0"][2] = 3
    save_side(tmp_path / "other", target)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run_pytest(project: Path, source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (project / "test_model.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", *QUIET, *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False, env={**kept, **environment})


COMPARES = """
    import pathlib

    def compared(fastcmp_compare, target):
        return fastcmp_compare("golden/metadata.json", f"{target}/metadata.json", executor="serial")

    def test_same(fastcmp_compare):
        result = compared(fastcmp_compare, "same")
        assert result.ok and pathlib.Path(result.output, "cmp_report.csv").exists()

    def test_other(fastcmp_compare):
        assert compared(fastcmp_compare, "same").ok
        assert compared(fastcmp_compare, "other").ok

    def test_expected(fastcmp_compare):
        assert not compared(fastcmp_compare, "other").ok
"""


def test_the_report_of_a_failing_test_is_kept_and_named(project: Path) -> None:
    done = run_pytest(project, COMPARES)
    assert done.returncode == 1 and "2 passed" in done.stdout and "1 failed" in done.stdout and "warning" not in done.stdout, (
        done.stdout + done.stderr
    )
    kept = sorted(path.name for path in (project / ".fastcmp_reports").iterdir())
    assert len(kept) == 2 and kept[1] == kept[0] + "-2" and kept[0].startswith("test_model.py-test_other-")
    assert (project / ".fastcmp_reports" / kept[1] / "cmp_report.csv").exists()
    sections = re.findall(r"-+ fastcmp report (\S+) -+\n(.*)", done.stdout)
    assert [Path(section[0]).name for section in sections] == kept
    assert sections[0][1] == "2 pairs: 2 passed, 0 failed, 0 could not be compared, 0 alone"
    assert sections[1][1] == "2 pairs: 1 passed, 1 failed, 0 could not be compared, 0 alone"
    assert "\nfirst divergence: token 0, data_id b: relative_euclidean_distance 1 > 0.0001 (float32)\n" in done.stdout


def test_nothing_is_left_where_nothing_failed(project: Path) -> None:
    earlier = project / ".fastcmp_reports" / _directory_name("test_model.py::test_same")
    earlier.mkdir(parents=True)
    (earlier / "cmp_report.csv").touch()
    done = run_pytest(project, COMPARES, "-k", "same or expected")
    assert done.returncode == 0 and not (project / ".fastcmp_reports").exists(), done.stdout


def test_workers_of_xdist_keep_reports_too(project: Path) -> None:
    source = (
        COMPARES
        + """
    import pytest

    @pytest.mark.parametrize("name", ["x/../y", "x y", "é", "z" * 300])
    def test_names(fastcmp_compare, tmp_path, monkeypatch, name):
        golden, target = (__import__("os").path.abspath(side + "/metadata.json") for side in ("golden", "other"))
        monkeypatch.chdir(tmp_path)
        assert fastcmp_compare(golden, target, executor="serial").ok
    """
    )
    done = run_pytest(project, source, "-n", "2", "--fastcmp-reports", "kept/here")
    assert done.returncode == 1 and "5 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert len(re.findall("^first divergence: token 0, data_id b", done.stdout, re.MULTILINE)) == 5
    kept = sorted((project / "kept" / "here").iterdir())
    assert len(kept) == 6 and all((path / "run.json").exists() and len(path.name) < 140 and path.name.isascii() for path in kept)


def test_a_comparison_that_raises_is_told(project: Path) -> None:
    source = """
    def test_slip(fastcmp_compare):
        fastcmp_compare("golden/metadata.json", "nowhere", executor="serial")

    def test_output(fastcmp_compare):
        fastcmp_compare("golden/metadata.json", "golden/metadata.json", output="mine")
    """
    done = run_pytest(project, source)
    assert "the comparison did not come to its end" in done.stdout and "UsageError" in done.stdout
    assert "TypeError: fastcmp_compare() takes no output: the plugin chooses it; see --fastcmp-reports" in done.stdout
    assert not (project / ".fastcmp_reports").exists()


def test_an_array_that_is_not_close_has_a_section(project: Path) -> None:
    source = """
    import fastcmp
    import numpy as np

    def test_arrays():
        fastcmp.testing.assert_close(np.ones(3), np.array([1, 2, 1.0]))
    """
    done = run_pytest(project, source, "--tb=short")
    assert re.search(
        r"-+ fastcmp assert_close -+\nworst element at index \(1,\): golden 1\.0, target 2\.0; relative_euclidean_distance 0\.577",
        done.stdout,
    )
    assert "E   fastcmp.testing.closeness.NotCloseError: Tensor-likes are not close!" in done.stdout
    assert "closeness.py" not in done.stdout.replace("fastcmp.testing.closeness", ""), "the traceback ends in the test"


PLAIN = """
    import sys

    def test_nothing():
        assert 1 + 1 == 2
        heavy = [name for name in {heavy!r} if name in sys.modules]
        assert heavy == [], heavy
"""


def test_a_run_that_does_not_use_it_imports_nothing_heavy(project: Path) -> None:
    quiet = ("-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:anyio")
    done = run_pytest(project, PLAIN.format(heavy=HEAVY), *quiet)
    assert done.returncode == 0 and "1 passed" in done.stdout and done.stderr == "", done.stdout + done.stderr
    assert sorted(path.name for path in project.iterdir() if path.name not in ("__pycache__",)) == [
        "golden",
        "other",
        "pytest.ini",
        "same",
        "test_model.py",
    ]


def test_what_the_plugin_costs_at_start() -> None:
    """By -X importtime: what it adds to pytest itself, in modules and in milliseconds; the limit is generous for a busy machine."""
    program = "import pytest\nimport sys\nbefore = set(sys.modules)\nimport fastcmp.pytest_plugin\nprint(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, timeout=120, check=True)
    costs = {name.strip(): int(total) for total, name in re.findall(r"import time:\s+\d+ \|\s+(\d+) \|(.*)", done.stderr)}
    assert not set(HEAVY) & {name.split(".")[0] for name in costs}
    assert done.stdout.strip() == "['fastcmp', 'fastcmp.pytest_plugin']"
    assert costs["fastcmp.pytest_plugin"] + costs["fastcmp"] < 20_000, costs


def test_modules_that_pytest_rewrites_find_the_kernels_of_any_other_run(project: Path) -> None:
    """As in an installation that is not editable: there pytest knows the files of the package, and rewrites each that it imports."""
    information = project / "site" / "looksinstalled-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: looksinstalled\nVersion: 1\n")
    (information / "RECORD").write_text("fastcmp/__init__.py,,\nfastcmp/api.py,,\n")
    (information / "entry_points.txt").write_text("[pytest11]\nlooksinstalled = colorsys\n")
    source = """
    def test_kernels(fastcmp_compare):
        assert fastcmp_compare("golden/metadata.json", "same/metadata.json", executor="serial").ok
        from fastcmp.kernels import pairs
        assert type(pairs.__loader__).__name__ == "AssertionRewritingHook"
        stats = pairs.fold_many.stats
        assert stats.cache_hits and not stats.cache_misses, stats
    """
    (project / "program.py").write_text("import sys, fastcmp, pytest\nsys.exit(pytest.main(sys.argv[1:]))\n")
    (project / "test_model.py").write_text(textwrap.dedent(source))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-W", "error", "program.py", "-q", "-p", "no:cacheprovider", *QUIET]
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=300, check=False, env={**kept, "PYTHONPATH": str(project / "site")}
    )
    assert done.returncode == 0 and "1 passed" in done.stdout and "warning" not in done.stdout, done.stdout + done.stderr
