"""Rewrite "How fast" in the README from a file of results.

python bench/make_table.py bench/results/20240131T120000-large.jsonl
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import FOR_THE_RECORD

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- bench: made by bench/make_table.py -->", "<!-- end of bench -->"
# Written as times: what a person waits for.
WAITING = "runs/s"
Rows = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a file of bench/results")
    parser.add_argument("--document", type=Path, default=README, help="the file between whose marks the tables go (README.md)")
    arguments = parser.parse_args()
    lines = [line for line in arguments.results.read_text(encoding="utf-8").splitlines() if line]
    if not lines:
        raise SystemExit(f"{arguments.results}: no results")
    text = replaced(arguments.document, section([json.loads(line) for line in lines]))
    arguments.document.write_text(text, encoding="utf-8")
    return 0


def section(rows: Rows) -> str:
    """Where it was measured, the promises by their numbers, and one table for each other group that people ask about."""
    cases = by_case(rows)
    promised = sorted((case for case in cases if case[0]["promise"]), key=lambda case: int(case[0]["promise"][1:]))
    parts = [where(rows[0])]
    if promised:
        parts.append(markdown(("", "what", "measured", "beside", "", "ratio", "target", ""), [promise_cells(case) for case in promised]))
    for group, (words, head, cells) in OTHER_TABLES.items():
        measured = [case for case in cases if case[0]["group"] == group and case[0]["measured"] is not None]
        if measured:
            parts += [words, markdown(head, [cells(case) for case in measured])]
    return "\n\n".join(parts)


def by_case(rows: Rows) -> list[Rows]:
    """The rounds of each case, in the order of the run."""
    cases: dict[str, Rows] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    return list(cases.values())


def where(row: dict[str, Any]) -> str:
    """The one line about the machine."""
    machine = row["machine"]
    return f"Size {row['size']}, on {machine['cores']} cores of {machine['cpu']}, commit {row['commit']}; medians over the rounds."


def promise_cells(rows: Rows) -> tuple[str, ...]:
    """Number, name, measured, yardstick with its name, ratio, target, verdict."""
    measured, yardstick, ratio = figures(rows)
    first = rows[0]
    return first["promise"], name_of(first), measured, yardstick, first["yardstick_name"], ratio, first["target"], first["verdict"]


def beside_cells(rows: Rows) -> tuple[str, ...]:
    """Name, measured, yardstick with its name, ratio, and what was promised, if anything."""
    measured, yardstick, ratio = figures(rows)
    first = rows[0]
    promised = "" if first["target"] == FOR_THE_RECORD.text else f"{first['target']}: {first['verdict']}"
    return name_of(first), measured, yardstick, first["yardstick_name"], ratio, promised


def name_of(row: dict[str, Any]) -> str:
    return f"{row['case']} ({row['aside']})" if row["aside"] else row["case"]


def instead_cells(rows: Rows) -> tuple[str, ...]:
    """Dtype, our rate, theirs, its name, how many times as fast ours is."""
    measured, yardstick, ratio = figures(rows)
    return rows[0]["case"].partition(":")[0], measured, yardstick, rows[0]["yardstick_name"], ratio


BESIDE = ("what", "measured", "beside", "", "ratio", "")
# Group of cases -> what stands above its table, its head, and what makes a line of a case.
OTHER_TABLES: dict[str, tuple[str, tuple[str, ...], Callable[[Rows], tuple[str, ...]]]] = {
    "instead": ("The same pair of .npy files, warm, by one thread:", ("", "fastcmp", "instead", "", "times as fast"), instead_cells),
    "formats": ("The same tensors in files of other formats, by one process, without start and report:", BESIDE, beside_cells),
    "executors": (
        "Other executors, all of it on this machine: tasks in which nothing is to be done, and large tensors:",
        BESIDE,
        beside_cells,
    ),
}


def figures(rows: Rows) -> tuple[str, str, str]:
    """Measured and yardstick with their unit, and the ratio; dashes where there was no round."""
    if rows[0]["measured"] is None:
        return "-", "-", "-"
    unit = rows[0]["unit"]
    pairs = [(row["measured"], row["yardstick"]) for row in rows]
    if unit == WAITING:
        unit, pairs = "s", [(1 / measured, 1 / yardstick) for measured, yardstick in pairs]
    measured, yardstick = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(measured / yardstick for measured, yardstick in pairs)
    return f"{three_digits(measured)} {unit}", f"{three_digits(yardstick)} {unit}", two_digits(ratio)


def three_digits(value: float) -> str:
    """Thousands apart, never an exponent."""
    return f"{float(f'{value:.3g}'):,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else three_digits(value)


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replaced(path: Path, tables: str) -> str:
    """The text of the document with the tables between its two marks."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{path}: expected once each: {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    sys.exit(main())
