"""Hands the allow-list over to the preload library, where this process has it.

The library is found by its C interface in the global scope, so it does not matter how it came there; a process without it pays one look-up,
at its first low-level `dump_data`.
"""

from __future__ import annotations

import contextlib
import os

from fastcmp.dump.directory import MAX_COPIES
from fastcmp.dump_layout import low_level_run_directory


class PreloadLibrary:
    """The library in this process.

    Raises
    ------
    LookupError
        If it is not there.
    """

    def __init__(self) -> None:
        try:
            import ctypes  # numpy has imported it long since, except where it failed to load

            self._follow = ctypes.CDLL(None).fastcmp_preload_follow
        except (ImportError, OSError, AttributeError) as error:
            raise LookupError("no preload library is in this process") from error
        self._follow.argtypes, self._follow.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_int

    def follow(self, allow_list: str, run_directory: str) -> int:
        """Ask it to save what a list names, now and whenever it has grown.

        Parameters
        ----------
        allow_list : str
            Absolute path of the list.
        run_directory : str
            Absolute path of the directory that a line ``{token}/{tensor_path}`` is written below.

        Returns
        -------
        int
            0, or the errno with which the library refused.
        """
        return int(self._follow(os.fsencode(allow_list), os.fsencode(run_directory)))


def claim_run_directory(base: str, home: str, pid: int) -> str:
    """Make a run directory that no other process has had, so that no tensor of an earlier run can be taken for one of this.

    In containers the same process number comes back at every start.

    Parameters
    ----------
    base : str
        The dump directory, absolute; a relative ``home`` lies below it.
    home, pid
        As `low_level_run_directory` has them.

    Returns
    -------
    str
        The directory as metadata.json has it. It is not there where the home cannot be written to: the library will say so then.
    """
    plain = low_level_run_directory(home, pid)
    try:
        os.makedirs(os.path.dirname(os.path.join(base, plain)), mode=0o750, exist_ok=True)
        for copy in range(MAX_COPIES):
            claimed = low_level_run_directory(home, pid, copy)
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(base, claimed), mode=0o750)
                return claimed
    except OSError:
        pass
    return plain
