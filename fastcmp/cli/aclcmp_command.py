"""``ait debug compare aclcmp`` as a function that cyclopts can read."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from fastcmp.cli.compare_command import run_comparison, tell
from fastcmp.errors import EXIT_OK
from fastcmp.options import CompareOptions


def aclcmp(
    *,
    golden_path: str,
    my_path: Annotated[str, Parameter(name=("--my-path", "--acl-path"))],
    output: Annotated[str, Parameter(name=("--output", "-o"))] = "./fastcmp_report",
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 0,
) -> int:
    """Compare the dumps that two metadata.json name; 0 whenever the report is complete, for its users never had verdicts."""
    tell(run_comparison(golden_path, my_path, CompareOptions(output=output, workers=jobs), silent=False), as_json=False)
    return EXIT_OK
