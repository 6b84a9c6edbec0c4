"""The ``fastcmp`` command: what must be quick is answered here, everything else by the cyclopts application."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from fastcmp.cli.endings import final, run_guarded, say

COMMANDS: Final = ("compare", "show", "judge", "compare-reports", "report", "inspect", "explain", "run", "preload-path", "doctor", "bench")
_HELP: Final = ("--help", "-h")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: list[str] = []
    if arguments[:1] == ["run"]:  # what follows the options is another program's, its --debug and --help too
        from fastcmp.cli.launch import split_command

        options, command = split_command(arguments[1:])
        arguments = ["run", *options]
        command = ["--", *command] if command else []
    debug = "--debug" in arguments
    return run_guarded(lambda: _run([word for word in arguments if word != "--debug"] + command), program="fastcmp", debug=debug)


def entry() -> int:
    """`main` as a process of its own."""
    return final(main())


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in _HELP:
        from fastcmp.cli.help_page import HELP_PAGE

        say(HELP_PAGE)
        return 0 if arguments else 2
    if arguments == ["--version"]:
        say(f"fastcmp {version_text()}")
        return 0
    if arguments == ["preload-path"]:
        from fastcmp.preload_library import library_path

        say(library_path())
        return 0
    if arguments[0] not in COMMANDS:
        _refuse_misspelled(arguments[0])
        arguments = ["compare", *arguments]
    from fastcmp.cli.app import run

    return run(arguments)


def _refuse_misspelled(word: str) -> None:
    """`UsageError` for what is no file and nearly a command: taken as GOLDEN, it would be told as something else."""
    from os.path import lexists

    if not word.replace("-", "").isalpha() or word.startswith("-") or lexists(word):
        return
    from difflib import get_close_matches

    from fastcmp.errors import UsageError

    close = get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.7)
    if close:
        raise UsageError(f"no command {word!r}, and no file of that name; did you mean {close[0]}?")


def version_text() -> str:
    """The installed version; ``unknown`` when run from a tree that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fastcmp")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(entry())
