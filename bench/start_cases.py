"""What is waited for before any work: a first answer, and the help page."""

from __future__ import annotations

from cases import ALL_SIZES, Target
from compare_command import FASTCMP, NUMPY_ONLY, compare
from measure import Case, alternate, run_command, timed
from setting import Setting


def start_cases(setting: Setting) -> list[Case]:
    """Python, kernels from the cache, workers and one pair per dtype; then the help page."""
    tiny, rounds = setting.tiny(), setting.size.rounds
    first = Case("compare one small pair per dtype", "runs/s", "import numpy", Target("<= 0.8 s", at_most_s=0.8, sizes=ALL_SIZES), "P11")
    page = Case("fastcmp --help", "runs/s", "import numpy", Target("<= 0.15 s", at_most_s=0.15, sizes=ALL_SIZES), "P11")
    return [
        alternate(first, rounds, 1, lambda: compare(tiny, setting.report), import_numpy),
        alternate(page, rounds, 1, lambda: timed(lambda: run_command([*FASTCMP, "--help"])), import_numpy),
    ]


def import_numpy() -> float:
    """Seconds that Python takes to start with numpy."""
    return timed(lambda: run_command(NUMPY_ONLY))
