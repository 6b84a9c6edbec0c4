"""``fastcmp bench``: how fast this machine is at best, and how near fastcmp comes."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fastcmp.cli.endings import complain, say
from fastcmp.cli.main import version_text
from fastcmp.cli.shown import bytes_text, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastcmp.benchmark.run import Row

_HEADINGS = ("measured", "rate", "floor", "its rate", "ratio")


def bench(
    *,
    directory: Annotated[str | None, Parameter(name="--dir")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure what this machine can do at best, and how near fastcmp comes.

    It takes less than a minute; the first time on a machine half a minute more, for the kernels are compiled.

    Each rate stands beside its floor, the least that any program has to do with the same bytes, measured in turn with it.

    Parameters
    ----------
    directory
        Where its files go, in a directory of their own that is removed afterwards; by default where temporary files go. Some 0.5 GB.
    json
        One JSON object.
    """
    from fastcmp.benchmark.data import Size, fresh_directory
    from fastcmp.benchmark.run import measure

    size = Size()
    with fresh_directory(directory, size.disk_bytes) as made:
        _tell(f"{bytes_text(size.disk_bytes)} go to {made}, removed afterwards")
        rows = list(measure(made, size, _tell))
    _print_rows(rows, json)
    return 0


def _tell(text: str) -> None:
    complain("bench", text)


def _print_rows(rows: Sequence[Row], json: bool) -> None:
    if json:
        from json import dumps

        say(dumps({**_machine(), "rows": [_as_json(row) for row in rows]}))
        return
    say(f"{_cpu()}, {len(os.sched_getaffinity(0))} of its cores; fastcmp {version_text()}")
    cells = [_cells(row) for row in rows]
    say(_drawn(cells) if sys.stdout.isatty() else _plain(cells))


def _cells(row: Row) -> tuple[str, ...]:
    return row.name, _rate(row.rate, row.unit), row.floor, _rate(row.floor_rate, row.unit), f"{row.ratio:.2f}"


def _rate(amount: float, unit: str) -> str:
    """Three digits: ``31.4 GB/s``, ``24 600 pairs/s``."""
    if amount < 1000:
        return f"{amount:.3g} {unit}"
    return f"{float(f'{amount:.3g}'):,.0f} {unit}".replace(",", " ")


def _plain(cells: Sequence[tuple[str, ...]]) -> str:
    """Columns, numbers to the right."""
    table = [_HEADINGS, *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if at in (1, 3, 4) else text.ljust(width) for at, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def _drawn(cells: Sequence[tuple[str, ...]]) -> str:
    """The same as a table for a terminal."""
    from rich.console import Console
    from rich.table import Table

    # Without lines, 80 columns are enough.
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for at, heading in enumerate(_HEADINGS):
        drawn.add_column(heading, justify="right" if at in (1, 3, 4) else "left")
    for line in cells:
        drawn.add_row(*line)
    console = Console(highlight=False, markup=False, emoji=False)
    with console.capture() as written:
        console.print(drawn)
    return written.get()


def _as_json(row: Row) -> dict[str, Any]:
    facts = {"name": row.name, "unit": row.unit, "rate": row.rate, "floor": row.floor, "floor_rate": row.floor_rate, "ratio": row.ratio}
    return {**facts, "rounds": row.rounds}


def _machine() -> dict[str, Any]:
    return {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "fastcmp": version_text(), "python": platform.python_version()}


def _cpu() -> str:
    """What the kernel calls the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return visible(next(names, "")) or platform.machine()
    except OSError:
        return platform.machine()
