"""Is there room where tensors would go?"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from fastcmp.doctor.report import Section

DEFAULT_MIN_FREE: Final = 2 * 1000**3
_SIZE = re.compile(r"([0-9]{1,18})\s*([KMGT]?)(I?)B?", re.IGNORECASE)


def size_in_bytes(text: str) -> int | None:
    """``2G``, ``512Mi``, ``100`` in bytes, as FASTCMP_MIN_FREE has it; None for anything else.

    >>> size_in_bytes("3Ki"), size_in_bytes("3kB"), size_in_bytes("much")
    (3072, 3000, None)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        return None
    return int(match[1]) * (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " ")


def examine_disk(directories: list[str], environment: Mapping[str, str]) -> Section:
    """Judge the file systems of the output directories by what the library would leave free."""
    section = Section("disk")
    text = environment.get("FASTCMP_MIN_FREE", "").strip()
    asked = size_in_bytes(text) if text else DEFAULT_MIN_FREE
    if asked is None:
        section.lines.append(f"FASTCMP_MIN_FREE={text} is no size such as 2G or 512Mi; 2G is taken")
    min_free = DEFAULT_MIN_FREE if asked is None else asked
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
        section.facts["directories"][directory] = {"free": free, "is_writable": is_writable}
        section.lines.append(f"{directory}: {_gigabytes(free)} free; a tensor is skipped below {_gigabytes(min_free)} or twice its size")
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
