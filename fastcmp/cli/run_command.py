"""``fastcmp run`` and ``fastcmp preload-path``: a program under the preload library, and where that library is."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from cyclopts import Parameter

from fastcmp.cli.endings import say
from fastcmp.cli.launch import become, check_tokens, export_lines, find_program, make_directory, preload_environment
from fastcmp.errors import EXIT_OK, UsageError
from fastcmp.preload_library import library_path


def run(
    *command: str,
    dump_dir: str = "",
    tokens: str = "",
    select: Literal["registered", "environment", "auto"] | None = None,
    show: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a program under the preload library, as in: fastcmp run -- python model.py

    The program takes this process's place: its exit code, signals and terminal are its own.

    Parameters
    ----------
    command
        The program and its arguments; options behind its name are its own.
    dump_dir
        Where it dumps (FASTCMP_DUMP_DIR); made if need be.
    tokens
        Dump only these token ids, such as 0,3-5 (FASTCMP_DUMP_TOKENS).
    select
        Which tensors of the acceleration library are saved (FASTCMP_SELECT).
        registered: those that dump_data(tensor_path=...) names; a libacltransformer is told to offer them by
        ACLTRANSFORMER_SAVE_TENSOR=1 and its _MAX, where those are not set.
        environment: those that ATB_SAVE_TENSOR... or ACLTRANSFORMER_SAVE_TENSOR... select.
        auto: the registered; those that ATB_SAVE_TENSOR... selects as long as nothing is registered.
        Without it registered, unless an ATB_SAVE_TENSOR... variable or FASTCMP_SELECT is set.
    show
        Print the variables that it would set, for a shell, and run nothing.
    """
    check_tokens(tokens)
    before = dict(os.environ)
    after = preload_environment(library_path(), before, dump_dir=dump_dir, tokens=tokens, select=select or "")
    if show:
        say("\n".join(export_lines(before, after)))
        return EXIT_OK
    if not command:
        raise UsageError("expected a command, as in: fastcmp run -- python model.py")
    find_program(command[0], after)
    if dump_dir:
        make_directory(after["FASTCMP_DUMP_DIR"])
    raise become(command, after)


def preload_path() -> int:
    """Print the path of the preload library, for LD_PRELOAD."""
    say(library_path())
    return EXIT_OK
