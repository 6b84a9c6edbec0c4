"""A benchmark of wrong answers is worth nothing: every comparison that is timed is also checked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from dumps import PLANTED_VALUE, BenchDump


class WrongAnswer(Exception):
    """The tool was timed, but what it found is not what was planted."""


def check_report(report: Path, dump: BenchDump) -> None:
    """Exactly the planted pairs fail, each at the planted element."""
    with (report / "cmp_report.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != dump.pairs:
        raise WrongAnswer(f"{report}: {len(rows)} rows for {dump.pairs} pairs")
    failed = {(row["data_id"], row["token_id"]): row for row in rows if row["verdict"] != "pass"}
    planted = {(planted.data_id, planted.token_id): planted.index for planted in dump.planted}
    if failed.keys() != planted.keys():
        raise WrongAnswer(f"{report}: failed {sorted(failed)}, planted were {sorted(planted)}")
    for key, row in failed.items():
        shape = tuple(int(extent) for extent in row["acl_shape"].strip("()").split(",") if extent.strip())
        expected = np.unravel_index(planted[key], shape)
        found = tuple(int(part) for part in row["max_absolute_error_index"].strip("()").split(",") if part.strip())
        if found != tuple(map(int, expected)) or float(row["max_absolute_error_target"]) != PLANTED_VALUE:
            raise WrongAnswer(f"{report}: {key}: worst element at {found}, planted was {expected}")
