"""The whole story in one command: dump two runs of a model, compare them, check that the planted defect is what is found.

    python examples/demo.py [DIRECTORY]        (default ./demo-output, made anew each time)

Exits with 1 if the comparison names another place than the one where the defect was planted.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from planted import DEFECT

EXAMPLES = Path(__file__).resolve().parent
SHOWN_COLUMNS = ("token_id", "data_id", "golden_dtype", "acl_dtype", "acl_shape", "relative_euclidean_distance", "verdict")
SHOWN_ROWS = 5

Row = dict[str, str]


def main() -> int:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    empty(directory)
    tokens = (directory / "tokens.json").resolve()

    say("1. golden: a Llama with 6 layers and random weights, float32, writes 8 tokens and dumps every layer of each")
    golden = run_side("golden", directory / "golden", tokens)
    say(f"   {describe(golden)}; tokens {' '.join(map(str, json.loads(tokens.read_text())))}")
    say("2. target: the same model in bfloat16, fed golden's tokens; its attention outputs come as .bin from the library")
    target = run_side("acl", directory / "target", tokens)
    say(f"   {describe(target)}")
    say(f"   planted: {DEFECT.data_id}, epsilon 1e-05 -> {DEFECT.epsilon:g} from token {DEFECT.token} on")

    report = directory / "report"
    command = ["ait", "debug", "compare", "aclcmp", "--golden-path", str(golden), "--my-path", str(target), "--output", str(report)]
    say("3. compare:\n   $ " + " ".join(command) + "\n")
    summary = run_ait(command)
    print(summary)
    say(f"4. {report / 'cmp_report.csv'}, {len(SHOWN_COLUMNS)} of its columns:\n")
    rows = read_rows(report / "cmp_report.csv")
    where = first_failure(rows, golden)
    show_rows(rows, where)
    return judge(rows, where, summary, golden)


def empty(directory: Path) -> None:
    """Make it a new, empty directory; refuse to remove what no earlier demo has left."""
    if directory.exists() and any(directory.iterdir()) and not (directory / "golden").is_dir():
        raise SystemExit(f"demo: {directory}: not empty, and not from an earlier demo; name another directory")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def say(text: str) -> None:
    """Print at once, also into a pipe: the steps take seconds."""
    print(text, flush=True)


def run_side(side: str, directory: Path, tokens: Path) -> Path:
    """Run one side in a process and a directory of its own; the path of the metadata.json it leaves."""
    directory.mkdir()
    environment = os.environ | {"ACLTRANSFORMER_HOME_PATH": str((directory / "acltransformer").resolve())}
    command = [sys.executable, str(EXAMPLES / "llama_run.py"), side, "--tokens", str(tokens)]
    subprocess.run(command, cwd=directory, env=environment, check=True)
    (metadata,) = directory.glob(f"*_cmp_dump_data/{side}_tensor/metadata.json")
    return metadata


def run_ait(command: list[str]) -> str:
    """Run the installed `ait` beside this Python; what it printed."""
    search_path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    program = shutil.which(command[0], path=search_path)
    if program is None:
        raise SystemExit("demo: no `ait` beside this Python; install the package first (`make dev`)")
    return subprocess.run([program, *command[1:]], check=True, stdout=subprocess.PIPE, text=True).stdout


def read_rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def execution_order(golden: Path) -> dict[str, int]:
    """Position of each data_id within one token: the order in which golden dumped them."""
    return {data_id: position for position, data_id in enumerate(json.loads(golden.read_text(encoding="utf-8")))}


def in_execution_order(rows: list[Row], golden: Path) -> list[Row]:
    position = execution_order(golden)
    return sorted(rows, key=lambda row: (int(row["token_id"]), position[row["data_id"]]))


def first_failure(rows: list[Row], golden: Path) -> Row | None:
    return next((row for row in in_execution_order(rows, golden) if row["verdict"] != "pass"), None)


def describe(metadata: Path) -> str:
    tensors = sum(len(tokens) for tokens in json.loads(metadata.read_text(encoding="utf-8")).values())
    return f"{tensors} tensors in {metadata.parent}"


def show_rows(rows: list[Row], where: Row | None) -> None:
    """The first rows of the table and the one where it breaks, as CSV."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(SHOWN_COLUMNS)
    for row in rows[:SHOWN_ROWS]:
        writer.writerow(row[column] for column in SHOWN_COLUMNS)
    if where is not None:
        print("...")
        writer.writerow(where[column] for column in SHOWN_COLUMNS)


def judge(rows: list[Row], where: Row | None, summary: str, golden: Path) -> int:
    """Compare what was found with what was planted; the exit code."""
    if where is None:
        say("\n5. WRONG: every pair passed, the planted defect was not seen")
        return 1
    found = (where["data_id"], int(where["token_id"]))
    if found != (DEFECT.data_id, DEFECT.token):
        say(f"\n5. WRONG: first divergence is {found[0]} at token {found[1]}, planted was {DEFECT.data_id} at token {DEFECT.token}")
        return 1
    if not any("first divergence" in line.lower() and found[0] in line and str(found[1]) in line for line in summary.splitlines()):
        say("\n5. WRONG: the report has the defect, but the summary does not name it as the first divergence")
        return 1
    ordered = in_execution_order(rows, golden)
    before = ordered[: ordered.index(where)]
    worst = max(float(row["relative_euclidean_distance"]) for row in before)
    position = execution_order(golden)
    failed = [row for row in rows if row["verdict"] != "pass"]
    if any(position[row["data_id"]] < position[DEFECT.data_id] for row in failed):
        say("\n5. WRONG: a module fails that runs before the broken one and cannot know of it")
        return 1
    distance = float(where["relative_euclidean_distance"])
    say(f"\n5. found what was planted: {found[0]} at token {found[1]}, relative_euclidean_distance {distance:.3f};")
    say(f"   the {len(before)} tensors that ran before it all pass (worst {worst:.3f}: bfloat16 rounding),")
    say(f"   {len(failed)} fail: it, and what is computed from it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
