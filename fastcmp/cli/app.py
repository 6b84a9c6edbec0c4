"""The cyclopts application: which commands there are, and where their options may come from."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Any, Final

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env

from fastcmp.cli.bench_command import bench
from fastcmp.cli.compare_command import compare
from fastcmp.cli.compare_reports_command import compare_reports
from fastcmp.cli.doctor_command import doctor
from fastcmp.cli.endings import say
from fastcmp.cli.explain_command import explain
from fastcmp.cli.inspect_command import inspect
from fastcmp.cli.judge_command import PROJECT_OPTIONS, judge
from fastcmp.cli.main import COMMANDS, version_text
from fastcmp.cli.project_file import project_files
from fastcmp.cli.report_command import report
from fastcmp.cli.run_command import preload_path
from fastcmp.cli.run_command import run as run_program
from fastcmp.cli.show_command import show
from fastcmp.errors import UsageError

_HELP: Final = frozenset(("--help", "-h"))
_FRAMES: Final = "╭╮╰╯─│"
_PLAIN_FRAMES: Final = str.maketrans(_FRAMES, "++++-|")


def build() -> App:
    """The application. Help is plain text: rendering Markdown costs 65 ms and adds nothing."""
    app = App(
        name="fastcmp",
        help="Compare the tensor dumps of two runs of a large language model.",
        version=version_text,
        help_format="plaintext",
        default_parameter=Parameter(show_default=_shown_default),
    )
    # The table of a project speaks of its comparisons: of compare, and of judge what it has in common with it.
    compare_app = App(name="compare", help_format="plaintext", config=[Env("FASTCMP_", command=False), *project_files()])
    compare_app.default(compare)
    app.command(compare_app)
    app.command(show, name="show", usage="Usage: fastcmp show [OPTIONS] DIRECTORY [DATA_ID [TOKEN_ID]]")
    judge_app = App(name="judge", help_format="plaintext", usage="Usage: fastcmp judge [OPTIONS] DIRECTORY")
    judge_app.config = project_files(PROJECT_OPTIONS)
    judge_app.default(judge)
    app.command(judge_app)
    app.command(compare_reports, name="compare-reports", usage="Usage: fastcmp compare-reports [OPTIONS] OLD NEW")
    app.command(report, name="report", usage="Usage: fastcmp report [OPTIONS] [DIRECTORY]")
    app.command(inspect, name="inspect")
    app.command(explain, name="explain", usage="Usage: fastcmp explain [CODE]")
    app.command(run_program, name="run", usage="Usage: fastcmp run [OPTIONS] -- COMMAND [ARGUMENT...]")
    app.command(preload_path, name="preload-path")
    app.command(doctor, name="doctor", usage="Usage: fastcmp doctor [OPTIONS] [DIRECTORY]")
    app.command(bench, name="bench", usage="Usage: fastcmp bench [OPTIONS]")
    return app


def _shown_default(value: Any) -> Any:
    """What a help page says of a default; None for one that says nothing: no text, no list, a flag that is not set."""
    return None if value in ("", (), None) or value is False else str(value)


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; `UsageError` if it is refused."""
    return dispatch(build(), arguments)


def dispatch(app: App, arguments: Sequence[str]) -> int:
    """Let ``app`` run ``arguments``; what it refuses becomes one line."""
    # A help page goes through `say`: cyclopts itself would end with 1 when its reader closes the pipe.
    page = io.StringIO()
    try:
        app.suppress_keyboard_interrupt = False  # Ctrl-C is `run_guarded`'s: it says so, and pools are closed on the way
        ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
        with contextlib.redirect_stdout(page) if _HELP & set(ours) else contextlib.nullcontext():
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = [*app.name[:1], *(word for word in arguments[:1] if word in COMMANDS)]
        raise UsageError(f"{' '.join(str(error).split())} See {' '.join(command)} --help.") from error
    if page.getvalue():
        say(_encodable(page.getvalue()))
    return code if isinstance(code, int) else 0


def _encodable(page: str) -> str:
    """A help page with frames that stdout can show."""
    try:
        _FRAMES.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return page.translate(_PLAIN_FRAMES)
    return page
