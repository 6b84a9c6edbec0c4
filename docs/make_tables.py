"""Rewrite the generated tables of the documentation from the lists in the code.

python docs/make_tables.py            rewrite
python docs/make_tables.py --check    exit 1 and say which file is out of date, write nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from fastcmp.errors import CODES
from fastcmp.results.schema import COLUMNS, Column

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- {name}: made by docs/make_tables.py -->"
END = "<!-- end of {name} -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    outdated = [path for path, text in rewritten(ROOT) if text != path.read_text(encoding="utf-8")]
    for path, text in rewritten(ROOT):
        if path in outdated and not check:
            path.write_text(text, encoding="utf-8")
    for path in outdated:
        print(f"{path.relative_to(ROOT)}: {'out of date; run python docs/make_tables.py' if check else 'rewritten'}")
    return 1 if check and outdated else 0


def rewritten(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file with a generated table, and its text as it should be."""
    metrics = [column for column in COLUMNS if column.group in ("successor", "metric") or column.name in ORIGINAL_METRICS]
    yield root / "README.md", replaced(root / "README.md", "metrics", column_table(metrics))
    columns = root / "docs" / "report.md"
    text = replaced(columns, "columns", column_table(COLUMNS, with_type=True))
    yield columns, replaced(columns, "codes", code_table(), text)


ORIGINAL_METRICS = ("cosine_similarity", "max_relative_error", "mean_relative_error", "relative_euclidean_distance")


def column_table(columns: tuple[Column, ...] | list[Column], *, with_type: bool = False) -> str:
    """A Markdown table of columns and their meaning."""
    head = ("column", "type", "meaning") if with_type else ("column", "meaning")
    rows = [(f"`{column.name}`", *([column.arrow_type] if with_type else []), column.meaning) for column in columns]
    return markdown(head, rows)


def code_table() -> str:
    """A Markdown table of the closed list of error codes."""
    return markdown(("code", "meaning", "what to do"), [(f"`{code}`", info.meaning, info.advice) for code, info in CODES.items()])


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replaced(path: Path, name: str, table: str, text: str | None = None) -> str:
    """The text of the file with the table between its two marks."""
    text = path.read_text(encoding="utf-8") if text is None else text
    begin, end = BEGIN.format(name=name), END.format(name=name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{path}: expected once each: {begin} and {end}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    sys.exit(main())
