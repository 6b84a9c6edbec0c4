"""What decides numbers beside files and options: versions of packages, and the kind of CPU."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from importlib.metadata import PackageNotFoundError, version
from platform import machine
from typing import Final

# Whose numbers a row has: another version may round another way.
DECIDING_PACKAGES: Final = ("fastcmp", "numpy", "numba", "llvmlite")


def package_version(package: str) -> str:
    """The version of an installed package, or ``unknown``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def deciding_versions() -> dict[str, str]:
    """The versions of the packages that decide numbers."""
    return {package: package_version(package) for package in DECIDING_PACKAGES}


def source_digest() -> str:
    """What tells one state of our Python files from another of the same version: what is installed for work on it has no other number."""
    home = os.path.dirname(os.path.abspath(__file__))
    digest = hashlib.sha256()
    for directory, inner, names in os.walk(home):
        inner.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                digest.update(os.path.relpath(os.path.join(directory, name), home).encode())
                with open(os.path.join(directory, name), "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()[:16]


def cpu_kind() -> str:
    """The machine, and a digest of what its first CPU can do: vector width may move a digit."""
    flags = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = next((line for line in file if line.lower().startswith(("flags", "features"))), "")
    return f"{machine()}-{zlib.crc32(' '.join(sorted(flags.split())).encode()):08x}"
