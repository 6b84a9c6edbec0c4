"""How much disk a run wants, said and asked for before anything is made; and taking it all away again."""

from __future__ import annotations

import shutil
from pathlib import Path

from cases import SIZES, MiB, Size

# A file of 8 KB and its header: three blocks.
SMALL_FILE_BYTES = 12 * 1024
# The preload library's tensors, 0.8 GB of them at the normal size; reports; pairs for other tools.
SCRATCH_BYTES = 1024 * MiB


def dump_bytes(size: Size) -> dict[str, int]:
    """What stays between runs, by the directory it lies in."""
    return {"large": size.large_bytes, "one": size.large_bytes, "small": 2 * size.small_pairs * SMALL_FILE_BYTES}


def scratch_bytes(size: Size) -> int:
    """What a run takes at most beside its dumps."""
    return 2 * size.dump_programs * size.dump_calls * SMALL_FILE_BYTES * 11 // 10 + SCRATCH_BYTES


def wanted_bytes(size: Size) -> int:
    return sum(dump_bytes(size).values()) + scratch_bytes(size)


def require_disk(size: Size, data: Path) -> None:
    """Refuse before the disk is full, not after."""
    data.mkdir(parents=True, exist_ok=True)
    missing = sum(nbytes for name, nbytes in dump_bytes(size).items() if not (data / name / "made.json").exists()) + scratch_bytes(size)
    free = shutil.disk_usage(data).free
    if free < 1.2 * missing:
        raise SystemExit(f"bench: {data}: {free / 1e9:.1f} GB free, {1.2 * missing / 1e9:.1f} GB needed; --data names another place")


def clean(data: Path, also: Path) -> list[Path]:
    """Remove what runs of every size made below ``data``, and the other tools; what was there. Results stay."""
    made = [path for path in (*(data / name for name in SIZES), also) if path.exists()]
    for path in made:
        shutil.rmtree(path)
    return made
