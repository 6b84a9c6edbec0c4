"""The pytest plugin: a fixture that compares two dumps and keeps the report of a failing test, and a section that says where it begins.

pytest loads this module in every run on a machine that has fastcmp: it imports nothing that pytest has not imported yet.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import zlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from fastcmp.result import Result

_DEFAULT_DIRECTORY: Final = ".fastcmp_reports"
_OPTION: Final = "fastcmp_reports"
_LONGEST_NAME: Final = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fastcmp-reports DIR``."""
    parser.getgroup("fastcmp", "comparing dumps of a model").addoption(
        "--fastcmp-reports",
        dest=_OPTION,
        metavar="DIR",
        default=None,
        help=f"where the reports of failing tests that use fastcmp_compare are kept (default: {_DEFAULT_DIRECTORY} in the root directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The directory as an absolute path, before a test changes the working directory; workers of xdist get the option from here."""
    given = getattr(config.option, _OPTION, None)
    base = config.invocation_params.dir if given else config.rootpath
    setattr(config.option, _OPTION, os.path.join(base, given or _DEFAULT_DIRECTORY))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing is left where nothing failed."""
    if not hasattr(config, "workerinput"):  # a worker of xdist: others may be about to write there
        with contextlib.suppress(OSError, AttributeError):  # reports are in it, or it never was
            os.rmdir(getattr(config.option, _OPTION))


class _Comparisons:
    """The comparisons of one test: where their reports go, and what they found."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.directories: list[str] = []
        self.results: dict[str, Result] = {}
        self.has_failed = False

    def next_directory(self) -> str:
        """Another for each comparison."""
        number = len(self.directories) + 1
        directory = self.base if number == 1 else f"{self.base}-{number}"
        shutil.rmtree(directory, ignore_errors=True)  # of an earlier run of this test
        self.directories.append(directory)
        return directory

    def remove(self) -> None:
        """The test passed."""
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)


_of_tests: WeakKeyDictionary[pytest.Item, _Comparisons] = WeakKeyDictionary()


def _directory_name(node_id: str) -> str:
    """A file name for a test, its own: what had to be left out or cut is told apart by a checksum."""
    readable = re.sub(r"[^\w.=,+]+", "-", node_id, flags=re.ASCII).strip("-.")[-_LONGEST_NAME:]
    return f"{readable}-{zlib.crc32(node_id.encode('utf-8', 'surrogatepass')):08x}"


@pytest.fixture
def fastcmp_compare(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """``fastcmp.compare`` into a directory of this test's own: ``result = fastcmp_compare(golden, target, thresholds=[...])``.

    Takes what `fastcmp.compare` takes, but ``output``. The report is removed when the test passes, and kept under ``--fastcmp-reports``
    when it fails; pytest's output then names the directory and the first divergence.
    """
    base = os.path.join(getattr(request.config.option, _OPTION), _directory_name(request.node.nodeid))
    comparisons = _of_tests[request.node] = _Comparisons(base)

    def compare(golden: Any, target: Any, **options: Any) -> Result:
        if "output" in options:
            raise TypeError("fastcmp_compare() takes no output: the plugin chooses it; see --fastcmp-reports")
        from fastcmp.api import compare as compare_dumps

        directory = comparisons.next_directory()
        result = comparisons.results[directory] = compare_dumps(golden, target, output=directory, **options)
        return result

    return compare


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, None]:
    """Sections for what failed; after the teardown of a test that passed its reports are removed."""
    outcome = yield
    report = outcome.get_result()
    comparisons = _of_tests.get(item)
    if report.failed:
        raised = call.excinfo.value if call.excinfo is not None else None
        if type(raised).__module__.startswith("fastcmp.testing"):  # told by name: nothing is imported for tests that do not use it
            report.sections.append(("fastcmp assert_close", getattr(raised, "summary", "")))
        if comparisons is not None:
            report.sections.extend((f"fastcmp report {name}", text) for name, text in _sections(comparisons))
            comparisons.has_failed = True
    if report.when == "teardown" and comparisons is not None and not comparisons.has_failed:
        comparisons.remove()


def _sections(comparisons: _Comparisons) -> list[tuple[str, str]]:
    """For each comparison its directory and what is known of it, in a few lines of plain text."""
    return [(directory, _text(comparisons.results.get(directory))) for directory in comparisons.directories]


def _text(result: Result | None) -> str:
    if result is None:
        return "the comparison did not come to its end"
    from fastcmp.sources.wording import printable

    totals = result.totals
    counts = f"{totals.passed} passed, {totals.failed} failed, {totals.errors} could not be compared, {totals.unpaired} alone"
    lines = [f"{totals.pairs} pairs: {counts}"]
    if result.first_divergence is not None:
        lines.append(f"first divergence: {printable(str(result.first_divergence), 400)}")
    if result.blind_spots.count:
        lines.append(f"nothing is known of {result.blind_spots.count}, first {printable(str(result.blind_spots.first[0]), 400)}")
    return "\n".join(lines)
