"""``ait debug compare aclcmp``: the original's command line, answered by fastcmp.

Its users never had verdicts: it ends with 0 whenever its report is complete, else with 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from fastcmp.cli.endings import final, run_guarded, say
from fastcmp.errors import EXIT_OK, UsageError

USAGE: Final = """\
Usage: ait debug compare aclcmp --golden-path GOLDEN --my-path TARGET [--output DIR]

  --golden-path, -gp PATH  metadata.json (or directory) of the golden run
  --my-path, -mp PATH      metadata.json (or directory) of the acceleration library
  --acl-path, -ap PATH     the older name of --my-path
  --output, -o DIR         where cmp_report.csv goes (./fastcmp_report)
  -j, --jobs N             worker processes (one per core)
  --debug                  show the traceback of an error

Exit code: 0 the report is complete; 2 it is not. fastcmp compare has verdicts.
"""
_COMMAND: Final = ["debug", "compare", "aclcmp"]
# The original's short forms are no POSIX clusters.
_LONG_NAMES: Final = {"-gp": "--golden-path", "-mp": "--my-path", "-ap": "--acl-path"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    return run_guarded(lambda: _run([word for word in arguments if word != "--debug"]), program="ait", debug=debug)


def _run(arguments: list[str]) -> int:
    if not arguments or "--help" in arguments or "-h" in arguments:
        say(USAGE)
        return EXIT_OK if arguments else 2
    if arguments[:3] != _COMMAND:
        raise UsageError(f"ait {' '.join(arguments[:3])}: this ait knows only: ait debug compare aclcmp")
    from cyclopts import App

    from fastcmp.cli.aclcmp_command import aclcmp
    from fastcmp.cli.app import dispatch

    app = App(name="ait", help_format="plaintext")
    app.default(aclcmp)
    return dispatch(app, [_LONG_NAMES.get(word, word) for word in arguments[3:]])


def entry() -> int:
    """`main` as a process of its own."""
    return final(main())


if __name__ == "__main__":
    sys.exit(entry())
