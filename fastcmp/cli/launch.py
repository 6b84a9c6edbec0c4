"""Running a program under the preload library: its environment, and the step into it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from fastcmp.errors import OutputError, UsageError
from fastcmp.preload_library import with_library_first

# Options of `fastcmp run` that a word follows; the first word behind all options begins the command.
_WITH_VALUE: Final = frozenset({"--dump-dir", "--tokens", "--select"})
# The library asks for more rounds than a program has. Some builds may hold the number in 32 bits.
_EVERY_ROUND: Final = "2147483647"
_SELECTIONS: Final = ("registered", "environment", "auto")
_TOKEN_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


def split_command(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of `fastcmp run`, and the command: what follows the first ``--``, or begins at the first word that is no option.

    >>> split_command(["--show", "python", "--debug"])
    (['--show'], ['python', '--debug'])
    """
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        at += 2 if words[at] in _WITH_VALUE else 1
    at = min(at, len(words))
    return list(words[:at]), list(words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:])


def preload_environment(
    library: str, environment: Mapping[str, str], *, dump_dir: str = "", tokens: str = "", select: str = ""
) -> dict[str, str]:
    """``environment`` with what the preload library needs; what it has of its own stays, but for the options given.

    Parameters
    ----------
    library : str
        Path of the preload library.
    environment : mapping
        Not changed.
    dump_dir, tokens : str
        FASTCMP_DUMP_DIR and FASTCMP_DUMP_TOKENS; "" leaves them as they are.
    select : {"", "registered", "environment", "auto"}
        "" is registered, unless the environment itself selects tensors (ATB_SAVE_TENSOR...) or says how (FASTCMP_SELECT).

    Returns
    -------
    dict of str to str
        The whole environment.

    Raises
    ------
    UsageError
        If FASTCMP_SELECT is to stay and has no meaning.
    """
    if not select and selection_of(environment) not in ("", *_SELECTIONS):
        raise UsageError(f"FASTCMP_SELECT={environment['FASTCMP_SELECT']}: expected registered, environment or auto")
    wanted = dict(environment)
    wanted["LD_PRELOAD"] = with_library_first(environment.get("LD_PRELOAD", ""), library)
    if dump_dir:
        wanted["FASTCMP_DUMP_DIR"] = os.path.abspath(dump_dir)
    if tokens:
        wanted["FASTCMP_DUMP_TOKENS"] = tokens
    selects_itself = any(value and name.startswith("ATB_SAVE_TENSOR") for name, value in environment.items())
    if not select and not selection_of(environment) and not selects_itself:
        select = "registered"
    if select == "auto":
        wanted.pop("FASTCMP_SELECT", None)
    elif select:
        wanted["FASTCMP_SELECT"] = select
    if not wanted.get("ACLTRANSFORMER_HOME_PATH"):
        wanted["ACLTRANSFORMER_HOME_PATH"] = os.path.abspath(wanted.get("FASTCMP_DUMP_DIR") or ".")
    # The libraries of 2023 offer a tensor only if told to. Where the environment selects, telling them so would be to select everything.
    if selection_of(wanted) != "environment" and not selects_itself:
        for name, value in (("ACLTRANSFORMER_SAVE_TENSOR", "1"), ("ACLTRANSFORMER_SAVE_TENSOR_MAX", _EVERY_ROUND)):
            wanted[name] = environment.get(name) or value
    return wanted


def selection_of(environment: Mapping[str, str]) -> str:
    """FASTCMP_SELECT as the preload library reads it: in any case, "" where it says nothing."""
    return environment.get("FASTCMP_SELECT", "").strip().lower()


def export_lines(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What turns one environment into the other, as a shell reads it."""
    set_anew = [f"export {name}={shlex.quote(value)}" for name, value in after.items() if before.get(name) != value]
    return set_anew + [f"unset {name}" for name in before if name not in after]


def check_tokens(tokens: str) -> None:
    """`UsageError` for a range that descends: it would admit no token, and nobody means that."""
    for part in tokens.split(","):
        match = _TOKEN_RANGE.fullmatch(part.strip())
        if match is not None and int(match[1]) > int(match[2]):
            raise UsageError(f"--tokens {part.strip()}: expected a range that ascends, such as 3-5")


def make_directory(path: str) -> None:
    """Make the dump directory where there is none; `OutputError` where it cannot be one that this user writes to."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--dump-dir {path}: cannot be made: {error.strerror}; name a directory that can") from error
    except ValueError as error:
        raise UsageError("--dump-dir: the name of a directory holds no NUL byte") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"--dump-dir {path}: this user may not write there; name another directory")


def find_program(name: str, environment: Mapping[str, str]) -> None:
    """`UsageError` for a command that cannot be started, before anything is made for it."""
    if "\0" not in name and shutil.which(name, path=environment.get("PATH", os.defpath)) is not None:
        return
    if "/" not in name:
        places = environment.get("PATH", os.defpath).split(os.pathsep) if name and "\0" not in name else []
        found = next((place for place in places if os.path.exists(os.path.join(place, name))), None)
        if found is not None:
            raise UsageError(f"{name}: found in PATH as {os.path.join(found, name)}, which this user may not execute")
        raise UsageError(f"{name or repr(name)}: not found in PATH")
    reason = "cannot be executed: it is a directory, or lacks the permission" if os.path.exists(name) else "does not exist"
    raise UsageError(f"{name}: {reason}")


def become(command: Sequence[str], environment: Mapping[str, str]) -> UsageError:
    """Turn this process into ``command``: its exit code, signals and terminal are its own. Comes back only with an error to raise."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    # Python ignores these from its start on, and a program inherits what is ignored.
    ignored = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    try:
        os.execvpe(command[0], list(command), dict(environment))
    except (OSError, ValueError) as error:
        for number, handler in ignored.items():
            signal.signal(number, handler)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return UsageError(f"{command[0]}: cannot be started: {reason}")
