"""What is installed, and what would be slow. Nothing is imported for it: versions are in the packages' metadata."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from typing import Final

from fastcmp.doctor.report import Section
from fastcmp.kernels.cache_dir import choose_cache_dir

_PACKAGES: Final = ("fastcmp", "numpy", "numba", "pyarrow", "torch", "ml_dtypes", "ray", "distributed")


def examine_installation() -> Section:
    """Versions, cores, and whether the kernels are compiled already."""
    section = Section("installation")
    versions = {name: _version(name) for name in _PACKAGES}
    cores = len(os.sched_getaffinity(0))
    cache, is_compiled = _kernel_cache()
    section.facts = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": versions,
        "cores": cores,
        "kernel_cache": cache,
        "kernels_are_compiled": is_compiled,
    }
    section.lines += [
        ", ".join(f"{name} {version or 'is not installed'}" for name, version in versions.items()),
        f"Python {platform.python_version()}, {platform.machine()}, {cores} core{'' if cores == 1 else 's'}",
    ]
    if cache is None:
        section.lines.append("no directory for compiled kernels can be written: every comparison compiles them first (about 10 s)")
    elif is_compiled:
        section.lines.append(f"compiled kernels: {cache}")
    else:
        section.lines.append(f"no compiled kernels in {cache} yet: the first comparison compiles them (about 10 s)")
    return section


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _kernel_cache() -> tuple[str | None, bool]:
    """Where compiled kernels are kept, None where nowhere for long; and whether there are any."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen:
        try:
            chosen = choose_cache_dir()
        except (OSError, metadata.PackageNotFoundError):
            return None, False
        if os.path.basename(chosen).startswith("fastcmp-kernels-"):  # fresh and for one process: not for us
            with contextlib.suppress(OSError):
                os.rmdir(chosen)
            return None, False
    return chosen, any(name.endswith(".nbc") for _, _, names in os.walk(chosen) for name in names)
