"""Hands the allow-list over to the preload library, where this process has it.

The library is found by its C interface in the global scope, so it does not matter how it came there; a process without it pays one look-up,
at its first low-level `dump_data`.
"""

from __future__ import annotations

import os


def follow(allow_list: str, run_directory: str) -> int | None:
    """Ask the library to save what a list names, now and whenever it has grown.

    Parameters
    ----------
    allow_list : str
        Absolute path of the list.
    run_directory : str
        Absolute path of the directory that a line ``{token}/{tensor_path}`` is written below.

    Returns
    -------
    int or None
        0, or the errno with which the library refused; None where there is no library.
    """
    try:
        import ctypes  # numpy has imported it long since, except where it failed to load

        function = ctypes.CDLL(None).fastcmp_preload_follow
    except (ImportError, OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_int
    return int(function(os.fsencode(allow_list), os.fsencode(run_directory)))
