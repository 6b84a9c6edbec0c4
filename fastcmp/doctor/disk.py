"""Is there room where tensors would go?"""

from __future__ import annotations

import os

from fastcmp.doctor.report import Section


def examine_disk(directories: list[str], min_free: int) -> Section:
    """Judge the file systems of the output directories by how many bytes the library would leave free."""
    section = Section("disk")
    section.facts = {"min_free": min_free, "directories": {}}
    for directory in directories:
        parent = _existing(directory)
        try:
            status = os.statvfs(parent)
        except OSError as error:
            section.find("not-writable", f"{directory}: {error.strerror}")
            continue
        free = status.f_bavail * status.f_frsize
        is_writable = os.access(parent, os.W_OK | os.X_OK)
        is_there = parent == directory
        # Of a directory that does not exist nobody can say more than whether it could be made.
        section.facts["directories"][directory] = {
            "free": free,
            "exists": is_there,
            "is_writable" if is_there else "can_be_made": is_writable,
        }
        state = "" if is_there else f" does not exist yet; in {parent}"
        limit = f"a tensor is skipped below {_gigabytes(min_free)} or twice its size"
        section.lines.append(f"{directory}:{state} {_gigabytes(free)} free; {limit}")
        if not is_writable:
            section.find("not-writable", f"{parent}: this user may not write here")
        elif free <= min_free:
            evidence = f"{directory}: {_gigabytes(free)} are free, and {_gigabytes(min_free)} are to stay free: no tensor is saved"
            section.find("disk-full", evidence)
        elif status.f_files and not status.f_favail:
            section.find("disk-full", f"{directory}: its file system can take no more files")
    return section


def _existing(directory: str) -> str:
    """The directory, or the nearest one above it that exists: where it would be made."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    return directory


def _gigabytes(count: int) -> str:
    return f"{count / 1000**3:.2f} GB"
