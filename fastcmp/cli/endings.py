"""How a command ends: one line for an error, an honest exit code for a signal or a closed pipe."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from fastcmp.cli.shown import one_line
from fastcmp.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_TERMINATED, FastcmpError, OutputError


class Terminated(BaseException):
    """SIGTERM arrived; unwinds the stack like KeyboardInterrupt, so that everything is put away."""


def run_guarded(command: Callable[[], int], *, program: str, debug: bool) -> int:
    """The exit code of ``command``; its errors become one line on stderr, with the traceback only if ``debug``.

    Closed pipes are quiet: whoever reads from us has seen enough, and the exit code still says how the comparison came out
    (`say` sees to that; here only what slips through is caught).
    """
    _repair_standard_streams()
    try:
        with _sigterm_unwinds():
            return command()
    except KeyboardInterrupt:
        complain(program, "interrupted")
        return EXIT_INTERRUPTED
    except Terminated:
        complain(program, "terminated")
        return EXIT_TERMINATED
    except BrokenPipeError:
        close_quietly(sys.stdout)
        return EXIT_ERROR
    except FastcmpError as error:
        _show_traceback(debug)
        complain(program, str(error))
        return error.exit_code
    except MemoryError as error:
        _show_traceback(debug)
        complain(program, f"not enough memory{f' ({error})' if str(error) else ''}; raise the limit, or run with fewer workers (-j)")
        return EXIT_ERROR
    except Exception as error:
        _show_traceback(debug)
        complain(program, f"internal error: {type(error).__name__}: {error}; run again with --debug and report what it shows")
        return EXIT_ERROR


def final(code: int) -> int:
    """The exit code of a process whose result is out: a late Ctrl-C or SIGTERM cannot turn it into another any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # `python -m` remembers a Ctrl-C that hit the exec of a text, as dataclasses and namedtuples do where they are defined, even where it
    # was caught, and would end the process by that signal. The next exec makes it forget.
    exec("")  # noqa: S102 - nothing is run
    return code


def _show_traceback(debug: bool) -> None:
    # Raised on, it would end the process with 1: something differs.
    if debug:
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exc()


def _repair_standard_streams() -> None:
    """Closed ones lead nowhere, and none stumbles over a character that it cannot encode.

    With descriptor 1 closed, the next file opened would get it, and whatever a library prints would end up in that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever started us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def complain(program: str, message: str) -> None:
    """One line on stderr, whatever the message holds."""
    with contextlib.suppress(OSError, ValueError):
        print(f"{program}: {one_line(message)}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Results on stdout; a reader or a terminal that went away is no error.

    Raises
    ------
    OutputError
        If they cannot be written there for another reason: a full disk.
    """
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        is_terminal = _is_character_device(sys.stdout)
        close_quietly(sys.stdout)
        if isinstance(error, BrokenPipeError) or (is_terminal and error.errno == errno.EIO):
            return
        raise OutputError(f"standard output: cannot be written: {error.strerror or error}; free some space or redirect it") from error


def _is_character_device(stream: object) -> bool:
    """Also true of a terminal that went away, of which `isatty` is not."""
    try:
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return False


def close_quietly(stream: object) -> None:
    """Point a broken stream at nothing, so that the flush at exit does not complain either."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
        os.close(null)
