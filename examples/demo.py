"""The whole story in one command: dump two runs of a model, compare them, check that the planted defect is what is found.

    python examples/demo.py [DIRECTORY]        (default ./demo-output, made anew each time)

Exits with 1 if the comparison names another place than the one where the defect was planted, or if not every tensor was compared.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from acceleration_library import STANDIN
from planted import DEFECT

EXAMPLES = Path(__file__).resolve().parent
SHOWN_COLUMNS = ("token_id", "data_id", "golden_dtype", "acl_dtype", "acl_shape", "relative_euclidean_distance", "verdict")
SHOWN_ROWS = 5
SETTINGS = ("FASTCMP_", "ACLTRANSFORMER_", "ATB_", "AIT_")

Row = dict[str, str]


def main() -> int:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    if not STANDIN.is_file():
        raise SystemExit(f"demo: {STANDIN}: not there; `make demo` builds this stand-in for an acceleration library")
    empty(directory)
    tokens = (directory / "tokens.json").resolve()

    say("1. golden: a Llama with 6 layers and random weights, float32, writes 8 tokens and dumps every layer of each")
    golden = run_side("golden", directory / "golden", tokens, [sys.executable])
    say(f"   {count_arrays(golden)} tensors in {golden.parent}; tokens {' '.join(map(str, json.loads(tokens.read_text())))}")
    say("2. target: the same model in bfloat16, fed golden's tokens, its attention in an acceleration library: `fastcmp run -- python ...`")
    target = run_side("acl", directory / "target", tokens, [installed("fastcmp"), "run", "--", sys.executable])
    by_library = count_preloaded(target)
    say(f"   {count_arrays(target) + by_library} tensors in {target.parents[1]},")
    say(f"   {by_library} of them written by the acceleration library under fastcmp's preload library")
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
    return judge(rows, where, summary, golden, by_library)


def empty(directory: Path) -> None:
    """Make it a new, empty directory; refuse to remove what no earlier demo has left."""
    if directory.exists() and any(directory.iterdir()) and not (directory / "golden").is_dir():
        raise SystemExit(f"demo: {directory}: not empty, and not from an earlier demo; name another directory")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def say(text: str) -> None:
    """Print at once, also into a pipe: the steps take seconds."""
    print(text, flush=True)


def run_side(side: str, directory: Path, tokens: Path, python: list[str]) -> Path:
    """Run one side in a process and a directory of its own; the path of the metadata.json it leaves."""
    directory.mkdir()
    # What the user's own dumps are set to is not for these two.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    command = [*python, str(EXAMPLES / "llama_run.py"), side, "--tokens", str(tokens)]
    status = subprocess.run(command, cwd=directory, env=environment).returncode
    if status != 0:
        raise SystemExit(f"demo: the {side} side ended with status {status}")
    (metadata,) = directory.glob(f"*_cmp_dump_data/{side}_tensor/metadata.json")
    return metadata


def run_ait(command: list[str]) -> str:
    """Run the installed `ait`; what it printed."""
    return subprocess.run([installed(command[0]), *command[1:]], check=True, stdout=subprocess.PIPE, text=True).stdout


def installed(name: str) -> str:
    """The program of the package that is beside this Python."""
    program = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if program is None:
        raise SystemExit(f"demo: no `{name}` beside this Python; install the package first (`make dev`)")
    return program


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


def count_arrays(metadata: Path) -> int:
    """The tensors that `dump_data` has written itself."""
    return sum(1 for _ in metadata.parent.rglob("*.npy"))


def count_preloaded(metadata: Path) -> int:
    """The tensors that the preload library has written, as it left word of itself."""
    (heartbeat,) = metadata.parents[2].glob(".fastcmp_probe.*")
    return int(json.loads(heartbeat.read_text(encoding="utf-8"))["counters"]["saved"])


def show_rows(rows: list[Row], where: Row | None) -> None:
    """The first rows of the table and the one where it breaks, as CSV."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(SHOWN_COLUMNS)
    for row in rows[:SHOWN_ROWS]:
        writer.writerow(row[column] for column in SHOWN_COLUMNS)
    if where is not None:
        print("...")
        writer.writerow(where[column] for column in SHOWN_COLUMNS)


def judge(rows: list[Row], where: Row | None, summary: str, golden: Path, by_library: int) -> int:
    """Compare what was found with what was planted; the exit code."""
    missing = what_is_missing(rows, count_arrays(golden), by_library)
    if missing:
        say(f"\n5. WRONG: {missing}")
        return 1
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


def what_is_missing(rows: list[Row], dumped: int, by_library: int) -> str:
    """Why the report is not one of all tensors that golden has dumped, or ""."""
    compared = sum(row["verdict"] in ("pass", "fail") for row in rows)
    if compared != dumped or len(rows) != dumped:
        return f"{compared} of {len(rows)} rows were compared, {dumped} tensors were dumped"
    attention = sum(row["data_id"].endswith(".self_attn") for row in rows)
    if by_library != attention:
        return f"the acceleration library wrote {by_library} tensors for {attention} attention outputs"
    return ""


if __name__ == "__main__":
    sys.exit(main())
