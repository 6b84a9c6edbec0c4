"""What somebody else may put in the place of a list of registered paths."""

from __future__ import annotations

import os
from pathlib import Path

from preload_host import write_list

NOBODY = 65534
NAME = "0/0_StandinModelTorch/0_StandinLayerRunner/before/intensor0.bin"


def plant(kind: str, path: Path) -> None:
    """Something at ``path`` that no private list is."""
    write_list(path.with_name("real.txt"), NAME)
    if kind == "a link":
        path.symlink_to("real.txt")
    elif kind == "a link to nothing":
        path.symlink_to("nothing.txt")
    elif kind == "a FIFO":
        os.mkfifo(path, 0o600)
    elif kind == "a directory":
        path.mkdir(mode=0o700)
    elif kind == "a device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    elif kind == "another user's":
        os.chown(write_list(path, NAME), NOBODY, NOBODY)
    elif kind == "open to the group":
        write_list(path, NAME, mode=0o620)
    elif kind == "open to all":
        write_list(path, NAME, mode=0o666)
    elif kind == "in an open directory":
        write_list(path, NAME)
        path.parent.chmod(0o777)
    elif kind == "in another user's directory":
        write_list(path, NAME)
        os.chown(path.parent, NOBODY, NOBODY)
    elif kind == "in a directory that is a link":
        real = path.parent.with_name("real_directory")
        path.with_name("real.txt").unlink()
        path.parent.rmdir()
        write_list(real / path.name, NAME)
        path.parent.symlink_to(real, target_is_directory=True)
