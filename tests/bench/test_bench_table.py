"""The README's figures come from a file of results, by `bench/make_table.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
MARKS = "<!-- bench: made by bench/make_table.py -->", "<!-- end of bench -->"


def result(case: str, measured: float | None, yardstick: float | None, **fields: Any) -> dict[str, Any]:
    """One round, as `bench/measure.py` writes it."""
    about = {"case": case, "promise": "", "group": "", "unit": "GB/s", "yardstick_name": "scan", "target": "ratio >= 0.5", "verdict": "met"}
    context = {"size": "normal", "commit": "abc123", "machine": {"cpu": "Example CPU", "cores": 2}}
    return {**about, **context, "aside": "", "round": 0, "measured": measured, "yardstick": yardstick, "seconds": 1.0, **fields}


RESULTS = (
    result("growth", 12_345.6, 24_000.0, promise="P10", unit="pairs/s"),
    result("large", 10.0, 20.0, promise="P4", aside="9 times"),
    result("large", 30.0, 20.0, promise="P4", aside="9 times"),
    result("large", 12.0, 20.0, promise="P4", aside="9 times"),
    result("help", 10.0, 20.0, promise="P11", unit="runs/s", verdict="MISSED"),
    result("cold", None, None, promise="P9", verdict="not cold here"),
    result("float16 pair: ours / other", 3.0, 0.1, group="instead", yardstick_name="other"),
    result("a task by ray", 90.0, 1000.0, group="executors", unit="tasks/s", target="for the record", aside="+600 us a task"),
    result("a task by dask", None, None, group="executors", target="for the record", verdict="distributed is not installed"),
    result("large .pt pairs", 9.7, 10.0, group="formats", yardstick_name="large .npy pairs", target="ratio >= 0.9"),
    result("kernel", 1.0, 2.0),
)


def make_table(directory: Path, document: str) -> subprocess.CompletedProcess[str]:
    (directory / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in RESULTS), encoding="utf-8")
    (directory / "document.md").write_text(document, encoding="utf-8")
    command = [sys.executable, "bench/make_table.py", str(directory / "results.jsonl"), "--document", str(directory / "document.md")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_results_become_tables_between_the_marks(tmp_path: Path) -> None:
    done = make_table(tmp_path, f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "document.md").read_text(encoding="utf-8").splitlines() == [
        "before",
        MARKS[0],
        "Size normal, on 2 cores of Example CPU, commit abc123; medians over the rounds.",
        "",
        "|  | what | measured | beside |  | ratio | target |  |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| P4 | large (9 times) | 12 GB/s | 20 GB/s | scan | 0.6 | ratio >= 0.5 | met |",
        "| P9 | cold | - | - | scan | - | ratio >= 0.5 | not cold here |",
        "| P10 | growth | 12 300 pairs/s | 24 000 pairs/s | scan | 0.51 | ratio >= 0.5 | met |",
        "| P11 | help | 0.1 s | 0.05 s | scan | 2 | ratio >= 0.5 | MISSED |",
        "",
        "The same pair of .npy files, warm, by one thread:",
        "",
        "|  | fastcmp | instead |  | times as fast |",
        "| --- | --- | --- | --- | --- |",
        "| float16 pair | 3 GB/s | 0.1 GB/s | other | 30 |",
        "",
        "The same tensors in files of other formats, by one process, without start and report:",
        "",
        "| what | measured | beside |  | ratio |  |",
        "| --- | --- | --- | --- | --- | --- |",
        "| large .pt pairs | 9.7 GB/s | 10 GB/s | large .npy pairs | 0.97 | ratio >= 0.9: met |",
        "",
        "Other executors, all of it on this machine: tasks in which nothing is to be done, and large tensors:",
        "",
        "| what | measured | beside |  | ratio |  |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a task by ray (+600 us a task) | 90 tasks/s | 1 000 tasks/s | scan | 0.09 |  |",
        MARKS[1],
        "after",
    ]


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    done = make_table(tmp_path, "no marks\n")
    assert done.returncode == 1
    assert "expected once each: <!-- bench: made by bench/make_table.py -->" in done.stderr
    assert (tmp_path / "document.md").read_text(encoding="utf-8") == "no marks\n"


def test_the_readme_has_the_marks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [text.count(mark) for mark in MARKS] == [1, 1]
